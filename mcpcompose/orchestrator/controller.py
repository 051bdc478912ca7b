"""
Keep what runs equal to what the file says: load, observe, reconcile, execute, over and over.

One round at a time. A trigger (file changed, engine event, timer) says that there is something to look at and is then
forgotten; triggers during a round lead to one more round. A file that cannot be used changes nothing: the last good
state keeps serving, and the problem is in `status()` and once in the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mcpcompose.engine.base import Endpoint, Engine
from mcpcompose.errors import ApprovalNeeded, FileProblems, InstanceMissing, McpComposeError, UsageError
from mcpcompose.log import fields
from mcpcompose.orchestrator.execute import execute
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.observe import observe
from mcpcompose.orchestrator.outcome import OnEvent, Outcome, ignore_event
from mcpcompose.orchestrator.patience import Patience
from mcpcompose.orchestrator.plan import ConnectInstance, Plan, StartInstance, Step, StopInstance
from mcpcompose.orchestrator.reconcile import reconcile, teardown
from mcpcompose.orchestrator.remotes import Remotes
from mcpcompose.orchestrator.requests import ApplyRequest, ControllerStatus, Load, Preview, chosen
from mcpcompose.orchestrator.round import Place, Ready, image_ids, prepare, secret_files, unapproved
from mcpcompose.orchestrator.serving import Serving
from mcpcompose.orchestrator.triggers import Alarm, EngineWatch, keep_looking
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.project import Project

_log: Final = logging.getLogger(__name__)

RESYNC: Final = 60.0
"""How long without a trigger until a round looks anyway, in seconds."""


_NOTHING_SPECIAL: Final = ApplyRequest()
_STARTS: Final = (StartInstance, ConnectInstance)
_SHORTEST_HASH: Final = 8
"""How much of a form's hash has to be given to approve it."""


