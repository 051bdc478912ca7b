"""
The conversations of one server that are for one client alone: which calls need one, and how long it lasts.

A shared stdio server has none: nothing on its stream says whom a question is for, so it is told that clients can do
nothing. An HTTP server has one for every client session, where it keeps sessions at all; a stateless modern one is
told with every request what the client can do. With `scope` each has an instance of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.errors import UpstreamError
from mcpcompose.spec.limits import exceeded
from mcpcompose.spec.server import Server
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Ask, Call, Origin, unavailable
from mcpcompose.upstream.connection import Connection, Watcher
from mcpcompose.upstream.copies import Copies
from mcpcompose.upstream.door import Door
from mcpcompose.upstream.handshake import EraSetting
from mcpcompose.upstream.lane import Lane, Way
from mcpcompose.upstream.subscriptions import UPDATED
from mcpcompose.upstream.wire import CHANGES

_IDLE: Final = 600.0
"""Seconds after which a conversation without a session of the client's ends."""

_AT_ONCE: Final = 64
"""Calls of one client that may be under way at once at a server that may ask it something on a stream."""
_QUESTIONS: Final = frozenset({"elicitation", "sampling", "roots"})

Key = tuple[str, ...] | object


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who hears what lanes say: changes of the server itself, and what is for one client."""

    changed: Callable[[str, bytes], None]
    heard: Callable[[Origin, str, bytes], None]
    asked: Callable[[Origin, Ask], None]
    listens: Callable[[Origin], bool]
    """Whether that client hears anything outside of its calls."""
    admits: Callable[[str, Call], bool] = lambda _server, _call: True
    """Whether the server still offers what a call that waited is about."""


class Lanes:
    """All lanes of one server; *again* takes calls that belong to the conversation of all after all."""

    def __init__(
        self,
        allowance: Allowance,
        hearing: Hearing,
        copies: Copies | None,
        clock: Callable[[], float],
        again: Callable[[Call], None],
    ) -> None:
        self._allowance = allowance
        self._name = allowance.server
        self._hearing = hearing
        self._copies = copies
        self._clock = clock
        self._again = again
        self._lanes: dict[Key, Lane] = {}
        self._retired: list[Lane] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._spec: Server | None = None
        self._door: Door | None = None
        self._lists: Callable[[], ServerLists | None] = lambda: None
        self._speaks_handshake = True
        self._wanted = False
        self._paused = True
        self._keeps_sessions = False
        self._modern = False
        self._never_modern = False
        self._surely_modern = False
        self.stands_alone = False
        """Each has an instance of its own, and goes on whatever becomes of the instance of all."""

    # --- what the slot tells ----------------------------------------------------------------------------------------

    def begin(
        self,
        door: Door,
        connection: Connection,
        spec: Server,
        lists: Callable[[], ServerLists | None],
    ) -> None:
        """The conversation of all has begun on *connection*, through *door*."""
        self._spec, self._door, self._lists, self._paused = spec, door, lists, False
        self._speaks_handshake = spec.era != "modern"
        stateless = connection.era is Era.LEGACY and getattr(connection, "is_stateless", False)
        self._keeps_sessions = door.is_http and not stateless
        self._modern = connection.era is Era.MODERN
        self._follow(spec)

    def respec(self, spec: Server) -> None:
        """The file changed, and the server goes on: conversations of another scope end after their calls in flight."""
        before = self._spec
        if before is None or self._paused:
            return
        if before.scope != spec.scope:
            self._retired += self._lanes.values()
            self._lanes.clear()
        self._follow(spec)

    def pause(self) -> None:
        """Open none any more until `begin`."""
        self._paused = True
        self._wanted = self.stands_alone = False

    async def end(self, reason: str) -> None:
        """The server goes, and with it every conversation and every instance of their own."""
        self.drop(reason)
        while self._closing:
            await asyncio.wait(self._closing)

    def drop(self, reason: str) -> None:
        """As `end`, without waiting for it."""
        self.pause()
        self._door = None
        for lane in (*self._lanes.values(), *self._retired):
            self._close(lane, reason)
        self._lanes.clear()
        self._retired.clear()
        if self._copies is not None:
            self._own(self._copies.leaves(self._name))

    def _follow(self, spec: Server) -> None:
        self._spec = spec
        self.stands_alone = spec.scope != "shared"
        self._wanted = self.stands_alone or self._keeps_sessions
        if self._copies is not None:
            if self.stands_alone:
                self._copies.serves(self._name, spec)
            else:
                self._own(self._copies.leaves(self._name))

    # --- for calls --------------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> bool:
        """Take *call* where it needs a conversation of its client's own."""
        origin = call.origin
        if not self._wanted or origin is None or (key := self._key(origin)) is None:
            return False
        if isinstance(key, tuple) and key[0] == "client" and self._may_be_asked(origin):
            key = self._unused(key)
        lane = self._lanes.get(key) if key is not None else None
        if lane is None:
            most = self._allowance.limits.conversations
            if key is None or (len(self._lanes) >= most and not self._made_room()):
                what = f"server `{self._name}` has too many conversations"
                text = exceeded(what, most, self._allowance.key("conversations"))
                call.finish(unavailable(self._name, text))
                return True
            lane = self._open(key, origin)
        lane.submit(call)
        return True

    def session_ended(self, session: str) -> None:
        """The client's session is over."""
        lane = self._lanes.pop(("session", session), None)
        if lane is not None:
            self._close(lane, "the session ended")

    def session_hears(self, session: str) -> None:
        """The client listens outside of its calls from now on."""
        lane = self._lanes.get(("session", session))
        if lane is not None:
            lane.hear()

    def of_session(self, session: str) -> Lane | None:
        """The conversation of a client's session, where there is one."""
        return self._lanes.get(("session", session))

    @property
    def are_wanted(self) -> bool:
        """Whether clients' sessions have conversations of their own."""
        return self._wanted

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer."""
        return sum(lane.in_flight for lane in (*self._lanes.values(), *self._retired))

    def sweep(self, now: float) -> None:
        """Give up what took too long, and conversations that nobody goes on with."""
        for lane in [lane for lane in self._retired if not lane.in_flight]:
            self._retired.remove(lane)
            self._close(lane, "its scope changed")
        for lane in self._retired:
            lane.sweep(now)
        for key, lane in tuple(self._lanes.items()):
            lane.sweep(now)
            if lane.in_flight:
                lane.used = now
            elif (patience := self._patience(key)) is not None and now - lane.used > patience:
                del self._lanes[key]
                self._close(lane, "it was idle")

    def _patience(self, key: Key) -> float | None:
        """How long a conversation may be unused; None for one that ends with its session or its call."""
        own = self._spec.idle_timeout if self._spec is not None and self.stands_alone else None
        if not isinstance(key, tuple):
            return None
        return own if own is not None or key[0] == "session" else _IDLE

    # --- which ------------------------------------------------------------------------------------------------------

    def _key(self, origin: Origin) -> Key | None:
        """Whose conversation it is; None when it is everybody's."""
        scope = self._spec.scope if self._spec is not None else "shared"
        if scope == "shared" and self._modern and (origin.modern or not self._speaks_handshake):
            return None
        if scope == "call":
            return object()
        if origin.session is not None and scope != "client":
            return ("session", origin.session)
        can = msgspec.json.encode(origin.capabilities, order="sorted").decode()
        return ("client", origin.client, can, origin.level or "", str(origin.modern))

    def _may_be_asked(self, origin: Origin) -> bool:
        """Whether a question on a stream could be about any of several calls, each perhaps another program's."""
        return (
            self._spec is not None
            and self.stands_alone
            and self._spec.http is None
            and not self._surely_modern
            and not _QUESTIONS.isdisjoint(origin.capabilities)
        )

    def _unused(self, key: tuple[str, ...]) -> Key | None:
        """A conversation of *key* without a call in it, made if need be; None when there are too many."""
        free: Key | None = None
        for number in range(_AT_ONCE):
            one = (*key, str(number))
            lane = self._lanes.get(one)
            if lane is None:
                free = free or one
            elif not lane.in_flight:
                return one
        return free

    def _open(self, key: Key, origin: Origin) -> Lane:
        if self._spec is None:
            raise UpstreamError(f"server `{self._name}` is not there")
        shared = self._spec.scope == "shared"
        era: EraSetting = "legacy" if shared else self._spec.era
        way = Way(
            self._spec,
            era,
            self._shared_door if shared else partial(self._own_door, self._spec),
            self._leave_shared if shared else self._leave_own,
            self._lists,
            once=self._spec.scope == "call",
            probes=not shared and era == "auto" and origin.modern and not self._never_modern,
            found=self._found if not shared and origin.modern else lambda _era: None,
            admits=self._hearing.admits,
        )
        watcher = Watcher(
            partial(self._notified, origin),
            lambda _reason: self._ended(key, lane),
            partial(self._hearing.asked, origin),
        )
        if origin.session is None:
            watcher = replace(watcher, asked=None)
        lane = self._lanes[key] = Lane(self._allowance, origin, way, watcher, self._clock)
        if not way.once and (origin.session is None or self._hearing.listens(origin)):
            lane.hear()  # many servers tell of changes only where these were asked for
        return lane

    async def _shared_door(self) -> Door:
        if self._door is None:
            raise UpstreamError(f"server `{self._name}` is not there")
        return self._door

    async def _leave_shared(self, _door: Door) -> None:
        """It is everybody's."""

    async def _own_door(self, spec: Server) -> Door:
        if self._copies is None:
            raise UpstreamError(f"server `{self._name}` cannot have further instances here")
        copy, endpoint = await self._copies.start_copy(self._name)
        return Door(spec, endpoint, self._allowance, self._clock, own=True, copy=copy)

    async def _leave_own(self, door: Door) -> None:
        await door.close()
        if self._copies is not None and door.copy is not None:
            await self._copies.stop_copy(self._name, door.copy)

    def _found(self, era: Era) -> None:
        """An instance of a modern client's own showed whether the server can be spoken to in that client's way."""
        self._never_modern = era is Era.LEGACY
        self._surely_modern = era is Era.MODERN

    def _notified(self, origin: Origin, method: str, params: bytes) -> None:
        if method in CHANGES and not (method == UPDATED and self.stands_alone):
            self._hearing.changed(method, params)
        else:
            self._hearing.heard(origin, method, params)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _ended(self, key: Key, lane: Lane) -> None:
        """One is over by itself; where the server refused the handshake, its calls are everybody's."""
        if self._lanes.get(key) is not lane:
            return
        del self._lanes[key]
        self._awaited(lane.task)
        if lane.refused and self._modern and not self.stands_alone:
            self._speaks_handshake = False
            for call in lane.taken_back():
                self._again(call)

    def _made_room(self) -> bool:
        idle = [key for key, lane in self._lanes.items() if not lane.in_flight]
        oldest = min(idle, key=lambda key: self._lanes[key].used, default=None)
        if oldest is None:
            return False
        self._close(self._lanes.pop(oldest), "others need its place")
        return True

    def _close(self, lane: Lane, reason: str) -> None:
        self._own(lane.close(reason))

    def _own(self, doing: Coroutine[Any, Any, None]) -> None:
        self._awaited(asyncio.create_task(doing))

    def _awaited(self, task: asyncio.Task[None]) -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


__all__ = ["Hearing", "Lanes"]
