"""
Rounds: what is declared compared with what runs, and the difference begun, server by server.

A round only begins things. Servers whose work is under way are left alone; what they are to become by now is looked at
again when that work has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mcpcompose.engine.base import Engine, ObservedState
from mcpcompose.errors import InstanceMissing, McpComposeError, UsageError
from mcpcompose.log import fields
from mcpcompose.orchestrator.aims import aims_of, call_off, restarted
from mcpcompose.orchestrator.copies import Copies
from mcpcompose.orchestrator.execute import Executor, execute, launch, outcome_of, raise_broken
from mcpcompose.orchestrator.observe import observe
from mcpcompose.orchestrator.outcome import OnEvent, Outcome, ignore_event
from mcpcompose.orchestrator.patience import Patience
from mcpcompose.orchestrator.plan import Plan, Step
from mcpcompose.orchestrator.reconcile import reconcile, teardown
from mcpcompose.orchestrator.remembered import Remembered
from mcpcompose.orchestrator.remotes import Remotes
from mcpcompose.orchestrator.round import Place, Ready, image_ids
from mcpcompose.orchestrator.serving import Serving
from mcpcompose.orchestrator.steps import Steps, Turns
from mcpcompose.orchestrator.work import Crew, Phase, Work, until_ended
from mcpcompose.spec.identity import Owner, is_copy
from mcpcompose.spec.project import Project

_log: Final = logging.getLogger(__name__)
_NONE: Final[frozenset[str]] = frozenset()
_TOGETHER: Final = 0.02
"""Seconds for which images that were had are told together; each time everything is compiled anew."""


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What one round is about.

    *only*: leave every other server alone. *asked*: servers that somebody asks for, so that what failed or ended by
    itself is tried at once. *refresh*: have their images anew. *restart*: stop them first. *heed*: the servers whose
    work is waited for (all: None).
    """

    only: frozenset[str] | None = None
    asked: frozenset[str] = _NONE
    refresh: frozenset[str] = _NONE
    restart: frozenset[str] = _NONE
    heed: frozenset[str] | None = None
    on_event: OnEvent = ignore_event

    def covers(self, server: str) -> bool:
        """The round may touch *server*."""
        return self.only is None or server in self.only

    def heeds(self, server: str) -> bool:
        """The work on *server* is waited for."""
        return self.covers(server) and (self.heed is None or server in self.heed)

    def once_more(self, servers: frozenset[str], left: frozenset[str]) -> Scope:
        """The same for *servers*, of which those *left* have not had their turn."""
        return replace(
            self, heed=servers, asked=self.asked & servers, refresh=self.refresh & left, restart=self.restart & left
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """
    What a round has begun or found begun, and what it waits for.

    *elsewhere* is work under way on servers that are to become something else than what it makes of them.
    """

    plan: Plan
    works: tuple[Work, ...]
    elsewhere: tuple[Work, ...]

    @property
    def left(self) -> frozenset[str]:
        """The servers that have not had their turn."""
        return frozenset(work.server for work in self.elsewhere)

    async def ended(self) -> None:
        """Wait for all of it."""
        await until_ended((*self.works, *self.elsewhere))
        raise_broken(self.works)

    def added_to(self, outcome: Outcome) -> Outcome:
        """*outcome*, and then this, which has ended."""
        ended = outcome_of(self.plan, self.works)
        done = {work.server for work in self.works if work.is_finished}
        before = {server: error for server, error in outcome.errors.items() if server not in done}
        return Outcome(
            Plan((*outcome.plan.steps, *self.plan.steps), (*outcome.plan.after, *self.plan.after)),
            {**before, **ended.errors},
            {**outcome.images, **ended.images},
        )

    def again(self, refreshed: frozenset[str]) -> frozenset[str]:
        """The servers to look at once more after it has ended, those that were *refreshed* among them."""
        broken_off = {work.server for work in self.works if not work.is_finished}
        failed = {work.server for work in self.works if work.error is not None}
        return self.left | broken_off | (refreshed - failed)


class Rounds:
    """What one controller has under way, and how a round adds to it. Rounds begin one after the other."""

    def __init__(
        self,
        *,
        engine_for: Callable[[Project], Engine],
        serving: Serving,
        place: Place,
        clock: Callable[[], float],
        wake: Callable[[], None],
        moved: Callable[[Engine, Owner], None],
        let_go: Callable[[Engine], Awaitable[None]],
    ) -> None:
        self._engine_for, self._serving, self._place, self._clock = engine_for, serving, place, clock
        self._wake, self._moved, self._let_go = wake, moved, let_go
        self._locks: dict[str, asyncio.Lock] = {}
        self._ready: Ready | None = None
        self._owner = place.owner
        self._declared: tuple[Project, Mapping[str, str]] | None = None
        self._fingerprints: dict[str, str] = {}
        self._telling: asyncio.TimerHandle | None = None
        self._remembered = Remembered(place.launches)
        self._remotes = Remotes(serving)
        self._turns = Turns()
        self._crew = Crew(self._ended)
        self._desired_by: dict[str, Ready] = {}
        self.engine: Engine | None = None
        self.patience = Patience(clock)
        self.errors: dict[str, McpComposeError] = {}
        self.stopped = _NONE
        self.attended: set[str] = set()
        self.resting: set[str] = set()
        """Servers that were stopped because nobody used them."""
        self.copies = Copies(self._to_copy, self.guard, self._turns, wake)
        self.count = 0

    def want(self, servers: frozenset[str]) -> None:
        """Run *servers*, stopped on purpose or not, and at once, failed before or not."""
        self.stopped -= servers
        self.patience.forget(servers)

    @property
    def ready(self) -> Ready | None:
        """What rounds work towards; None before the first one."""
        return self._ready

    def guard(self, server: str) -> asyncio.Lock:
        """Held by whoever changes what runs of *server*."""
        return self._locks.setdefault(server, asyncio.Lock())

    async def begin(self, ready: Ready, scope: Scope) -> Begun:
        """Begin what leads to *ready*. Raises `McpComposeError` for what is not one server's alone."""
        self.count += 1
        engine = await self._moved_to(ready, scope.on_event)
        self._keep_only(ready)
        # Before the engine is asked: what ends while it answers is not in its answer.
        joined, left, busy = self._review(ready, scope)
        held, changing = self.copies.names, {server for server, lock in self._locks.items() if lock.locked()}
        observed = await observe(engine, ready.owner, ready.desired)
        held |= self.copies.names
        self._tell_health(observed, changing)
        self.copies.strays = {found.name for found in observed.instances} - held
        self.copies.is_open = True
        self._place.uses_engine(ready.project.engine)
        self._declare(ready, ready.fingerprints(image_ids(observed)))
        self._place.approvals.record(ready.project, ready.loaded.variables)
        plan = self._plan(ready, observed, scope, busy, held)
        executor = self._executor(ready, engine)
        begun = launch(plan, self._crew, executor, aims=aims_of(ready, self.stopped), on_event=scope.on_event)
        for work in begun:
            self._desired_by[work.key] = ready
        remote = self._begin_remotes(ready, scope)
        works = tuple(w for w in (*joined, *begun, *remote) if scope.heeds(w.server) or not w.server)
        taken = {id(step) for work in works for step in work.steps}
        steps = (*(step for work in joined for step in work.steps), *(s for s in plan.steps if id(s) in taken))
        return Begun(Plan(steps, plan.after), works, tuple(work for work in left if scope.heeds(work.server)))

    def declare_as_before(self, ready: Ready) -> None:
        """Let lists of before be served at once, while the engine is only being asked which images there are."""
        if remembered := self._remembered.of(ready.written()):
            self._declare_now(ready, {**ready.fingerprints({}), **remembered})

    async def down(self, *, volumes: bool, on_event: OnEvent) -> Outcome:
        """Remove everything this owner has; what is under way ends first."""
        for work in self._crew.under_way.values():
            work.heard_by(on_event)
        await self._crew.wind_down()
        await self._remotes.drop_all()
        self.attended.clear()
        self.resting.clear()
        return await self._tear_down(volumes=volumes, on_event=on_event) if self.engine else Outcome()

    async def close(self, patience: float) -> None:
        """End everything that is under way; what has begun to change something gets *patience* seconds."""
        await self.copies.close(patience)
        await self._crew.close(patience)
        if self._telling is not None:
            self._telling.cancel()

    def use(self, engine: Engine, owner: Owner) -> None:
        """*engine* and *owner* are the current ones."""
        self.engine, self._owner = engine, owner
        self._moved(engine, owner)

    # --- what is under way ----------------------------------------------------------------------------------------

    def _review(self, ready: Ready, scope: Scope) -> tuple[list[Work], list[Work], frozenset[str]]:
        """
        What is under way: the works that lead where *ready* wants, those that do not, and the keys of all.

        Work that leads elsewhere and has changed nothing yet is called off.
        """
        aims = aims_of(ready, self.stopped)
        joined: list[Work] = []
        left: list[Work] = []
        for key, work in self._crew.under_way.items():
            work.was_looked_past = True
            if not scope.covers(key) and work.server:
                continue
            anew = key in scope.refresh or (key in scope.restart and work.phase is Phase.WORKING)
            if work.aim == aims.get(key) and not work.is_cancelled and not anew:
                work.is_outdated = False
                if scope.heeds(key) or not work.server:
                    work.heard_by(scope.on_event)
                    joined.append(work)
            else:
                left.append(work)
                call_off(work, aims.get(key))
        return joined, left, frozenset(self._crew.under_way)

    def _ended(self, work: Work) -> None:
        ready = self._desired_by.pop(work.key, None)
        if work.is_finished:
            failed = {work.server} if work.error is not None else set()
            if ready is not None:
                self.patience.note(ready.desired, {work.server}, failed)
            if work.error is not None:
                before, self.errors[work.server] = self.errors.get(work.server), work.error
                self.attended.discard(work.server)
                if before is None or before.message != work.error.message:
                    _log.warning("server failed", extra=fields(server=work.server, reason=work.error.message))
            else:
                self.errors.pop(work.server, None)
                self.attended |= {work.server} if work.starts else set()
                self.resting -= {work.server} if work.starts else set()
        if work.was_looked_past or not work.is_finished:
            self._wake()

    def _keep_only(self, ready: Ready) -> None:
        """Forget what was about servers that are no longer declared."""
        declared = ready.project.servers.keys()
        self.attended &= declared
        self.resting &= declared
        self.errors = {server: error for server, error in self.errors.items() if server in declared}

    def _to_copy(self, server: str) -> tuple[Ready, Engine]:
        if self._ready is None or self.engine is None or server in self.stopped:
            raise InstanceMissing(f"server `{server}` is not to run")
        return self._ready, self.engine

    # --- one round ------------------------------------------------------------------------------------------------

    def _plan(
        self, ready: Ready, observed: ObservedState, scope: Scope, busy: frozenset[str], held: frozenset[str]
    ) -> Plan:
        stops: list[Step] = []
        resting = frozenset(self.resting - scope.restart)
        if scope.restart:
            stops, observed = restarted(ready, observed, scope.restart - busy)
        plan = reconcile(
            ready.desired,
            observed,
            refresh=scope.refresh,
            only=scope.only,
            stopped=self.stopped,
            skip=busy | (self.patience.waiting(ready.desired) - scope.asked),
            unattended=frozenset(self.attended - scope.asked),
            resting=resting,
            held=held,
        )
        return Plan((*stops, *plan.steps), plan.after)

    def _executor(self, ready: Ready, engine: Engine) -> Executor:
        # Before one is attached, so that its lists are kept under the right identity.
        tell = self._tell_had
        steps = Steps(
            engine, ready.values, self._serving, self._turns, self._image_had, self._clock, tell, self._place.verify
        )
        return Executor(steps, self._serving, self.guard, self.copies)

    def _begin_remotes(self, ready: Ready, scope: Scope) -> list[Work]:
        begun: list[Work] = []
        for name, act in self._remotes.acts(ready, self.stopped, scope.restart).items():
            if scope.covers(name) and name not in self._crew.under_way:
                # Whether it is reached as before is only known once its values are: it never counts as done.
                work = Work(name, name, aim=object(), phase=Phase.WORKING)
                self._crew.begin(work, _finished(work, act()))
                begun.append(work)
        return begun

    def _image_had(self, server: str, image: str) -> None:
        ready = self._ready
        if ready is not None and server in ready.project.launched:
            self._fingerprints = {**self._fingerprints, server: ready.fingerprint_of(server, image)}
            if self._telling is None:
                self._telling = asyncio.get_running_loop().call_later(_TOGETHER, self._tell)

    def _tell_had(self) -> None:
        if self._telling is not None:
            self._tell()

    def _tell_health(self, observed: ObservedState, changing: set[str]) -> None:
        """Not of what was being started or stopped while the engine answered: that was about another run."""
        for instance in observed.instances:
            if instance.health is not None and not is_copy(instance.name) and instance.server not in changing:
                self._serving.health(instance.server, instance.health, instance.complaint)

    def _declare(self, ready: Ready, fingerprints: dict[str, str]) -> None:
        self._ready, self._fingerprints = ready, fingerprints
        self._serving.resolving(ready.expand)
        self._tell()

    def _tell(self) -> None:
        """Tell the serving side what it is to serve, if that is something else by now."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._ready is not None and self._declared != (self._ready.project, self._fingerprints):
            self._declare_now(self._ready, self._fingerprints)
            self._remembered.keep(self._ready.written(), self._fingerprints)

    def _declare_now(self, ready: Ready, fingerprints: Mapping[str, str]) -> None:
        self._declared = None  # what cannot be declared is declared again by the next round
        self._serving.resolving(ready.expand)
        self._serving.declare(ready.project, fingerprints, ready.written())
        self._declared = (ready.project, fingerprints)

    async def _moved_to(self, ready: Ready, on_event: OnEvent) -> Engine:
        """The engine of *ready*; what runs on another one, or under another name, comes down first."""
        before, engine = self.engine, self._engine_for(ready.project)
        if before is not None and (before is not engine or self._owner != ready.owner):
            await self._crew.wind_down()
            await self._tear_down(volumes=False, on_event=on_event)
            self.attended.clear()
            self.resting.clear()
            if before is not engine:
                await self._let_go(before)
        self.use(engine, ready.owner)
        return engine

    async def _tear_down(self, *, volumes: bool, on_event: OnEvent) -> Outcome:
        engine = self.engine
        if engine is None:
            return Outcome()
        self.copies.is_open = False
        observed = await engine.observe(self._owner, frozenset(), frozenset())
        specs = self._ready.desired.instances if self._ready else ()
        plan = teardown(observed, volumes=volumes, grace={spec.server: spec.stop_grace_period for spec in specs})

        async def no_values(name: str) -> Any:
            raise UsageError(f"`{name}` is being removed")

        outcome = await execute(plan, engine, no_values, self._serving, on_event, guard=self.guard, copies=self.copies)
        await self.copies.end()
        return outcome


async def _finished(work: Work, acting: Any) -> None:
    await acting
    work.is_finished = True
