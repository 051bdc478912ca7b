"""
Every error a user can meet, as one tree. The exit code of the command line is the error's own.

McpComposeError            1  done wrong, with a message that names the thing
├── UsageError             2  a command line that makes no sense
├── FileProblems           2  a compose file with one or more problems, each with its position
├── SecretMissing          3  a secret that no provider has
├── EngineUnreachable      4  no engine answers
├── LockedStateDiffers     5  the lock file says something else
├── ApprovalNeeded         6  something needs a person's approval on this machine first
├── EngineError            1  the engine refused or failed one operation
│   ├── ImageMissing       1  an image that does not exist
│   ├── InstanceMissing    1  an instance that is gone
│   ├── NameTaken          1  a name that belongs to another owner
│   └── BuildFailed        1  an image that cannot be built
├── DangerRefused          2  a launch setting that is refused without `unsafe`
├── FetchFailed            1  a catalog or signature that cannot be had from where it is kept
├── SignatureRefused       1  an image without the signature that the policy asks for
├── AuditUnavailable       1  a request cannot be written into the audit log
├── GatewayRunning         1  another gateway holds this project
├── GatewayNotRunning      1  no gateway holds this project
└── UpstreamError          1  an MCP server that cannot be spoken to
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; *line* and *column* count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a compose file: what, where, and the next step where it is known."""

    message: str
    position: Position | None = None
    hint: str | None = None


class McpComposeError(Exception):
    """Anything that stops an action; *hint* says the next step."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(McpComposeError):
    """A command line that makes no sense."""

    exit_code = 2


class FileProblems(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """A compose file with one or more problems; all of them, in file order. *files* are those that were asked for."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...], *, files: tuple[Path, ...] = ()) -> None:
        super().__init__("\n".join(f"{p.position or ''} {p.message}".strip() for p in problems))
        self.problems = problems
        self.files = files


class SecretMissing(McpComposeError):  # noqa: N818
    """A secret that no provider has; names the servers that use it and the providers asked."""

    exit_code = 3


class EngineUnreachable(McpComposeError):  # noqa: N818
    """No engine answers at the configured address."""

    exit_code = 4


class LockedStateDiffers(McpComposeError):  # noqa: N818
    """The lock file pins something else than what would run."""

    exit_code = 5


class ApprovalNeeded(McpComposeError):  # noqa: N818
    """Something in the file needs a person's approval on this machine; *forms* are its exact forms."""

    exit_code = 6

    def __init__(self, message: str, *, hint: str | None = None, hashes: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.hashes = hashes


class EngineError(McpComposeError):
    """The engine refused or failed one operation."""


class ImageMissing(EngineError):  # noqa: N818
    """An image that is neither local nor to be had from its registry."""


class InstanceMissing(EngineError):  # noqa: N818
    """An instance that is gone."""


class NameTaken(EngineError):  # noqa: N818
    """A name that belongs to another owner; never touched."""


class BuildFailed(EngineError):  # noqa: N818
    """An image that cannot be built; the message ends with the build's last lines."""


class DangerRefused(McpComposeError):  # noqa: N818
    """A launch setting that is refused unless `unsafe` on that server names it."""

    exit_code = 2


class FetchFailed(McpComposeError):  # noqa: N818
    """A catalog or signature that cannot be had from where it is kept, or is not what it should be."""


class SignatureRefused(McpComposeError):  # noqa: N818
    """An image without the signature that the policy asks for; nothing was started."""


class AuditUnavailable(McpComposeError):  # noqa: N818
    """A request cannot be written into the audit log, and so is refused."""


class GatewayRunning(McpComposeError):  # noqa: N818
    """Another gateway holds this project."""


class GatewayNotRunning(McpComposeError):  # noqa: N818
    """No gateway holds this project."""


class CalledOff(GatewayNotRunning):
    """What was begun was called off by a `down` that came after it."""


class UpstreamError(McpComposeError):
    """An MCP server that cannot be spoken to; the message says why."""
