"""
A conversation with a server for one client alone, beside the one that serves everybody.

It shakes hands with that client's own capabilities, so that the server may ask it things, and keeps what the server
remembers of it apart. It opens with its first call and is gone once it is lost: the next call opens another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.errors import McpComposeError, UpstreamError
from mcpcompose.spec.server import Server
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.base import Era, ServerLists, readable
from mcpcompose.upstream.call import Call, Origin, Reply, unavailable
from mcpcompose.upstream.connection import Connection, Watcher, ask, sweep, unreachable, wording
from mcpcompose.upstream.door import Door
from mcpcompose.upstream.handshake import EraSetting, greet
from mcpcompose.upstream.levels import SET_LEVEL
from mcpcompose.upstream.parking import Parking
from mcpcompose.upstream.subscriptions import Told
from mcpcompose.upstream.wishes import say_level

_log: Final = logging.getLogger(__name__)
_LOOK: Final = 0.01


@dataclass(frozen=True, slots=True)
class Way:
    """
    How a lane reaches its server: *door* makes or finds one, *leave* lets go of it; *era* is what to speak there.

    *lists* is what the server offers. *once*: it is for the calls that wait when it begins, and ends with them.
    """

    spec: Server
    era: EraSetting
    door: Callable[[], Awaitable[Door]]
    leave: Callable[[Door], Awaitable[None]]
    lists: Callable[[], ServerLists | None]
    once: bool = False
    probes: bool = False
    """Whether a modern client's own instance is tried as modern first."""
    found: Callable[[Era], None] = lambda _era: None
    """Told which era the server speaks there."""
    admits: Callable[[str, Call], bool] = lambda _server, _call: True
    """Whether the server still offers what a call that waited is about."""


class Lane:
    """
    One client's conversation with a server.

    *watcher* hears what belongs to no call; its `lost` is told of the end. *refused* is set when the server refused
    the handshake: then nothing was lost, and what waited is in `waiting`.
    """

    def __init__(
        self, allowance: Allowance, origin: Origin, way: Way, watcher: Watcher, clock: Callable[[], float]
    ) -> None:
        self.origin = origin
        self.refused = False
        self.used = clock()
        self.connection: Connection | None = None
        self._name = allowance.server
        self._way = way
        self._watcher = watcher
        self._clock = clock
        self._parked = Parking(self._name, allowance)
        self._live = False
        self._hears = False
        self._level = origin.level
        self._probes = way.probes
        self._gone = asyncio.Event()
        self._reason = "it was let go of"
        self.task = asyncio.create_task(self._run(), name=f"lane of {self._name}")
        """Ends when nothing of it is left."""

    def submit(self, call: Call) -> None:
        """Send *call*, now or as soon as the conversation has begun."""
        self.used = self._clock()
        if self._live and self.connection is not None:
            self.connection.begin(call)
        else:
            self._parked.park(call, self.used + self._way.spec.timeouts.start)

    @property
    def in_flight(self) -> int:
        """Calls that wait here."""
        return len(self._parked) + (len(self.connection.pending) if self.connection is not None else 0)

    def hear(self) -> None:
        """The client listens by now: so shall we."""
        self._hears = True
        listen = getattr(self.connection, "hear", None)
        if self._live and listen is not None:
            listen()

    def level(self, level: str, told: Told) -> None:
        """The client wants to hear messages of this level; *told* is told when the server knows."""
        self._level = level
        self._say_level(told)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """A notification of the client, where there is a conversation."""
        if self._live and self.connection is not None:
            self.connection.notify(method, params)

    def sweep(self, now: float) -> None:
        """Give up what took too long."""
        if self.connection is not None:
            sweep(self.connection, now)
        self._parked.sweep(now)

    def taken_back(self) -> list[Call]:
        """The calls that waited and were sent to nobody."""
        return self._parked.taken_back()

    async def close(self, reason: str) -> None:
        """Let go of it."""
        self._reason = reason
        self._gone.set()
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _run(self) -> None:
        door: Door | None = None
        try:
            door = await self._way.door()
            try:
                await self._converse(door)
            except UpstreamError:
                if not (self._probes and self._gone.is_set()):
                    raise
                # Some servers exit at a first message that is not `initialize`: a fresh instance gets that.
                self._probes = False
                self._gone.clear()
                await self._way.leave(door)
                door = None
                door = await self._way.door()
                await self._converse(door)
        except TimeoutError:
            self._reason = f"did not answer its handshake within {self._way.spec.timeouts.start:g} s"
        except McpComposeError as error:
            self._reason = error.message
        except (OSError, ValueError) as error:
            self._reason = f"cannot be spoken to: {wording(error)}"
        finally:
            self._live = False
            # First, so that the next call opens another one, and nobody waits until this instance is gone.
            self._watcher.lost(self._reason)
            excuse = f"server `{self._name}` does not serve: {readable(self._reason)}"
            self._parked.refuse(unavailable(self._name, excuse))
            if door is not None:
                with contextlib.suppress(McpComposeError, OSError):
                    await asyncio.shield(self._way.leave(door))

    async def _converse(self, door: Door) -> None:
        watcher = Watcher(self._watcher.notified, self._lost, self._watcher.asked, self._say_level)
        self.connection = connection = door.open(watcher, self.origin)
        try:
            async with asyncio.timeout(self._way.spec.timeouts.start):
                await self._greet(connection, probe=door.can_be_probed)
                await self._set_level(connection)
            connection.learned(self._way.lists() or ServerLists())
            self._live = True
            if self._hears:
                self.hear()
            self._parked.release(connection.begin, self._way.admits)
            await (self._answered(connection) if self._way.once else self._gone.wait())
        finally:
            self.connection = None
            with contextlib.suppress(OSError):
                await connection.close(self._reason)

    async def _set_level(self, connection: Connection) -> None:
        """Before its first call."""
        said = None
        while self._level != said and self._speaks_of_levels:
            said = self._level
            await ask(connection, SET_LEVEL, {"level": said})

    def _say_level(self, told: Told | None = None) -> None:
        connection, level = self.connection, self._level
        if connection is not None and self._live and self._speaks_of_levels and level is not None:
            say_level(connection, level, told)
        elif told is not None:
            told(Reply(result=b"{}"))

    @property
    def _speaks_of_levels(self) -> bool:
        lists, era = self._way.lists(), self.connection.era if self.connection is not None else None
        return (
            era is Era.LEGACY and ((lists.capabilities if lists is not None else None) or {}).get("logging") is not None
        )

    async def _answered(self, connection: Connection) -> None:
        """Until every call is answered, or it is lost."""
        while connection.pending and not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._gone.wait()

    async def _greet(self, connection: Connection, *, probe: bool) -> None:
        """A server that cannot be reached has not refused; a fresh instance is asked until it listens."""
        remembered = Era.MODERN if self._probes else Era.LEGACY if probe and not self.origin.modern else None
        while True:
            try:
                await greet(connection, self._way.era, remembered, origin=self.origin, probe=probe)
            except UpstreamError:
                why = unreachable(connection)
                if why is None:
                    self.refused = not self._gone.is_set()
                    raise
                if self._way.spec.is_remote or self._gone.is_set():
                    raise UpstreamError(why) from None
                await asyncio.sleep(0.05)
            else:
                self._probes = False
                self._way.found(connection.era)
                return

    def _lost(self, reason: str) -> None:
        if not self._gone.is_set():
            was_live, self._live = self._live, False
            self._reason = reason
            self._gone.set()
            if was_live:
                self._watcher.lost(reason)  # at once: the next call is not for this one
