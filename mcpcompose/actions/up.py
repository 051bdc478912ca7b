"""Bring a project up: hand the file to the gateway that runs, start one in the background, or be it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, Final

from mcpcompose.actions.admin_client import AdminClient, Event
from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import ENDED, TAKEN, ensure_gateway, running_gateway, wait_for_end, wait_until_free
from mcpcompose.errors import CalledOff, GatewayNotRunning, McpComposeError

OnEvent = Callable[[Event], None]
_GOING_DOWN: Final = 60.0
"""Seconds that a gateway which is being taken down is waited for."""
_LOOK_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Wish:
    """
    How to bring it up; *watch* follows changes of the file, *log_to_stderr* is for supervisors.

    *locked*: nothing may differ from the lock; *lock* takes the place of the lock file's content.
    """

    watch: bool = True
    log_to_stderr: bool = False
    locked: bool = False
    lock: str | None = None

    def of(self, place: Place) -> dict[str, Any]:
        """The request that says it."""
        return {**place.wire(), "watch": self.watch, "locked": self.locked, "lock": self.lock}


def is_running(place: Place) -> bool:
    """Whether a gateway of the project runs."""
    return running_gateway(place) is not None


def hand_over(place: Place, wish: Wish, on_event: OnEvent, *, start: bool = True) -> dict[str, Any]:
    """
    Give the file to the project's gateway, started if need be, and wait until the servers have settled.

    One that is ending is waited for, then another is started; without *start* `GatewayNotRunning` is raised instead.
    """
    end = time.monotonic() + _GOING_DOWN
    while True:
        if not start and running_gateway(place) is None:
            wait_until_free(place)
            raise GatewayNotRunning("the gateway ended before it took the file")
        gateway, process = ensure_gateway(place)
        heard: list[Event] = []
        try:
            return _handed(gateway, wish.of(place), on_event, heard)
        except CalledOff:
            raise
        except GatewayNotRunning:
            if heard or time.monotonic() > end or (process is not None and _has_broken(process)):
                raise
            time.sleep(_LOOK_EVERY)  # its `down` may also fail, and then it takes files again
        except McpComposeError:
            if process is not None:
                wait_for_end(process)
            raise


def _has_broken(process: Popen[bytes]) -> bool:
    """Whether our own gateway ended by a fault, and not because of what somebody else asked of it."""
    wait_for_end(process)
    return process.poll() not in {None, ENDED, TAKEN}


def _handed(gateway: AdminClient, request: Event, on_event: OnEvent, heard: list[Event]) -> dict[str, Any]:
    for event in gateway.apply(request):
        heard.append(event)
        if event.get("event") == "done":
            return dict(event)
        on_event(event)
    raise GatewayNotRunning("the gateway ended before it was done", hint="see `mcp-compose logs gateway`")


def stay(place: Place, wish: Wish, on_event: OnEvent, serving: OnEvent) -> bool:
    """
    Be the project's gateway until it is told to end. Tells *serving* the result of the first round.

    Returns whether a person interrupted it (and not `down`).
    """
    from mcpcompose.actions.serve import serve

    return serve(place, wish.of(place), on_event, serving, sys.stderr if wish.log_to_stderr else None)
