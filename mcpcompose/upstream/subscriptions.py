"""
The resources of one server that somebody wants to hear of: said to the server once for all, and again after every end.

To a handshake server each is a `resources/subscribe` of its own. To a modern one all of them are one stream
(`subscriptions/listen`), whose filter cannot be changed: a new one is opened before the old one is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import INVALID_PARAMS, Call, Reply, failure, unavailable
from mcpcompose.upstream.connection import Connection
from mcpcompose.upstream.wire import META_SUBSCRIPTION

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
UPDATED: Final = "notifications/resources/updated"
_MOST: Final = 10_000
_SECONDS: Final = 30.0
_DEEPEST: Final = 200
_LONGEST: Final = 8192
"""Parts and characters of a URI that is looked for as a part of another one."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_DONE: Final = Reply(result=b"{}")

Told = Callable[[Reply], None]
"""Told once: an empty result when the server is asked to say when it changes, or why it will not."""


@dataclass(eq=False, slots=True)
class _Wanted:
    """One URI; *asked* says that the server knows."""

    uri: str
    holders: set[object] = field(default_factory=set)
    asked: bool = False
    busy: bool = False
    waiting: dict[object, tuple[Told, float]] = field(default_factory=dict)
    """Holders that were not told yet, and until when they wait."""


class Subscriptions:
    """
    Of the server *name*, on the conversation of all.

    Who subscribes holds the URI until it lets go of it, unless it is told that it cannot be had. A server that does
    not serve at the moment is asked once it does; who waits for that longer than *seconds* is told so.
    """

    def __init__(self, name: str, clock: Callable[[], float], seconds: float = _SECONDS) -> None:
        self._name = name
        self._clock = clock
        self._seconds = seconds
        self._wanted: dict[str, _Wanted] = {}
        self._connection: Connection | None = None
        self._era = Era.LEGACY
        self._stream: Call | None = None
        self._opening: Call | None = None
        self._changed = False
        self._timer: asyncio.Handle | None = None
        self._pause = _FIRST_PAUSE

    @property
    def uris(self) -> tuple[str, ...]:
        """Everything that somebody wants to hear of."""
        return tuple(self._wanted)

    # --- for those who want to hear ---------------------------------------------------------------------------------

    def subscribe(self, uri: str, told: Told) -> Callable[[], None]:
        """Hold *uri*; returns what lets go of it. The last one to let go says so to the server."""
        wanted = self._wanted.get(uri)
        if wanted is None:
            if len(self._wanted) >= _MOST:
                told(unavailable(self._name, f"server `{self._name}` has {_MOST} subscriptions, which is the most"))
                return lambda: None
            wanted = self._wanted[uri] = _Wanted(uri)
        holder = object()
        wanted.holders.add(holder)
        if wanted.asked and not wanted.busy:
            told(_DONE)
        else:
            wanted.waiting[holder] = (told, self._clock() + self._seconds)
            self._see_to(wanted)
        return partial(self._let_go, wanted, holder)

    def _let_go(self, wanted: _Wanted, holder: object) -> None:
        if holder in wanted.holders:
            wanted.holders.discard(holder)
            wanted.waiting.pop(holder, None)
            self._see_to(wanted)

    # --- what the slot tells ----------------------------------------------------------------------------------------

    def begin(self, connection: Connection, era: Era) -> None:
        """A conversation has begun, in which the server knows of nothing."""
        self._connection, self._era, self._pause = connection, era, _FIRST_PAUSE
        for wanted in tuple(self._wanted.values()):
            self._see_to(wanted)

    def end(self) -> None:
        """It is over; what is wanted is kept for the next one."""
        self._connection, self._stream, self._opening, self._changed = None, None, None, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for wanted in tuple(self._wanted.values()):
            wanted.asked = wanted.busy = False
            if not wanted.holders:
                del self._wanted[wanted.uri]

    def refuse(self, reply: Reply) -> None:
        """The server will not be there: those who wait are told so."""
        for wanted in tuple(self._wanted.values()):
            self._tell(wanted, reply)

    def sweep(self, now: float) -> None:
        """Tell those who waited for too long."""
        late = unavailable(self._name, f"server `{self._name}` did not answer in time", reason="timeout")
        for wanted in tuple(self._wanted.values()):
            if wanted.waiting and next(iter(wanted.waiting.values()))[1] <= now:
                self._tell(wanted, late)

    def acknowledged(self, params: bytes) -> None:
        """The server says which part of a stream's filter it honours."""
        opening, connection = self._opening, self._connection
        said = _said(params)
        if opening is None or connection is None or said is None:
            return
        meta, filters = said.get("_meta"), said.get("notifications")
        id_ = meta.get(META_SUBSCRIPTION) if isinstance(meta, dict) else None
        if not isinstance(id_, str) or connection.pending.get(id_) is not opening:
            return
        honoured = filters.get("resourceSubscriptions") if isinstance(filters, dict) else None
        self._opened(opening, set(filter(_is_text, honoured)) if isinstance(honoured, list) else set())

    # --- handshake servers ------------------------------------------------------------------------------------------

    def _see_to(self, wanted: _Wanted) -> None:
        """Bring what the server knows of one URI closer to what is wanted."""
        is_wanted = bool(wanted.holders)
        if wanted.busy or wanted.asked == is_wanted or self._connection is None:
            if not (is_wanted or wanted.asked or wanted.busy) and self._wanted.get(wanted.uri) is wanted:
                del self._wanted[wanted.uri]
            return
        if self._era is Era.MODERN:
            self._see_to_stream()
            return
        wanted.busy = True
        method = "resources/subscribe" if is_wanted else "resources/unsubscribe"
        connection = self._connection

        def answered(_call: Call, reply: Reply) -> bool:
            if self._connection is connection and wanted.busy:
                self._answered(wanted, reply, subscribed=is_wanted)
            return False

        connection.begin(Call(method, {"uri": wanted.uri}, driver=answered, idle=self._seconds, total=self._seconds))

    def _answered(self, wanted: _Wanted, reply: Reply, *, subscribed: bool) -> None:
        wanted.busy = False
        wanted.asked = subscribed and reply.error is None
        if subscribed and reply.error is not None:
            self._refused(wanted, reply)
            return
        if subscribed:
            self._tell(wanted, _DONE)
        self._see_to(wanted)

    def _refused(self, wanted: _Wanted, reply: Reply) -> None:
        """Those who wait do without; one that was granted before stays wanted for the next conversation."""
        self._tell(wanted, reply)
        if not wanted.holders:
            self._wanted.pop(wanted.uri, None)

    def _tell(self, wanted: _Wanted, reply: Reply) -> None:
        waiting, wanted.waiting = wanted.waiting, {}
        if reply.error is not None:
            wanted.holders -= waiting.keys()
        for told, _deadline in waiting.values():
            told(reply)
        if reply.error is not None and not wanted.holders:
            self._see_to(wanted)

    # --- modern servers ---------------------------------------------------------------------------------------------

    def _see_to_stream(self) -> None:
        """Soon: what is asked for together becomes one stream."""
        if self._opening is not None:
            self._changed = True
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._open)

    def _open(self) -> None:
        self._timer, self._changed = None, False
        connection = self._connection
        if connection is None:
            return
        uris = [wanted.uri for wanted in self._wanted.values() if wanted.holders]
        if not uris:
            self._opened(None, set())
            return
        filters = {"resourceSubscriptions": uris}
        call = Call("subscriptions/listen", {"notifications": filters}, idle=None, total=None)
        call.driver = self._stream_ended
        self._opening = call
        connection.begin(call)

    def _opened(self, call: Call | None, honoured: set[str]) -> None:
        """The new stream says everything; the old one is not needed any more."""
        asked = call.params["notifications"]["resourceSubscriptions"] if call is not None else []
        before, self._stream, self._opening = self._stream, call, None
        self._pause = _FIRST_PAUSE
        if before is not None:
            before.driver = None
            before.cancel("another subscription takes its place")
        for wanted in tuple(self._wanted.values()):
            wanted.asked = wanted.uri in honoured
            if wanted.asked:
                self._tell(wanted, _DONE)
            elif wanted.uri in asked:
                self._refused(wanted, failure(INVALID_PARAMS, "the server does not say when this resource changes"))
            elif not wanted.holders:
                del self._wanted[wanted.uri]
        self._look_again()

    def _stream_ended(self, call: Call, reply: Reply) -> bool:
        """The server refused a stream, or ended it: then another one is opened after a while."""
        if self._connection is None or call not in {self._opening, self._stream}:
            return False
        if call is self._opening:
            self._opening = None
            if reply.error is not None and reply.era is not None:
                for wanted in tuple(self._wanted.values()):
                    if wanted.waiting:
                        self._refused(wanted, reply)
        else:
            self._stream = None
            for wanted in self._wanted.values():
                wanted.asked = False
        if self._timer is None and any(wanted.holders and not wanted.asked for wanted in self._wanted.values()):
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._open)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return False

    def _look_again(self) -> None:
        if self._changed or any(not wanted.holders for wanted in self._wanted.values()):
            self._changed = False
            self._see_to_stream()


def prefixes(uri: str) -> list[str]:
    """*uri*, and what it may be a part of: servers may name a part of what was subscribed to."""
    found = [uri]
    if len(uri) > _LONGEST:
        return found
    for at in range(len(uri) - 1, 0, -1):
        if uri[at] in "/?#":
            found += [uri[: at + 1], uri[:at]]
        if len(found) > _DEEPEST:
            break
    return found


def _said(params: bytes) -> dict[str, Any] | None:
    try:
        said = msgspec.json.decode(params)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
