"""What each profile gives its clients: by the file, and by the running gateway where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.auth.tokens import DEFAULT_CLIENT, DEFAULT_PROFILE
from mcpcompose.errors import McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.spec.project import Profile, Project

Live = Mapping[str, Sequence[str]]
"""The exposed names of a profile's tools, by server."""


@dataclass(frozen=True, slots=True)
class Listed:
    """
    One profile: its servers in order, the clients bound to it, and its tools.

    *live* are the names that clients see now; None where no gateway runs, or it does not serve the profile yet.
    *rules* say, by server, what narrows its tools.
    """

    name: str
    servers: tuple[str, ...]
    clients: tuple[str, ...]
    rules: Mapping[str, tuple[str, ...]]
    live: Live | None

    @property
    def tools(self) -> int | None:
        """How many tools its clients see now."""
        return None if self.live is None else sum(map(len, self.live.values()))


def listed(place: Place) -> list[Listed]:
    """Every profile, those of the file in its order; `default` is always there."""
    from mcpcompose.actions.config import load

    project = load(place).project
    return [_listed(place, project, name) for name in project.profiles]


def shown(place: Place, name: str) -> Listed:
    """One profile. Raises `UsageError` when there is none of this name."""
    from mcpcompose.actions.config import load

    project = load(place).project
    if name not in project.profiles:
        near = get_close_matches(name, list(project.profiles), n=1)
        meant = f", did you mean `{near[0]}`?" if near else ""
        names = ", ".join(f"`{one}`" for one in project.profiles)
        raise UsageError(f"there is no profile `{name}`{meant}", hint=f"profiles are: {names}")
    return _listed(place, project, name)


def as_json(one: Listed) -> dict[str, Any]:
    """A profile as `--format json` prints it."""
    return {
        "name": one.name,
        "clients": list(one.clients),
        "running": one.live is not None,
        "servers": [
            {
                "name": server,
                "rules": list(one.rules.get(server, ())),
                "tools": None if one.live is None else list(one.live.get(server, ())),
            }
            for server in one.servers
        ],
    }


def _listed(place: Place, project: Project, name: str) -> Listed:
    profile = project.profiles[name]
    bound = {DEFAULT_CLIENT: DEFAULT_PROFILE} | {client: one.profile for client, one in project.clients.items()}
    return Listed(
        name=name,
        servers=tuple(profile.servers),
        clients=tuple(client for client, of in bound.items() if of == name),
        rules={server: _rules(project, profile, server) for server in profile.servers if server in project.servers},
        live=_live(place, name),
    )


def _rules(project: Project, profile: Profile, server: str) -> tuple[str, ...]:
    """What narrows the tools of *server*: its own lists, then the profile's."""
    tools = project.servers[server].tools
    rules = [] if tools.allow is None else [f"allow {', '.join(tools.allow) or 'nothing'}"]
    rules += [f"deny {', '.join(tools.deny)}"] if tools.deny else []
    kept = profile.tools.get(server)
    return (*rules, *([] if kept is None else [f"only {', '.join(kept) or 'nothing'}"]))


def _live(place: Place, name: str) -> Live | None:
    gateway = running_gateway(place)
    if gateway is None:
        return None
    try:
        tools = gateway.tools(name)
    except (
        McpComposeError
    ):  # it ended just now, or the running gateway still has the file as it was before this profile
        return None
    found: dict[str, list[str]] = {}
    for tool in tools:
        found.setdefault(str(tool["_mcpcompose"]["server"]), []).append(str(tool["name"]))
    return found
