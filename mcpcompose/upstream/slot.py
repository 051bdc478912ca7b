"""
One server's life: attached, greeted, listed, lost, tried again; one task from attach to detach.

Calls that come while it starts or is being replaced are parked, bounded in number and time; a call that was
written to a server is never sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any, Final

from mcpcompose.engine.base import Endpoint
from mcpcompose.errors import McpComposeError, UpstreamError
from mcpcompose.spec.limits import exceeded
from mcpcompose.spec.server import Server
from mcpcompose.upstream import retry
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.base import Era, ServerLists, State, Status, readable
from mcpcompose.upstream.call import Call, Reply, unavailable
from mcpcompose.upstream.connection import Connection, Watcher, garbage, sweep, unreachable, wording
from mcpcompose.upstream.door import Door
from mcpcompose.upstream.freshness import Freshness
from mcpcompose.upstream.handshake import Greeting, fetch_kind, fetch_lists, greet, subscribe
from mcpcompose.upstream.lanes import Hearing, Lanes
from mcpcompose.upstream.parking import Parking
from mcpcompose.upstream.subscriptions import Subscriptions, Told
from mcpcompose.upstream.surroundings import Surroundings, Use
from mcpcompose.upstream.wishes import Wishes

_log: Final = logging.getLogger(__name__)
_DRAIN_POLL: Final = 0.005
_STALE: Final = {
    "notifications/tools/list_changed": ("tools",),
    "notifications/prompts/list_changed": ("prompts",),
    "notifications/resources/list_changed": ("resources", "templates"),
}


class Slot:
    """One declared server."""

    def __init__(self, name: str, spec: Server, fingerprint: str | None, limit: int, around: Surroundings) -> None:
        self.name = name
        self.state = State.WAITING
        self.reason: str | None = None
        self.restarts = 0
        self.lists: ServerLists | None = None
        self.allowance = Allowance(name, spec.limits, spec.timeouts, limit)
        self._spec = spec
        self._fingerprint = fingerprint
        self._around = around
        self._era: Era | None = None
        self._greeting: Greeting | None = None
        self._since = around.now()
        self._connection: Connection | None = None
        self._lanes = self._no_lanes()
        self._wishes = Wishes(name, around.clock)
        self._freshness = Freshness(around.clock)
        self._live = False
        self._leaving = False
        self._paused_shortly = False
        self._parked = Parking(name, self.allowance)
        self._use = Use()
        self._resting = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._lost: str | None = None
        self._stale: set[str] = set()
        self._news = asyncio.Event()
        self._remembered: tuple[ServerLists, ServerLists] | None = None
        """The lists of before, and the same without hints for caches: the server may offer something else by now."""
        self._has_spoken = False
        """Its lists are its own, and not those of a server like it."""
        self._remember()

    # --- for the router ---------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Send *call* now, or as soon as the server is there, or answer in its place."""
        self._use.touched = True
        if not self._admits(call):
            return
        connection = self._connection
        if (self._live or self._lanes.stands_alone) and call.origin is not None and self._lanes.submit(call):
            return
        if self._live and connection is not None:
            self._wishes.of_call(call.origin)
            connection.begin(call)
        elif self.state in {State.WAITING, State.STARTING, State.IDLE} or self._paused_shortly:
            self._parked.park(call, self._around.clock() + self._spec.timeouts.start)
            self._woken.set()
        else:
            call.finish(self._unavailable())

    def _admits(self, call: Call) -> bool:
        """Count *call*, once, however often it is sent; answer it when the server has too many already."""
        if call.origin is None:
            return True
        allowance = self.allowance
        call.allowance = allowance
        if allowance.calls.take(call):
            return True
        what = f"server `{self.name}` has too many calls to answer"
        call.finish(unavailable(self.name, exceeded(what, allowance.limits.calls, allowance.key("calls"))))
        return False

    @property
    def offers(self) -> ServerLists | None:
        """What is listed of it: its last lists, unless it is stopped or given up."""
        if self.state is State.STOPPED or (self.state is State.FAILED and self._failures >= retry.GIVEN_UP_AFTER):
            return None
        if self.lists is None or self.state in {State.READY, State.IDLE}:
            return self.lists
        if self._remembered is None or self._remembered[0] is not self.lists:
            self._remembered = (self.lists, replace(self.lists, beside=None))
        return self._remembered[1]

    def wanted(self, kind: str) -> None:
        """Somebody reads this list: one that may be old by now is read again, for the next time."""
        if self._live and self.lists is not None and self._freshness.is_over(kind, self.lists):
            self._stale.add(kind)
            self._news.set()

    @property
    def excuse(self) -> str:
        """Why it does not serve, when it does not."""
        what = "is stopped" if self.state is State.STOPPED else f"does not serve: {self.reason or self.state.value}"
        return f"server `{self.name}` {what}"

    @property
    def timeouts(self) -> tuple[float, float]:
        """How long a call may be silent, and take."""
        return self._spec.timeouts.call, self._spec.timeouts.total

    @property
    def in_flight(self) -> int:
        """Calls that the server has and has not answered."""
        pending = self._connection.pending.values() if self._connection is not None else ()
        return sum(call.deadline is not None for call in pending) + self._lanes.in_flight

    def status(self) -> Status:
        """One line of `ps`."""
        greeting = self._greeting
        return Status(
            self.name,
            self.state,
            self.reason,
            greeting.era if greeting else None,
            greeting.version if greeting else None,
            len(self.lists.tools) if self.lists else 0,
            self.restarts,
            self._since,
        )

    def sweep(self, now: float) -> None:
        """Give up what took too long."""
        connection = self._connection
        if connection is not None:
            sweep(connection, now)
        self._parked.sweep(now)
        self._lanes.sweep(now)
        self._wishes.subscriptions.sweep(now)
        busy = self.in_flight + len(self._parked) > 0 or self._wishes.are_any
        if self._use.is_over(now, busy=busy, after=self._spec.idle_timeout) and self.state is State.READY:
            self._let_rest()

    def session_ended(self, session: str) -> None:
        """A client's session is over."""
        self._lanes.session_ended(session)
        self._wishes.level(session, None)

    def session_hears(self, session: str) -> None:
        """A client listens outside of its calls from now on."""
        self._lanes.session_hears(session)

    @property
    def is_shared(self) -> bool:
        """Whether all clients share one instance of it."""
        return self._spec.scope == "shared"

    def subscriptions(self) -> Subscriptions:
        """The resources of it that somebody wants to hear of; who asks wakes a server that rests."""
        self._use.touched = True
        self._woken.set()
        return self._wishes.subscriptions

    def level(self, session: str, level: str, told: Told) -> None:
        """A client's session wants log messages of this level."""
        lane = self._lanes.of_session(session)
        if lane is not None:
            lane.level(level, told)
        elif self._lanes.are_wanted:
            told(Reply(result=b"{}"))
        else:
            self._wishes.level(session, level, told)

    def notify(self, session: str, method: str, params: dict[str, Any], *, shared: bool) -> None:
        """A notification of a client's session; *shared* says that it may go on the conversation of all."""
        lane = self._lanes.of_session(session)
        if lane is not None:
            lane.notify(method, params)
        elif shared and not self._lanes.are_wanted and self._live and self._connection is not None:
            self._connection.notify(method, params)

    # --- for the supervisor -----------------------------------------------------------------------------------------

    def redeclare(self, spec: Server, fingerprint: str | None, limit: int) -> None:
        """The file changed; what runs stays until it is detached."""
        self._spec = spec
        self.allowance.follow(spec.limits, spec.timeouts, limit)
        self._lanes.respec(spec)
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._remember()

    def starting(self) -> None:
        """Its instance is being made."""
        if not self._live:
            self._failures = 0
            self._enter(State.STARTING, self.reason)

    async def attach(self, endpoint: Endpoint) -> None:
        """Speak to it here from now on."""
        await self._let_go("replaced")
        self._failures = 0
        self._leaving = False
        self._enter(State.STARTING, self.reason)
        self._task = asyncio.create_task(self._run(endpoint), name=f"server {self.name}")
        self._task.add_done_callback(self._ended)

    async def detach(self) -> None:
        """Let calls in flight end, bounded; new ones wait for the next instance."""
        self._live = False
        self._leaving = True
        self._lanes.pause()
        if self.state in {State.READY, State.IDLE}:
            self._enter(State.STARTING)
        end = self._around.clock() + self._spec.stop_grace_period
        while self.in_flight and self._lost is None and self._around.clock() < end:  # noqa: ASYNC110  bounded, and rare
            await asyncio.sleep(_DRAIN_POLL)
        await self._let_go("stopped")
        await self._lanes.end("stopped")

    def failed(self, reason: str) -> None:
        """There is no instance."""
        self._cancel()
        self._failures = retry.GIVEN_UP_AFTER
        self._enter(State.FAILED, reason)
        self._refuse_parked()
        self._around.changed()

    def stopped(self) -> None:
        """Stopped on purpose."""
        self._cancel()
        self._enter(State.STOPPED)
        self._refuse_parked()
        self._around.changed()

    async def close(self) -> None:
        """The end."""
        await self._let_go("the gateway stops")
        await self._lanes.end("the gateway stops")
        self._refuse_parked()

    # --- its life ---------------------------------------------------------------------------------------------------

    async def _run(self, endpoint: Endpoint) -> None:
        """Serve, and after every end try again as its `restart` says."""
        current: Endpoint | None = endpoint
        while True:
            if current is not None:
                began = self._around.clock()
                reason = await self._serve(current)
                if self._resting:
                    current = await self._rest()
                    continue
                if self._around.clock() - began >= retry.HEALTHY_AFTER and self._greeting is not None:
                    self._failures = 0
                self._fail(reason)
                if not retry.tries_again(self._spec, reason):
                    self._failures = retry.GIVEN_UP_AFTER
                    break
            pause = retry.pause(self._failures)
            self._paused_shortly = pause <= retry.SHORT
            if not self._paused_shortly:
                self._refuse_parked()
            self._around.changed()
            await asyncio.sleep(pause)
            self._paused_shortly = False
            self.restarts += 1
            current = await self._again()
        self._refuse_parked()
        self._around.changed()

    def _let_rest(self) -> None:
        """Nobody uses it."""
        if self._around.copies is not None and not self._spec.is_remote:
            self._live, self._resting = False, True
            self._woken.clear()
            self._lanes.pause()
            self._enter(State.IDLE)
            self._lost = self._lost or "nobody used it"
            self._news.set()

    async def _rest(self) -> Endpoint | None:
        """Stopped until a call comes."""
        try:
            if self._around.copies is not None:
                await self._around.copies.rest(self.name)
            await self._woken.wait()
        except McpComposeError as error:
            _log.warning("server `%s` could not be stopped: %s", self.name, error.message)
        self._resting = False
        return await self._again()

    async def _again(self) -> Endpoint | None:
        self._enter(State.STARTING, self.reason)
        try:
            return await self._around.restart(self.name)
        except McpComposeError as error:
            self._fail(error.message)
        except (OSError, ValueError) as error:
            self._fail(f"cannot be started again: {wording(error)}")
        return None

    async def _serve(self, endpoint: Endpoint) -> str:
        """From the handshake to the end; returns why it ended."""
        self._lost = None
        self._stale.clear()
        self._news.clear()
        door = Door(self._spec, endpoint, self.allowance, self._around.clock)
        try:
            self._connection = connection = door.open(
                Watcher(self._notified, self._connection_lost, renewed=self._wishes.again)
            )
        except (OSError, ValueError) as error:  # such as a header that cannot be sent
            return f"cannot be spoken to: {wording(error)}"
        try:
            async with asyncio.timeout(self._spec.timeouts.start):
                greeting = await self._greet(connection, probe=door.can_be_probed)
                self._begin(door, connection, greeting)
                lists = await fetch_lists(
                    connection, greeting, seconds=self._spec.timeouts.start, allowance=self.allowance
                )
            self._listed(connection, greeting, lists)
            return await self._follow(connection, greeting)
        except TimeoutError:
            late = f"did not answer its handshake within {self._spec.timeouts.start:g} s"
            return (unreachable(connection) or late) + garbage(connection)
        except UpstreamError as error:
            return self._end_reason(error.message) + garbage(connection)
        except (OSError, ValueError) as error:
            return self._end_reason(f"cannot be spoken to: {wording(error)}")
        finally:
            self._live = False
            self._connection = None
            self._wishes.end()
            with contextlib.suppress(OSError):
                if not self._lanes.stands_alone:
                    await self._lanes.end(self._end_reason("replaced"))
                await connection.close(self._end_reason("replaced"))
                await door.close()

    def _end_reason(self, otherwise: str) -> str:
        return self._lost or otherwise

    async def _greet(self, connection: Connection, *, probe: bool) -> Greeting:
        """Shake hands; an instance that does not listen yet is asked again until the time is over."""
        while True:
            try:
                return await greet(connection, self._spec.era, self._era, probe=probe)
            except UpstreamError:
                why = unreachable(connection)
                if self._lost is not None or why is None:
                    raise
                if self._spec.is_remote:
                    raise UpstreamError(why) from None
            await asyncio.sleep(0.1)

    def _begin(self, door: Door, connection: Connection, greeting: Greeting) -> None:
        self._greeting = greeting
        self._era = greeting.era
        if self._leaving:
            return
        self._live = True
        self._use.touched = True
        self._lanes.begin(door, connection, self._spec, lambda: self.lists)
        self._wishes.begin(connection, greeting.era, greeting.capabilities)
        self._parked.release(self.submit)

    def _no_lanes(self) -> Lanes:
        around, name = self._around, self.name
        hearing = Hearing(
            self._notified,
            lambda origin, method, params: around.heard(name, origin, method, params),
            lambda origin, ask: around.asked(name, origin, ask),
            around.listens,
        )
        return Lanes(self.allowance, hearing, around.copies, around.clock, self.submit)

    def _listed(self, connection: Connection, greeting: Greeting, lists: ServerLists) -> None:
        self.lists, self._has_spoken = lists, True
        self._freshness.read()
        connection.learned(lists)
        if self._fingerprint is not None:
            self._around.cache.store(self._fingerprint, lists, greeting.era, greeting.version)
        if self._live:
            self._enter(State.READY)
        self._around.changed()

    async def _follow(self, connection: Connection, greeting: Greeting) -> str:
        """Look again when the server says that a list changed, until it is lost."""
        subscription = subscribe(connection, greeting)
        looks = retry.Looks()
        try:
            while self._lost is None:
                await self._news.wait()
                self._news.clear()
                if self._stale and self._lost is None:
                    await asyncio.sleep(looks.pause(self._around.clock()))
                    await self._look_again(connection, greeting)
            return self._lost
        finally:
            if subscription is not None:
                subscription.cancel("closed")

    async def _look_again(self, connection: Connection, greeting: Greeting) -> None:
        stale, self._stale = self._stale, set()
        lists = self.lists or ServerLists()
        try:
            for field in sorted(stale):
                lists = await fetch_kind(
                    connection, greeting, lists, field, seconds=self._spec.timeouts.call, allowance=self.allowance
                )
        except UpstreamError:
            return  # the last lists stay; the server says again when they change
        if lists != self.lists:
            self._listed(connection, greeting, lists)
        else:
            connection.learned(lists)

    # --- small steps ------------------------------------------------------------------------------------------------

    def _notified(self, method: str, params: bytes) -> None:
        if kinds := _STALE.get(method):
            self._stale.update(kinds)
            self._news.set()
        elif not self._wishes.heard(method, params):
            self._around.heard(self.name, None, method, params)

    def _connection_lost(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._live = False
            self._news.set()
            if self.state is State.READY:
                self._enter(State.STARTING, reason)

    def _remember(self) -> None:
        """What is cached of this launch identity; without it what the server said itself stays, and nothing else."""
        stored = self._around.cache.load(self._fingerprint) if self._fingerprint is not None else None
        if stored is not None:
            self.lists, self._era = stored
        else:
            self._era = None
            if not self._has_spoken:
                self.lists = None

    def _refuse_parked(self) -> None:
        self._parked.refuse(self._unavailable())
        self._wishes.subscriptions.refuse(self._unavailable())

    def _unavailable(self) -> Reply:
        return unavailable(self.name, self.excuse)

    def _fail(self, reason: str) -> None:
        self._failures += 1
        self._enter(State.FAILED, reason)

    def _enter(self, state: State, reason: str | None = None) -> None:
        self.reason = readable(self._around.redact(reason)) if reason is not None else None
        if state is not self.state:
            self.state = state
            self._since = self._around.now()

    def _cancel(self) -> None:
        self._live = self._resting = False
        self._lanes.drop("stopped")
        if self._task is not None:
            self._task.cancel()

    async def _let_go(self, reason: str) -> None:
        self._live = self._resting = False
        self._lost = self._lost or reason
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that ends by an error of ours leaves no server behind that starts for good."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("the task of server `%s` ended by an error", self.name, exc_info=error)
        if task is self._task:
            self.failed(f"internal error: {wording(error)}")
