"""
What every interceptor is told and may answer: the seam between the gateway's pipeline and the interceptors.

An interceptor is asked before a request goes on and after its result came. It answers at once, or with an awaitable
when it has to wait for somebody; who answers at once costs the request no task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mcpcompose.errors import McpComposeError

if TYPE_CHECKING:
    from pathlib import Path

    from mcpcompose.interceptors.sessions import GovernedSession
    from mcpcompose.redact import Redactor
    from mcpcompose.spec.interceptor import Interceptor as Spec
    from mcpcompose.spec.project import Project

TO_SERVER: Final = "to_server"
"""The client asks the server."""
TO_CLIENT: Final = "to_client"
"""The server asks the client (elicitation, sampling, roots), or tells it something (notifications)."""


class InterceptorFailed(McpComposeError):  # noqa: N818  as the other errors of ours
    """An interceptor was late, crashed, or answered what cannot be used; `on_failure` decides about the request."""


class Exchange(msgspec.Struct):
    """
    One request on its way through the chain, and later its result.

    *name* is the server's own name of the tool or prompt, or the URI; *exposed* the client's. *params* are those the
    server gets (own names, without the modern envelope): never changed in place, an interceptor answers `Change`.
    Exactly one of *result* and *error* is there after the call, as the JSON bytes that came.
    *tool* is the whole definition as the server gave it, of `tools/call`. *own* is for one interceptor's notes between
    before and after, by its label.
    """

    id: str
    method: str
    server: str
    name: str | None
    exposed: str | None
    params: Mapping[str, Any]
    client: str
    profile: str
    session: GovernedSession
    tool: Mapping[str, Any] | None = None
    direction: str = TO_SERVER
    modern: bool = False
    has_token: bool = True
    """Whether the client has a token of its own."""
    result: bytes | None = None
    error: bytes | None = None
    own: dict[str, Any] = {}
    _value: Any = None
    _of: bytes | None = None

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Those of a tool or prompt call; empty where there are none."""
        found = self.params.get("arguments")
        return found if isinstance(found, dict) else {}

    def value(self) -> Any:
        """The result or error, decoded once; None when it is not JSON."""
        raw = self.result if self.result is not None else self.error
        if raw is None:
            return None
        if self._of is not raw:
            try:
                self._value = msgspec.json.decode(raw)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self._value = None
            self._of = raw
        return self._value

    def hint(self, name: str) -> bool:
        """An annotation of the tool as a boolean, with the specification's default when it is absent."""
        notes = self.tool.get("annotations") if self.tool is not None else None
        said = notes.get(name) if isinstance(notes, Mapping) else None
        return said if isinstance(said, bool) else HINT_DEFAULTS.get(name, False)


HINT_DEFAULTS: Final = {
    "readOnlyHint": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "openWorldHint": True,
}
"""Of the specification (`ToolAnnotations`): what a hint that is absent means."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse it; *message* is for the model and says what to do instead, *rule* is for the audit log."""

    message: str
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """
    Go on with something else: before, other *params* (whole; the name or URI may not change), after, another *result*
    (JSON bytes of the whole result) or *error*. *rule* and *note* (no secret values) are for the audit log.
    """

    params: dict[str, Any] | None = None
    result: bytes | None = None
    error: bytes | None = None
    rule: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer in the server's place with *result*, JSON bytes; before the call only."""

    result: bytes
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Ask the person at the client; no, no answer, or a client that cannot ask is a refusal with *refusal*."""

    question: str
    refusal: str
    rule: str | None = None
    accepted: Callable[[], None] | None = None
    """Told when the person said yes."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Let it through, and write it into the audit log; *note* holds no secret values."""

    note: str
    rule: str | None = None


Decision = Refuse | Change | Respond | AskPerson | Warn
"""None in its place lets the request through."""
Answer = Decision | None | Awaitable[Decision | None]


class Interceptor(Protocol):
    """One entry of `interceptors`. Raises `InterceptorFailed` (at once or awaited) when it cannot decide."""

    def before(self, exchange: Exchange) -> Answer:
        """The request goes on towards the other side."""

    def after(self, exchange: Exchange) -> Answer:
        """The result came; `exchange.result` or `exchange.error` is there."""

    async def close(self) -> None:
        """End what it holds; nothing is asked any more."""


class Quiet:
    """The ground of interceptors that have nothing to say at one of the times."""

    def before(self, exchange: Exchange) -> Answer:  # noqa: ARG002
        """Let it through."""
        return None

    def after(self, exchange: Exchange) -> Answer:  # noqa: ARG002
        """Let it through."""
        return None

    async def close(self) -> None:
        """Nothing is held."""


def unread(_name: str, _data: bytes) -> None:
    """A log that nobody reads."""


@dataclass(frozen=True, slots=True)
class Around:
    """
    What interceptors are given beside what the file says of them.

    *redactor* knows every secret value that was handed out. *expand* is given the
    interceptor's label and a template (`${VAR}`, `${secret:name}`), and returns the text. *environ* is that of the last
    `up`. *containers* runs containers of `image` interceptors; None where no engine does. *log* is told what programs
    say for their log, by name.
    """

    project: Project
    directory: Path
    redactor: Redactor
    environ: Mapping[str, str]
    expand: Callable[[str, str], Awaitable[str]]
    containers: Any = None
    log: Callable[[str, bytes], None] = unread


Make = Callable[["Spec", Around], Interceptor]
