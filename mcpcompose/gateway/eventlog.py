"""
What was streamed to handshake clients and may be asked for again (`Last-Event-ID`), bounded per session and in all.

Ids mean something within their own session only. Nothing here costs a call that is answered without a stream.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from mcpcompose.gateway.resumable import Stream

OWN: Final = 0
"""The number of a session's own stream, which belongs to no call."""
_ID: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_PRIMED: Final = "2025-11-25"
"""The first revision whose clients understand an event without data."""
_BYTES: Final = 64 << 20
_PART: Final = 8
"""One session may keep one part in so many."""
_SESSION_EVENTS: Final = 1000
_SESSION_STREAMS: Final = 100
"""Streams that have ended."""
_OWN_EVENTS: Final = 100
_READ: Final = 30.0
"""Seconds that an ended stream is kept, when somebody was there to read its end; and when nobody was."""
_UNREAD: Final = 600.0
_SWEEP: Final = 10.0


class Position(NamedTuple):
    """Where a client stopped reading."""

    stream: Stream
    event: int


class EventStore:
    """The logs of all sessions; the one that was written to the longest ago makes room for others."""

    def __init__(self, *, most: int = _BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.size = 0
        self.most = most
        self._logs: dict[EventLog, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def log(self, version: str) -> EventLog:
        """The log of a new session, which speaks *version*."""
        return EventLog(self, version)

    def written(self, log: EventLog, stream: Stream) -> None:
        """Make room for what *log* keeps of *stream* by now."""
        self._logs.pop(log, None)
        self._logs[log] = None
        while self.size > self.most:
            oldest = next(iter(self._logs))
            if not oldest.drop_one(stream):
                if oldest is log:
                    break
                del self._logs[oldest]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP, self.sweep)

    def forget(self, log: EventLog) -> None:
        """It keeps nothing any more."""
        self._logs.pop(log, None)
        if not self._logs and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self) -> None:
        """Drop what nobody came back for."""
        now = self.clock()
        for log in tuple(self._logs):
            if not log.expire(now):
                self.forget(log)
        if self._logs:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP, self.sweep)


class EventLog:
    """The streams of one session; *primes*: its client understands an event without data."""

    __slots__ = ("_closed", "_ended", "_events", "_open", "_size", "_store", "_streams", "_work", "primes")

    def __init__(self, store: EventStore, version: str) -> None:
        self.primes = version >= _PRIMED
        self._store = store
        self._streams = OWN
        self._open: dict[int, Stream] = {}
        self._ended: dict[int, tuple[Stream, float]] = {}
        """Streams that have ended, and when they expire."""
        self._events = 0
        self._size = 0
        self._closed = False
        self._work: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return self._events

    @property
    def size(self) -> int:
        """What is kept costs so many bytes."""
        return self._size

    def stream(self) -> Stream:
        """A new stream, for a call."""
        self._streams += 1
        self._open[self._streams] = stream = Stream(self, self._streams)
        return stream

    def own(self) -> Stream:
        """The session's own stream."""
        if OWN not in self._open:
            self._open[OWN] = Stream(self, OWN)
        return self._open[OWN]

    def find(self, last_event_id: str) -> Position | None:
        """Where the client that sends this `Last-Event-ID` stopped; None when what came after it is not kept."""
        match = _ID.fullmatch(last_event_id)
        if match is None:
            return None
        number, event = int(match[1]), int(match[2])
        stream = self._open[number] if number in self._open else self._ended.get(number, (None, 0.0))[0]
        if stream is None or not stream.floor <= event <= stream.newest:
            return None
        return Position(stream, event)

    def close(self) -> None:
        """The session is over: streams go on to their end and are found no more."""
        self._closed = True
        self._open.clear()
        self._ended.clear()
        self._grow(-self._size)
        self._events = 0
        self._store.forget(self)

    # --- for its streams and the store ------------------------------------------------------------------------------

    def kept(self, stream: Stream, size: int) -> None:
        """*stream* has one event more."""
        if self._closed:
            return
        self._events += 1
        self._grow(size)
        if stream.number == OWN and len(stream) > _OWN_EVENTS:
            self._drop(stream)
        while self._events > _SESSION_EVENTS or self._size > self._store.most // _PART:
            if not self.drop_one(stream):
                break
        self._store.written(self, stream)

    def ended(self, stream: Stream, *, unread: bool) -> None:
        """*stream* has its last event."""
        if self._closed or stream.number == OWN:
            return
        self._open.pop(stream.number, None)
        self._ended[stream.number] = (stream, self._store.clock() + (_UNREAD if unread else _READ))
        if len(self._ended) > _SESSION_STREAMS:
            oldest = next(iter(self._ended))
            self._empty(self._ended.pop(oldest)[0])

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def drop_one(self, spare: Stream) -> bool:
        """Drop an event, but not the newest one of *spare*; False when there is no other."""
        for number, (stream, _) in self._ended.items():
            if len(stream) > (stream is spare):
                self._drop(stream)
                if len(stream) == 0:
                    del self._ended[number]
                return True
        for stream in (spare, *self._open.values()) if spare.number in self._open else self._open.values():
            if len(stream) > (stream is spare):
                self._drop(stream)
                return True
        return False

    def expire(self, now: float) -> bool:
        """Drop what has been kept long enough; whether anything is left."""
        for number, (stream, until) in tuple(self._ended.items()):
            if until <= now:
                del self._ended[number]
                self._empty(stream)
        return self._events > 0

    def _empty(self, stream: Stream) -> None:
        while len(stream):
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        self._events -= 1
        self._grow(-stream.drop_oldest())

    def _grow(self, size: int) -> None:
        self._size += size
        self._store.size += size
