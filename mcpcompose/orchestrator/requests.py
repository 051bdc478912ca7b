"""What a controller is asked for, and what it says of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mcpcompose.errors import McpComposeError, UsageError
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.plan import Plan
from mcpcompose.orchestrator.round import LoadedFile
from mcpcompose.spec.project import Project

Load = Callable[[], Awaitable[LoadedFile]]


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """
    What a person asks for with `up`, `pull` or `build`.

    *load* and *host* (the environment of secret commands) replace the controller's own from now on, as when a second
    `up` hands over another file. *servers* limits it, *refresh* has their images anew, *trust* approves forms by the
    beginning of their hash, or all of them with `all`.
    """

    load: Load | None = None
    host: Mapping[str, str] | None = field(default=None, repr=False)
    servers: frozenset[str] | None = None
    refresh: bool = False
    trust: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What `plan` and `up --dry-run` print: the plan, and what would need approval first."""

    plan: Plan
    pending: tuple[Form, ...] = ()


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """How the project is doing: the last good project, what is wrong with a newer one, what failed by server."""

    project: Project | None = None
    problem: McpComposeError | None = None
    pending: tuple[Form, ...] = ()
    errors: Mapping[str, McpComposeError] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    rounds: int = 0


def chosen(project: Project, servers: Iterable[str] | None) -> frozenset[str]:
    """The names *servers* (all: None). Raises `UsageError` for one that is not declared."""
    names = frozenset(project.servers if servers is None else servers)
    if unknown := sorted(names - project.servers.keys()):
        listed = ", ".join(f"`{name}`" for name in unknown)
        raise UsageError(f"there is no server {listed}", hint=f"there are {', '.join(project.servers)}")
    return names
