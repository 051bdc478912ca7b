"""What a server is spoken to through: a byte stream or HTTP, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Ask, Call


@dataclass(slots=True)
class Watcher:
    """Whom a connection tells what belongs to no call."""

    notified: Callable[[str, bytes], None]
    """The server sent a notification: its method, such as `notifications/tools/list_changed`, and its params."""
    lost: Callable[[str], None]
    """Nothing more will come, and why."""
    asked: Callable[[Ask], None] | None = None
    """The server asks something that belongs to no call; None when nobody can answer."""
    renewed: Callable[[], None] = lambda: None
    """The server lost what it remembered of the conversation, which goes on."""


class Connection(Protocol):
    """One connection to one server; calls in flight end with an error when it is lost."""

    era: Era
    version: str
    pending: dict[str, Call]

    def begin(self, call: Call) -> None:
        """Send *call*; it is finished later, or at once when that fails. Never raises."""

    def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Send a notification."""

    def expire(self, call: Call) -> None:
        """Give a call up whose time is over: the server is told, the caller gets an error."""

    def greeted(self, era: Era, version: str) -> None:
        """The handshake is done."""

    def learned(self, lists: ServerLists) -> None:
        """What the server offers, for what of it goes into headers."""

    async def close(self, reason: str) -> None:
        """Let go; calls in flight end with an error."""


async def ask(
    connection: Connection, method: str, params: Mapping[str, Any] | None = None, *, seconds: float | None = 30.0
) -> Call:
    """Send a request of our own and wait for its answer."""
    call = Call(method, dict(params or {}), idle=seconds, total=seconds)
    connection.begin(call)
    await call.answer()
    return call


def sweep(connection: Connection, now: float) -> None:
    """Give up what took too long, and let those who wait for a first word show a sign of life."""
    for call in tuple(connection.pending.values()):
        if call.is_late(now):
            connection.expire(call)
        else:
            call.nudge(now)


def unreachable(connection: Connection) -> str | None:
    """Why it cannot even be connected to, where it is connected to."""
    why: str | None = getattr(connection, "unreachable", None)
    return why


def listens(connection: Connection) -> bool:
    """Whether anybody was there; one that broke an exchange off may yet take another kind of request."""
    return not getattr(connection, "is_away", False)


def garbage(connection: Connection) -> str:
    """What it said instead of the protocol, as the end of a sentence."""
    first = getattr(connection, "first_garbage", None)
    return f"; its standard output began with `{first}`" if first else ""


def wording(error: BaseException) -> str:
    """What *error* says, or what it is when it says nothing."""
    return str(error) or type(error).__name__
