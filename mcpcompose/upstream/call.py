"""
One request on its way to a server, and what comes back: notes, questions to the client, an answer.

No task and no queue of its own: whoever has the answer calls `finish`, whoever waits is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mcpcompose.spec.limits import exceeded
from mcpcompose.upstream.allowance import UNSAID, Allowance, Gauge
from mcpcompose.upstream.levels import MESSAGE, wants
from mcpcompose.upstream.wire import with_progress_token

if TYPE_CHECKING:
    from mcpcompose.upstream.base import Era

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
CANCELLED: Final = -32800
PROGRESS: Final = "notifications/progress"
QUIET: Final = 15.0
"""Seconds without a word after which a client is shown a sign of life."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What a server answered: *result* or *error*, as the JSON bytes that came; *era* is the server's."""

    result: bytes | None = None
    error: bytes | None = None
    era: Era | None = None


class Origin(msgspec.Struct, frozen=True):
    """
    For whom a call is: the client, its session (handshake revisions), and what it said it can do.

    *capabilities* are the client's own, as it sent them; *modern* says which era it speaks.
    """

    client: str
    session: str | None = None
    modern: bool = False
    capabilities: Mapping[str, Any] = msgspec.field(default_factory=dict)
    info: Mapping[str, Any] | None = None
    level: str | None = None
    """The least severe log messages it wants; None when it did not say."""


class Ask:
    """
    A question of a server to the client of a call, such as `elicitation/create`: *params* as the bytes that came.

    Only the first answer counts. Who shows it to a client sets *withdrawn*, which is told when nobody waits any more.
    *server* is who asks, of a question outside of calls; *titled* says that people see it in what they read.
    """

    __slots__ = ("_answered", "_over", "abandoned", "done", "method", "params", "server", "titled", "withdrawn")

    def __init__(self, method: str, params: bytes, answered: Callable[[Reply], None]) -> None:
        self.method = method
        self.params = params
        self.done = False
        self.server: str | None = None
        self.titled = False
        self.withdrawn: Callable[[], None] | None = None
        self.abandoned = False
        self._answered = answered
        self._over: Callable[[], None] | None = None

    def taken_over(self, answered: Callable[[Reply], None], over: Callable[[], None]) -> Callable[[Reply], None]:
        """The answer goes to *answered*, which hands it on to what is returned; *over* is told that none is wanted."""
        before, self._answered, self._over = self._answered, answered, over
        return before

    def answer(self, reply: Reply) -> None:
        """The client's answer, or ours in its place."""
        if not self.done:
            self.done = True
            self._answered(reply)

    def withdraw(self) -> None:
        """The server, or the end of the call, makes an answer useless."""
        if not self.done:
            self.done = True
            if self.withdrawn is not None:
                self.withdrawn()
            if self._over is not None and not self.abandoned:
                self._over()

    def abandon(self) -> None:
        """The call it belongs to is over: nobody will answer, and the server need not wait."""
        if not self.done:
            self.abandoned = True
            self.withdraw()
            self._answered(failure(CANCELLED, "the call is over"))


Note = tuple[str, bytes] | Ask
"""What comes before the result: a notification's method and params, or a question."""


