"""
One server's life: attached, spoken to, lost, tried again; one task from attach to detach.

Calls that come while it starts or is being replaced are parked, bounded in number and time; a call that was
written to a server is never sent again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from mcpcompose.engine.base import Endpoint
from mcpcompose.engine.check import Health
from mcpcompose.errors import McpComposeError
from mcpcompose.spec.server import Server
from mcpcompose.upstream import health, retry
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.base import ServerLists, State, Status, readable
from mcpcompose.upstream.call import Call, Reply, unavailable
from mcpcompose.upstream.connection import Connection, sweep, wording
from mcpcompose.upstream.conversation import Conversation, Course
from mcpcompose.upstream.door import Door
from mcpcompose.upstream.handshake import Greeting
from mcpcompose.upstream.lanes import Hearing, Lanes
from mcpcompose.upstream.offering import Offering
from mcpcompose.upstream.parking import Parking
from mcpcompose.upstream.subscriptions import Subscriptions, Told
from mcpcompose.upstream.surroundings import Surroundings, Use
from mcpcompose.upstream.wishes import Wishes

_log: Final = logging.getLogger(__name__)
_DRAIN_POLL: Final = 0.005


class Slot:
    """One declared server."""

    def __init__(self, name: str, spec: Server, fingerprint: str | None, limit: int, around: Surroundings) -> None:
        self.name = name
        self.state = State.WAITING
        self.reason: str | None = None
        self.restarts = 0
        self.lists_first = False  # it gets no call before it has said what it offers
        self.offering = Offering(around.cache, fingerprint, around.clock)
        self.allowance = Allowance(name, spec.limits, spec.timeouts, limit)
        self.timeouts = (spec.timeouts.call, spec.timeouts.total)
        self._spec = spec
        self._around = around
        self._since = around.now()
        self._wishes = Wishes(name, around.clock)
        self._checks = health.Checks()
        self._conversation = self._no_conversation()
        self._lanes = self._no_lanes()
        self._live = self._leaving = False
        self._paused_shortly = False
        self._parked = Parking(name, self.allowance)
        self._use = Use()
        self._resting = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    # --- for the router ---------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Send *call* now, or as soon as the server is there, or answer in its place."""
        self._use.touched = True
        if not self._admits(call):
            return
        connection = self._conversation.connection
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
        """Whether the server may have *call* too; answered when not."""
        why = self.allowance.refusal(call) if call.origin is not None else None
        if why is not None:
            call.finish(unavailable(self.name, why))
        return why is None

    @property
    def offers(self) -> ServerLists | None:
        """What is listed of it: its last lists, unless it is stopped or given up."""
        if self.state is State.STOPPED or (self.state is State.FAILED and self._failures >= retry.GIVEN_UP_AFTER):
            return None
        serves = self.state in {State.READY, State.IDLE}
        return self.offering.lists if serves else self.offering.without_hints

    def wanted(self, kind: str) -> None:
        """Somebody reads this list: one that may be old by now is read again, for the next time."""
        if self._live and self.offering.may_be_old(kind):
            self._conversation.look_again(kind)

    @property
    def excuse(self) -> str:
        """Why it does not serve, when it does not."""
        what = "is stopped" if self.state is State.STOPPED else f"does not serve: {self.reason or self.state.value}"
        return f"server `{self.name}` {what}"

    @property
    def in_flight(self) -> int:
        """Calls that the server has and has not answered."""
        connection = self._conversation.connection
        pending = connection.pending.values() if connection is not None else ()
        return sum(call.deadline is not None for call in pending) + self._lanes.in_flight

    def status(self) -> Status:
        """One line of `ps`."""
        greeting, lists = self._conversation.greeting, self.offering.lists
        era, version = (greeting.era, greeting.version) if greeting else (None, None)
        tools, more = len(lists.tools) if lists else 0, (self._spec.title, self._checks.last)
        return Status(self.name, self.state, self.reason, era, version, tools, self.restarts, self._since, *more)

    def sweep(self, now: float) -> None:
        """Give up what took too long."""
        connection = self._conversation.connection
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
        lane, connection = self._lanes.of_session(session), self._conversation.connection
        if lane is not None:
            lane.notify(method, params)
        elif shared and not self._lanes.are_wanted and self._live and connection is not None:
            connection.notify(method, params)

    # --- for the supervisor -----------------------------------------------------------------------------------------

    def redeclare(self, spec: Server, fingerprint: str | None, limit: int) -> None:
        """The file changed; what runs stays until it is detached."""
        self._spec = self._conversation.spec = spec
        self.allowance.follow(spec.limits, spec.timeouts, limit)
        self.timeouts = (spec.timeouts.call, spec.timeouts.total)
        self._lanes.respec(spec)
        self.offering.identify(fingerprint)

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
        while self.in_flight and self._conversation.lost is None and self._around.clock() < end:  # noqa: ASYNC110  bounded, and rare
            await asyncio.sleep(_DRAIN_POLL)
        await self._let_go("stopped")
        await self._lanes.end("stopped")

    def checked(self, said: Health, complaint: str) -> None:
        """What the check of its instance says: unwell is an end, which `restart` answers."""
        is_news = self._checks.says(said)
        if is_news and said == "unhealthy":
            self._conversation.broken(health.reason(complaint))
        elif is_news and self._conversation.greeting is not None and self.state is State.STARTING:
            self._listed()

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
                self._checks.begin(self._spec)
                reason = await self._conversation.hold(current)
                if self._resting:
                    current = await self._rest()
                    continue
                if self._around.clock() - began >= retry.HEALTHY_AFTER and self._conversation.greeting is not None:
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
            self._conversation.end("nobody used it")

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

    # --- how the conversation goes ----------------------------------------------------------------------------------

    def _no_conversation(self) -> Conversation:
        course = Course(
            begun=self._begun,
            lists_first=lambda: self.lists_first,
            listed=self._listed,
            heard=self._heard,
            renewed=self._wishes.again,
            lost=self._lost,
            over=self._over,
            leave=self._leave,
        )
        return Conversation(self._spec, self.allowance, self.offering, course, self._around.clock)

    def _no_lanes(self) -> Lanes:
        around, name = self._around, self.name
        hearing = Hearing(
            self._conversation.notified,
            lambda origin, method, params: around.heard(name, origin, method, params),
            lambda origin, ask: around.asked(name, origin, ask),
            around.listens,
            around.admits,
        )
        return Lanes(self.allowance, hearing, around.copies, around.clock, self.submit)

    def _begun(self, door: Door, connection: Connection, greeting: Greeting) -> None:
        if self._leaving:
            return
        if self.lists_first:
            self._around.changed()
        self._live = True
        self._use.touched = True
        self._lanes.begin(door, connection, self._spec, lambda: self.offering.lists)
        self._wishes.begin(connection, greeting.era, greeting.capabilities)
        self._parked.release(self.submit, self._around.admits if self.lists_first else None)

    def _listed(self) -> None:
        if self._live and self._checks.is_well:
            self._enter(State.READY)
        self._around.changed()

    def _heard(self, method: str, params: bytes) -> None:
        if not self._wishes.heard(method, params):
            self._around.heard(self.name, None, method, params)

    def _lost(self, reason: str) -> None:
        self._live = False
        if self.state is State.READY:
            self._enter(State.STARTING, reason)

    def _over(self) -> None:
        self._live = False
        self._wishes.end()

    async def _leave(self, reason: str) -> None:
        if not self._lanes.stands_alone:
            await self._lanes.end(reason)

    # --- small steps ------------------------------------------------------------------------------------------------

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
        self._conversation.end(reason)
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
