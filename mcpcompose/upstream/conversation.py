"""
The conversation that all clients of a server share: greeted, listed, followed until it is lost.

Conversations of single clients are beside it (`upstream.lanes`); what comes after its end is for the slot to say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mcpcompose.engine.base import Endpoint
from mcpcompose.errors import UpstreamError
from mcpcompose.spec.server import Server
from mcpcompose.upstream import retry
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.connection import Connection, Watcher, garbage, unreachable, wording
from mcpcompose.upstream.door import Door
from mcpcompose.upstream.handshake import Greeting, fetch_kind, fetch_lists, greet, subscribe
from mcpcompose.upstream.offering import Offering

_REPLACED: Final = "replaced"
_STALE: Final = {
    "notifications/tools/list_changed": ("tools",),
    "notifications/prompts/list_changed": ("prompts",),
    "notifications/resources/list_changed": ("resources", "templates"),
}


@dataclass(frozen=True, slots=True)
class Course:
    """Who is told how a conversation goes."""

    begun: Callable[[Door, Connection, Greeting], None]
    """The server was greeted: calls may be sent."""
    lists_first: Callable[[], bool]
    """Whether what it offers is to be read before that."""
    listed: Callable[[], None]
    """What it offers was read, for the first time or because it changed."""
    heard: Callable[[str, bytes], None]
    """It said something else than that a list changed."""
    renewed: Callable[[], None]
    """It forgot what it knew of the conversation, which goes on."""
    lost: Callable[[str], None]
    """Nothing more will come, and why."""
    over: Callable[[], None]
    """No more calls can be sent; told after every conversation, however it ended."""
    leave: Callable[[str], Awaitable[None]]
    """Lets go of what uses the same instance, before the connection is closed."""


class Conversation:
    """Of one server, with one instance after another."""

    def __init__(
        self, spec: Server, allowance: Allowance, offering: Offering, course: Course, clock: Callable[[], float]
    ) -> None:
        self.spec = spec
        """As the file declares the server now."""
        self.connection: Connection | None = None
        self.greeting: Greeting | None = None
        """What the server said of itself, the last time that it was greeted."""
        self.lost: str | None = None
        """Why it ends, or ended."""
        self._allowance = allowance
        self._offering = offering
        self._course = course
        self._clock = clock
        self._stale: set[str] = set()
        self._news = asyncio.Event()

    async def hold(self, endpoint: Endpoint) -> str:
        """From the handshake to the end; returns why it ended."""
        self.lost = None
        self._stale.clear()
        self._news.clear()
        door = Door(self.spec, endpoint, self._allowance, self._clock)
        try:
            self.connection = connection = door.open(Watcher(self.notified, self.broken, renewed=self._course.renewed))
        except (OSError, ValueError) as error:  # such as a header that cannot be sent
            return f"cannot be spoken to: {wording(error)}"
        try:
            return await self._converse(door, connection)
        except TimeoutError:
            late = f"did not answer its handshake within {self.spec.timeouts.start:g} s"
            return (unreachable(connection) or late) + garbage(connection)
        except UpstreamError as error:
            return self._end_reason(error.message) + garbage(connection)
        except (OSError, ValueError) as error:
            return self._end_reason(f"cannot be spoken to: {wording(error)}")
        finally:
            self.connection = None
            self._course.over()
            with contextlib.suppress(OSError):
                await self._course.leave(self._end_reason(_REPLACED))
                await connection.close(self._end_reason(_REPLACED))
                await door.close()

    def end(self, reason: str) -> None:
        """Let it end for *reason*, unless it ends for another already."""
        self.lost = self.lost or reason
        self._news.set()

    def look_again(self, *kinds: str) -> None:
        """Read these lists again, soon."""
        self._stale.update(kinds)
        self._news.set()

    def notified(self, method: str, params: bytes) -> None:
        """The server said something that belongs to no call."""
        if kinds := _STALE.get(method):
            self.look_again(*kinds)
        else:
            self._course.heard(method, params)

    def _end_reason(self, otherwise: str) -> str:
        return self.lost or otherwise

    async def _converse(self, door: Door, connection: Connection) -> str:
        async with asyncio.timeout(self.spec.timeouts.start):
            self.greeting = greeting = await self._greet(connection, probe=door.can_be_probed)
            self._offering.era = greeting.era
            lists_first = self._course.lists_first()
            if not lists_first:
                self._course.begun(door, connection, greeting)
            lists = await fetch_lists(connection, greeting, seconds=self.spec.timeouts.start, allowance=self._allowance)
        if lists_first:
            self._offering.said(lists, greeting)
            self._course.begun(door, connection, greeting)
        self._listed(connection, greeting, lists)
        return await self._follow(connection, greeting)

    async def _greet(self, connection: Connection, *, probe: bool) -> Greeting:
        """Shake hands; an instance that does not listen yet is asked again until the time is over."""
        while True:
            try:
                return await greet(connection, self.spec.era, self._offering.era, probe=probe)
            except UpstreamError:
                why = unreachable(connection)
                if self.lost is not None or why is None:
                    raise
                if self.spec.is_remote:
                    raise UpstreamError(why) from None
            await asyncio.sleep(0.1)

    async def _follow(self, connection: Connection, greeting: Greeting) -> str:
        """Look again when the server says that a list changed, until it is lost."""
        subscription = subscribe(connection, greeting)
        looks = retry.Looks()
        try:
            while self.lost is None:
                await self._news.wait()
                self._news.clear()
                if self._stale and self.lost is None:
                    await asyncio.sleep(looks.pause(self._clock()))
                    await self._read_again(connection, greeting)
            return self.lost
        finally:
            if subscription is not None:
                subscription.cancel("closed")

    async def _read_again(self, connection: Connection, greeting: Greeting) -> None:
        stale, self._stale = self._stale, set()
        lists = self._offering.lists or ServerLists()
        try:
            for field in sorted(stale):
                lists = await fetch_kind(
                    connection, greeting, lists, field, seconds=self.spec.timeouts.call, allowance=self._allowance
                )
        except UpstreamError:
            return  # the last lists stay; the server says again when they change
        if lists != self._offering.lists:
            self._listed(connection, greeting, lists)
        else:
            connection.learned(lists)

    def _listed(self, connection: Connection, greeting: Greeting, lists: ServerLists) -> None:
        self._offering.said(lists, greeting)
        connection.learned(lists)
        self._course.listed()

    def broken(self, reason: str) -> None:
        """It is over by itself."""
        if self.lost is None:
            self.end(reason)
            self._course.lost(reason)
