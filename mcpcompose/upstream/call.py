"""
One request on its way to a server, and what comes back.

No task and no queue of its own: whoever has the answer calls `finish`, whoever waits is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from mcpcompose.upstream.base import Era

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
CANCELLED: Final = -32800
_NOTES: Final = 1024
_NOTE_BYTES: Final = 1 << 20
"""Notifications kept for one call, and their bytes; a server that sends more before anyone reads loses the rest."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: *result* or *error*, as the JSON bytes that came; *era* is the server's."""

    result: bytes | None = None
    error: bytes | None = None
    era: Era | None = None


def failure(code: int, message: str, data: dict[str, Any] | None = None) -> Reply:
    """An answer of our own in the server's place."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Reply(error=msgspec.json.encode(error))


def unavailable(server: str, message: str, **data: Any) -> Reply:
    """The server cannot answer; the same call may work later."""
    return failure(INTERNAL_ERROR, message, {"server": server, "retryable": True, **data})


class Call:
    """
    A request for a server.

    *params* are the client's, without the keys of the modern envelope, which are in *envelope*; *progress_token*
    is the client's own, as JSON bytes. *idle* and *total* limit how long it may be silent, and take at all.
    """

    __slots__ = (
        "_gone",
        "_note_bytes",
        "_waiter",
        "deadline",
        "envelope",
        "idle",
        "last",
        "method",
        "notes",
        "params",
        "progress_token",
        "reply",
        "total",
    )

    def __init__(
        self,
        method: str,
        params: dict[str, Any],
        *,
        envelope: dict[str, Any] | None = None,
        progress_token: bytes | None = None,
        idle: float | None = 60.0,
        total: float | None = 1800.0,
    ) -> None:
        self.method = method
        self.params = params
        self.envelope = envelope
        self.progress_token = progress_token
        self.idle = idle
        self.total = total
        self.deadline: float | None = None
        self.last: float | None = None
        self.reply: Reply | None = None
        self.notes: list[tuple[str, bytes]] = []
        self._note_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._gone: Callable[[Call, str], None] | None = None

    def began(self, now: float, gone: Callable[[Call, str], None]) -> None:
        """It is with a server now; *gone* is told when nobody wants the answer any more."""
        self._gone = gone
        if self.total is not None:
            self.last = now + self.total
        self.renewed(now)

    def renewed(self, now: float) -> None:
        """The server showed that it is at work."""
        if self.idle is not None:
            self.deadline = now + self.idle if self.last is None else min(now + self.idle, self.last)

    def note(self, method: str, params: bytes) -> None:
        """The server said something before the result."""
        if self.reply is None and len(self.notes) < _NOTES and self._note_bytes + len(params) <= _NOTE_BYTES:
            self._note_bytes += len(params)
            self.notes.append((method, params))
            self._wake()

    def finish(self, reply: Reply) -> None:
        """Only the first answer counts."""
        if self.reply is None:
            self.reply = reply
            self._gone = None
            self._wake()

    def cancel(self, reason: str = "cancelled by the client") -> None:
        """Nobody wants the answer any more."""
        self.give_up(failure(CANCELLED, reason), reason)

    def give_up(self, reply: Reply, reason: str) -> None:
        """Answer in the server's place, and let the server know."""
        gone = self._gone
        if self.reply is None:
            self.finish(reply)
            if gone is not None:
                gone(self, reason)

    def take_notes(self) -> list[tuple[str, bytes]]:
        """What came before the result since the last look."""
        notes, self.notes = self.notes, []
        self._note_bytes = 0
        return notes

    async def news(self, seconds: float | None = None) -> bool:
        """Wait until there is an answer or a note; False after *seconds* without any."""
        if self._told():
            return True
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake) if seconds is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return self._told()

    async def answer(self) -> Reply:
        """Wait for the answer; notes are dropped. Cancelled with the one who waits."""
        try:
            while self.reply is None:
                await self.news()
                self.take_notes()
        except asyncio.CancelledError:
            self.cancel("given up")
            raise
        return self.reply

    def _told(self) -> bool:
        return self.reply is not None or bool(self.notes)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
