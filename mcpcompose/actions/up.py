"""Bring a project up: hand the file to the gateway that runs, start one in the background, or be it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcpcompose.actions.admin_client import Event
from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import ensure_gateway, running_gateway, wait_for_end
from mcpcompose.errors import McpComposeError

OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """How to bring it up; *watch* follows changes of the file, *log_to_stderr* is for supervisors."""

    watch: bool = True
    log_to_stderr: bool = False


def is_running(place: Place) -> bool:
    """Whether a gateway of the project runs."""
    return running_gateway(place) is not None


def hand_over(place: Place, wish: Wish, on_event: OnEvent) -> dict[str, Any]:
    """Give the file to the project's gateway, started if need be, and wait until the servers have settled."""
    gateway, process = ensure_gateway(place)
    try:
        for event in gateway.apply({**place.wire(), "watch": wish.watch}):
            if event.get("event") == "done":
                return dict(event)
            on_event(event)
    except McpComposeError:
        if process is not None:
            wait_for_end(process)
        raise
    raise McpComposeError("the gateway ended before it was done", hint="see `mcp-compose logs gateway`")


def stay(place: Place, wish: Wish, on_event: OnEvent, serving: OnEvent) -> bool:
    """
    Be the project's gateway until it is told to end. Tells *serving* the result of the first round.

    Returns whether a person interrupted it (and not `down`).
    """
    from mcpcompose.actions.serve import serve

    first = {**place.wire(), "watch": wish.watch}
    return serve(place, first, on_event, serving, sys.stderr if wish.log_to_stderr else None)
