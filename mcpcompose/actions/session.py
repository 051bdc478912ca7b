"""Governed sessions: what each client has read and is pinned to, of the running gateway or as the last one left it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpcompose.actions.locate import Place
    from mcpcompose.interceptors.sessions import GovernedSessions


def listed(place: Place) -> list[dict[str, Any]]:
    """`client`, `id`, `since`, `last` (seconds since the epoch), `labels` and `pins` of each, by client."""
    gateway = running_gateway(place)
    found = gateway.sessions() if gateway is not None else [one.as_json() for one in _kept(place).all()]
    return sorted(found, key=lambda one: str(one["client"]))


def reset(place: Place, clients: Sequence[str] | None) -> list[str]:
    """
    End the sessions of *clients* (None: all); returns whose. Raises `UsageError` for one that has none.

    None is ended when one of the names is wrong.
    """
    from mcpcompose.interceptors.sessions import SHARED

    known = [str(one["client"]) for one in listed(place)]
    named = (SHARED if client == SHARED.strip("()") and client not in known else client for client in clients or ())
    chosen = known if clients is None else list(dict.fromkeys(named))
    for client in chosen:
        if client not in known:
            close = get_close_matches(client, known, n=1)
            meant = f", did you mean `{close[0]}`?" if close else ""
            raise UsageError(f"client `{client}` has no session{meant}", hint="see `mcp-compose session ls`")
    gateway = running_gateway(place)
    kept = _kept(place) if gateway is None else None
    for client in chosen:
        if gateway is not None:
            gateway.reset_session(client)
        elif kept is not None:
            kept.reset(client)
    return chosen


def _kept(place: Place) -> GovernedSessions:
    """The sessions that a gateway left; the next one goes on with those that are not over by then."""
    from mcpcompose.actions.config import load
    from mcpcompose.interceptors.sessions import GovernedSessions

    return GovernedSessions(place.paths.state / "sessions.json", idle=load(place).project.session.idle)