class Controller:
    """The orchestrator of one project; owns the engine it is given, tells *serving* what it may serve."""

    def __init__(
        self,
        *,
        load: Load,
        engine_for: Callable[[Project], Engine],
        serving: Serving,
        place: Place,
        host: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        resync: float = RESYNC,
    ) -> None:
        self._load, self._engine_for, self._serving, self._place = load, engine_for, serving, place
        self._host, self._resync = host, resync
        self._lock = asyncio.Lock()
        self._server_locks: dict[str, asyncio.Lock] = {}
        self._alarm = Alarm()
        self._watch = EngineWatch(self._alarm)
        self._engine: Engine | None = None
        self._owner = place.owner
        self._good: Ready | None = None
        self._files: tuple[Path, ...] = ()
        self._declared: tuple[Project, Mapping[str, str]] | None = None
        self._fingerprints: dict[str, str] = {}
        self._problem: McpComposeError | None = None
        self._pending: tuple[Form, ...] = ()
        self._errors: dict[str, McpComposeError] = {}
        self._stopped: frozenset[str] = frozenset()
        self._attended: set[str] = set()
        self._commands: dict[tuple[str, ...], bytes] = {}
        self._patience = Patience(clock)
        self._remotes = Remotes(serving)
        self._down = False
        self._rounds = 0

    # --- what people ask for -----------------------------------------------------------------------------------------

    async def apply(self, request: ApplyRequest = _NOTHING_SPECIAL, on_event: OnEvent = ignore_event) -> Outcome:
        """
        One round, asked for: what was stopped or had failed is tried again.

        Raises what keeps the file from being used (`FileProblems`, `ApprovalNeeded`, `SecretMissing`,
        `DangerRefused`, `NameTaken`, `EngineUnreachable`); what fails for one server alone is in the outcome.
        """
        async with self._lock:
            try:
                self._commands.clear()
                ready = await self._ready(request)
                servers = chosen(ready.project, request.servers)
                self._accept(ready, request)
                self._stopped -= servers
                self._patience.forget(servers)
                if request.refresh:
                    await self._round(ready, on_event, only=request.servers, refresh=servers)
                outcome = await self._round(ready, on_event, only=request.servers, asked=True)
            except McpComposeError as error:
                self._note(error)
                raise
            self._note(None)
            return outcome

    async def preview(self, request: ApplyRequest = _NOTHING_SPECIAL) -> Preview:
        """What `apply` would do. Raises what `apply` raises, except `ApprovalNeeded`."""
        async with self._lock:
            loaded = await (request.load or self._load)()
            host = self._host if request.host is None else request.host
            pending = await unapproved(loaded, self._place)
            ready = await prepare(loaded, self._place, host=host, commands=self._commands, gate=False)
            observed = await observe(self._engine_of(ready.project), ready.owner, ready.desired)
            return Preview(reconcile(ready.desired, observed, only=request.servers), pending)

    async def down(self, *, volumes: bool = False, on_event: OnEvent = ignore_event) -> Outcome:
        """Remove everything this owner has on the engine; until the next `apply`, rounds do nothing."""
        async with self._lock:
            self._down = True
            engine, owner = self._engine, self._owner
            if engine is None:
                project = (await self._load()).project
                engine, owner = self._engine_for(project), self._place.owner_of(project)
            await self._remotes.drop()
            outcome = await self._tear_down(engine, owner, volumes=volumes, on_event=on_event)
            self._attended.clear()
            for server in self._good.project.servers if self._good else ():
                self._serving.stopped(server)
            return outcome

    async def start(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Run servers that were stopped on purpose, as the last good file says."""
        async with self._lock:
            ready, names = self._known(servers)
            self._stopped -= names
            self._patience.forget(names)
            self._down = False
            return await self._round(ready, on_event, only=names, asked=True)

    async def stop(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Stop servers; they stay stopped through rounds until `start` or `up`."""
        async with self._lock:
            ready, names = self._known(servers)
            self._stopped |= names
            self._attended -= names
            outcome = await self._round(ready, on_event, only=names, asked=True)
            for server in names - outcome.errors.keys():
                self._serving.stopped(server)
            return outcome

    async def restart(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Stop and start servers in place."""
        async with self._lock:
            ready, names = self._known(servers)
            self._stopped -= names
            self._patience.forget(names)
            self._down = False
            await self._remotes.drop(names)
            engine = self._engine_of(ready.project)
            observed = await observe(engine, ready.owner, ready.desired)
            there = {instance.name: instance for instance in observed.instances}
            stops = tuple(
                Step(spec.server, StopInstance(spec.name, spec.stop_grace_period), "restart asked for")
                for spec in ready.desired.instances
                if spec.server in names and spec.name in there and there[spec.name].running
            )
            stopped = await self._execute(ready, engine, Plan(stops), on_event)
            started = await self._round(ready, on_event, only=names, asked=True)
            return Outcome(
                Plan((*stopped.plan.steps, *started.plan.steps), started.plan.after),
                {**started.errors, **stopped.errors},
                started.images,
            )

    async def restart_instance(self, server: str) -> Endpoint:
        """
        Run one server's instance again, for the supervisor. Raises `McpComposeError`.

        An instance that is gone is made again; a server that is not declared or was stopped is refused.
        """
        async with self._guard(server):
            ready = self._good
            if ready is None or self._down or server in self._stopped or server not in ready.project.servers:
                raise InstanceMissing(f"server `{server}` is not to run")
            spec = ready.instance(server)
            if spec is None:
                return await ready.remote(server)
            engine = self._engine_of(ready.project)
            await engine.stop_instance(spec.name, spec.stop_grace_period)
            values = await ready.values(spec.name)
            try:
                endpoint = await engine.start_instance(spec.name, values)
            except InstanceMissing:
                self._attended.discard(server)
                self._alarm.wake()
                raise
            self._attended.add(server)
            self._errors.pop(server, None)
            return endpoint

    def status(self) -> ControllerStatus:
        """How the project is doing."""
        return ControllerStatus(
            project=self._good.project if self._good else None,
            problem=self._problem,
            pending=self._pending,
            errors=dict(self._errors),
            stopped=self._stopped,
            rounds=self._rounds,
        )

    def files(self) -> tuple[Path, ...]:
        """The files to watch: everything that was read, and where secrets come from."""
        secrets = secret_files(self._good.project, self._place.home) if self._good else ()
        return tuple(dict.fromkeys((*self._files, *secrets)))

    # --- what happens by itself --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to look at."""
        self._alarm.wake()

    async def run(self, changes: AsyncIterator[Any] | None = None) -> None:
        """Rounds for every trigger, until cancelled. *changes* yields whenever a watched file may have changed."""
        await keep_looking(
            self.look, self._alarm, self._watch, changes, lambda: min(self._resync, self._patience.next_try())
        )

    async def look(self) -> Outcome | None:
        """One round of its own accord; problems are kept for `status()`, never raised."""
        async with self._lock:
            if self._down:
                return None
            try:
                return await self._own_round()
            except Exception as error:  # noqa: BLE001  one of the three edges: a round that breaks must not end the next
                _log.exception("round broke")
                self._note(McpComposeError(f"internal error: {type(error).__name__}"))
            return None

    async def _own_round(self) -> Outcome | None:
        """With the file as it is now or, when that cannot be used, with the last good one."""
        problem: McpComposeError | None = None
        outcome: Outcome | None = None
        try:
            self._accept(await self._ready(_NOTHING_SPECIAL), _NOTHING_SPECIAL)
        except McpComposeError as error:
            problem = error
        if self._good is not None:
            try:
                outcome = await self._round(self._good, ignore_event)
            except McpComposeError as error:
                problem = problem or error
        self._note(problem)
        return outcome

    # --- one round ---------------------------------------------------------------------------------------------------

    async def _ready(self, request: ApplyRequest) -> Ready:
        try:
            loaded = await (request.load or self._load)()
        except FileProblems as error:
            # A file that only now appeared with a mistake in it has to be watched too.
            broken = (problem.position.file for problem in error.problems if problem.position is not None)
            self._files = tuple(dict.fromkeys((*self._files, *broken)))
            raise
        self._files = loaded.files
        if request.trust:
            self._approve(await unapproved(loaded, self._place), request.trust)
        host = self._host if request.host is None else request.host
        try:
            ready = await prepare(loaded, self._place, host=host, commands=self._commands)
        except ApprovalNeeded:
            self._pending = await unapproved(loaded, self._place)
            raise
        if self._good is None or self._good.desired.names != ready.desired.names:
            await observe(self._engine_for(ready.project), ready.owner, ready.desired)
        return ready

    def _approve(self, pending: tuple[Form, ...], hashes: tuple[str, ...]) -> None:
        known = {form.hash for form in pending}
        begun = tuple(wanted for wanted in hashes if len(wanted) >= _SHORTEST_HASH)
        approved = known if "all" in hashes else {h for h in known if h.startswith(begun)}
        self._place.approvals.approve([form for form in pending if form.hash in approved])

    def _accept(self, ready: Ready, request: ApplyRequest) -> None:
        """*ready* is what is to run from now on."""
        self._load = request.load or self._load
        self._host = self._host if request.host is None else request.host
        self._good = ready
        self._down = False
        self._stopped &= frozenset(ready.project.servers)

    async def _round(
        self,
        ready: Ready,
        on_event: OnEvent,
        *,
        only: frozenset[str] | None = None,
        refresh: frozenset[str] = frozenset(),
        asked: bool = False,
    ) -> Outcome:
        self._rounds += 1
        engine = await self._moved_to(ready, on_event)
        observed = await observe(engine, ready.owner, ready.desired)
        self._declare(ready, ready.fingerprints(image_ids(observed)))
        self._place.approvals.record(ready.project)
        unattended = frozenset() if asked else frozenset(self._attended)
        skip = frozenset() if asked else self._patience.waiting(ready.desired)
        plan = reconcile(
            ready.desired, observed, refresh=refresh, only=only, stopped=self._stopped, skip=skip, unattended=unattended
        )
        outcome = await self._execute(ready, engine, plan, on_event)
        self._remember(ready, plan, outcome)
        remote_errors = await self._remotes.attach(ready, self._stopped)
        return Outcome(plan, {**outcome.errors, **remote_errors}, outcome.images)

    def _remember(self, ready: Ready, plan: Plan, outcome: Outcome) -> None:
        touched = {step.server for step in plan.steps}
        self._errors = {
            server: error
            for server, error in {**self._errors, **outcome.errors}.items()
            if server in outcome.errors or (server in ready.project.servers and server not in touched)
        }
        self._patience.note(ready.desired, touched, outcome.errors)
        for server, error in outcome.errors.items():
            _log.warning("server failed", extra=fields(server=server, reason=error.message))

    async def _execute(self, ready: Ready, engine: Engine, plan: Plan, on_event: OnEvent) -> Outcome:
        def on_image(server: str, image: str) -> None:
            self._declare(ready, {**self._fingerprints, server: ready.fingerprint_of(server, image)})

        outcome = await execute(
            plan, engine, ready.values, self._serving, on_event, on_image=on_image, guard=self._guard
        )
        started = {step.server for step in plan.steps if isinstance(step.operation, _STARTS)}
        self._attended = (self._attended | started) & set(ready.project.servers) - outcome.errors.keys()
        return outcome

    def _declare(self, ready: Ready, fingerprints: dict[str, str]) -> None:
        self._fingerprints = fingerprints
        if self._declared != (ready.project, fingerprints):
            self._declared = (ready.project, fingerprints)
            self._serving.declare(ready.project, fingerprints)

    async def _moved_to(self, ready: Ready, on_event: OnEvent) -> Engine:
        """The engine of *ready*; what runs on another one, or under another name, comes down first."""
        before, owner, engine = self._engine, self._owner, self._engine_for(ready.project)
        if before is not None and (before is not engine or owner != ready.owner):
            await self._tear_down(before, owner, volumes=False, on_event=on_event)
            self._attended.clear()
            if before is not engine:
                await before.close()
        self._engine, self._owner = engine, ready.owner
        self._watch.use(engine, ready.owner)
        return engine

    def _engine_of(self, project: Project) -> Engine:
        return self._engine or self._engine_for(project)

    async def _tear_down(self, engine: Engine, owner: Owner, *, volumes: bool, on_event: OnEvent) -> Outcome:
        observed = await engine.observe(owner, frozenset(), frozenset())
        grace = {spec.server: spec.stop_grace_period for spec in self._good.desired.instances} if self._good else {}
        plan = teardown(observed, volumes=volumes, grace=grace)

        async def no_values(name: str) -> Any:
            raise UsageError(f"`{name}` is being removed")

        return await execute(plan, engine, no_values, self._serving, on_event, guard=self._guard)

    def _guard(self, server: str) -> asyncio.Lock:
        return self._server_locks.setdefault(server, asyncio.Lock())

    def _known(self, servers: Iterable[str]) -> tuple[Ready, frozenset[str]]:
        ready = self._good
        if ready is None:
            raise self._problem or UsageError("nothing runs yet", hint="run `mcp-compose up`")
        return ready, chosen(ready.project, servers)

    def _note(self, problem: McpComposeError | None) -> None:
        """Keep *problem* for `status()`; log it when it is a new one, and when it is over."""
        before, self._problem = self._problem, problem
        if not isinstance(problem, ApprovalNeeded):
            self._pending = ()
        if problem is None:
            if before is not None:
                _log.info("round done again")
        elif before is None or (type(before), before.message) != (type(problem), problem.message):
            _log.warning("round not done", extra=fields(problem=problem.message, kind=type(problem).__name__))