def failure(code: int, message: str, data: dict[str, Any] | None = None) -> Reply:
    """An answer of our own in the server's place."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return Reply(error=msgspec.json.encode(error))


def unavailable(server: str, message: str, **data: Any) -> Reply:
    """The server cannot answer; the same call may work later."""
    return failure(INTERNAL_ERROR, message, {"server": server, "retryable": True, **data})


def moved(server: str) -> Reply:
    """What a call that waited is about is not what it was."""
    return unavailable(server, f"server `{server}` offers something else now; list it again")


class Call:
    """
    A request for a server.

    *params* are the client's, without the keys of the modern envelope, which are in *envelope*; *progress_token*
    is the client's own, as JSON bytes. *idle* and *total* limit how long it may be silent, and take at all.
    *origin* is None for requests of our own. *driver* may take an answer that asks for more, and go on; *left* is
    told when the call was given up.
    """

    __slots__ = (
        "_asks",
        "_ended",
        "_gone",
        "_note_bytes",
        "_waiter",
        "allowance",
        "deadline",
        "driver",
        "envelope",
        "gauges",
        "guard",
        "idle",
        "last",
        "left",
        "method",
        "notes",
        "nudged",
        "origin",
        "params",
        "pause",
        "progress_token",
        "repeated",
        "reply",
        "since",
        "total",
    )

    def __init__(
        self,
        method: str,
        params: dict[str, Any],
        *,
        envelope: dict[str, Any] | None = None,
        progress_token: bytes | None = None,
        origin: Origin | None = None,
        driver: Driver | None = None,
        idle: float | None = 60.0,
        total: float | None = 1800.0,
    ) -> None:
        self.method = method
        self.params = params
        self.envelope = envelope
        self.progress_token = progress_token
        self.origin = origin
        self.driver = driver
        self.idle = idle
        self.total = total
        self.since = monotonic()
        self.nudged = self.repeated = False
        self.allowance: Allowance = UNSAID
        self.gauges: tuple[Gauge, ...] = ()
        self.guard: Guard | None = None
        self.left: Callable[[Call], None] | None = None
        self.deadline: float | None = None
        self.last: float | None = None
        self.reply: Reply | None = None
        self.notes: list[Note] = []
        self.pause: int | None = None
        self._note_bytes = 0
        self._ended = False
        self._asks: list[Ask] = []
        self._waiter: asyncio.Future[None] | None = None
        self._gone: Callable[[Call, str], None] | None = None

    def began(self, now: float, gone: Callable[[Call, str], None]) -> None:
        """It is with a server now; *gone* is told when nobody wants the answer any more."""
        self._gone = gone
        if self.total is not None and self.last is None:
            self.last = now + self.total
        self.renewed(now)

    def goes_on(self, origin: Origin, progress_token: bytes | None) -> None:
        """Its client came back with another request: what it hears from now on is as that one says."""
        self.origin, self.progress_token = origin, progress_token
        self.since, self.nudged = monotonic(), False
        notes, self.notes = self.notes, []
        for note in notes:
            if isinstance(note, Ask):
                self.notes.append(note)
            elif note[0] == PROGRESS:
                if progress_token is not None:
                    self.notes.append((PROGRESS, with_progress_token(note[1], progress_token)))
            elif note[0] != MESSAGE or wants(origin, note[1]):
                self.notes.append(note)

    def renewed(self, now: float) -> None:
        """The server showed that it is at work; while a question of it is open, people have their time."""
        if self.idle is not None:
            idle = self.idle if not self._asks else max(self.idle, self.allowance.parked)
            self.deadline = now + idle if self.last is None else min(now + idle, self.last)

    def is_late(self, now: float) -> bool:
        """Whether its time is over; once its questions are answered, the server's own time begins anew."""
        if self._asks and not self.open_asks():
            self.renewed(now)
        return self.deadline is not None and self.deadline <= now

    def asked(self, ask: Ask, now: float) -> None:
        """The server wants to know something of the client before it answers."""
        if self.guard is not None:
            self.guard.asked(ask, now)
        else:
            self.show(ask, now)

    def show(self, ask: Ask, now: float) -> None:
        """Put *ask* to the client."""
        self._asks = [one for one in self._asks if not one.done]
        if self.reply is not None:
            ask.abandon()
        elif len(self._asks) >= self.allowance.limits.questions:
            key = self.allowance.key("questions")
            text = exceeded("too many questions are open", self.allowance.limits.questions, key)
            ask.answer(failure(INTERNAL_ERROR, text))
        else:
            self._asks.append(ask)
            self.notes.append(ask)
            self.renewed(now)
            self._wake()

    def open_asks(self) -> list[Ask]:
        """The questions that are not answered."""
        self._asks = [one for one in self._asks if not one.done]
        return self._asks

    def note(self, method: str, params: bytes) -> None:
        """The server said something before the result; what nobody reads is lost when it is too much."""
        if self.guard is not None:
            passed = self.guard.noted(method, params)
            if passed is None:
                return
            params = passed
        limits = self.allowance.limits
        size = self._note_bytes + len(params)
        if method == MESSAGE and not wants(self.origin, params):
            return
        if not self._ended and len(self.notes) < limits.notes and size <= limits.notes_size:
            self._note_bytes = size
            self.notes.append((method, params))
            self._wake()

    def paused(self, retry: int, now: float) -> None:
        """The server closed the answer's stream and wants to be asked for the rest in *retry* milliseconds."""
        if self.reply is None:
            self.pause = retry
            self.renewed(now + retry / 1000)
            self._wake()

    def take_pause(self) -> int | None:
        """How long the server wants to be left alone, told once."""
        pause, self.pause = self.pause, None
        return pause

    def finish(self, reply: Reply) -> None:
        """Only the first answer counts; the driver may go on instead."""
        if self.reply is not None or (self.driver is not None and self.driver(self, reply)):
            return
        if self.guard is not None:
            self._gone = self.deadline = None
            self.guard.take(reply)
            return
        self.reply = reply
        self._gone = None
        for gauge in self.gauges:
            gauge.held -= 1
        self.gauges = ()
        if self._asks:
            asks, self._asks = self._asks, []
            for ask in asks:
                ask.abandon()
        self._ended = True
        self._wake()

    def cancel(self, reason: str = "cancelled by the client") -> None:
        """Nobody wants the answer any more."""
        self.give_up(failure(CANCELLED, reason), reason)

    def give_up(self, reply: Reply, reason: str) -> None:
        """Answer in the server's place, and let the server know."""
        if self.reply is not None:
            return
        gone, left = self._gone, self.left
        guard, self.guard = self.guard, None
        self.finish(reply)
        self.driver = None
        if guard is not None:
            guard.gave_up(reply)
        if gone is not None:
            gone(self, reason)
        if left is not None:
            left(self)

    def nudge(self, now: float) -> None:
        """Let who waits for the first word of the server show a sign of life, once it is `QUIET` seconds late."""
        if not self.nudged and now - self.since > QUIET:
            self.nudged = True
            self._wake()

    def take_notes(self) -> list[Note]:
        """What came before the result since the last look, in order."""
        notes, self.notes = self.notes, []
        self._note_bytes = 0
        return notes

    async def news(self, seconds: float | None = None) -> bool:
        """Wait until there is an answer or a note; False after *seconds* without any, or after a nudge."""
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
        """Wait for the answer; notes are dropped, questions refused. Cancelled with the one who waits."""
        try:
            while self.reply is None:
                await self.news()
                for note in self.take_notes():
                    if isinstance(note, Ask):
                        note.answer(failure(METHOD_NOT_FOUND, f"`{note.method}` cannot be answered here"))
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


class Guard(Protocol):
    """Who is asked before anything of a call reaches its client."""

    def take(self, reply: Reply) -> None:
        """The last word; the guard finishes the call when it is no longer its guard."""

    def gave_up(self, reply: Reply) -> None:
        """The call ended with *reply*, as nobody waits for it or its time is over."""

    def asked(self, ask: Ask, now: float) -> None:
        """A question of the server."""

    def noted(self, method: str, params: bytes) -> bytes | None:
        """A notification of the server; returns what is passed on, None for nothing."""


Driver = Callable[[Call, Reply], bool]
"""Takes an answer that is not the last word, and goes on with the call; False for one that is."""
