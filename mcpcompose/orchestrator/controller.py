"""
Keep what runs equal to what the file says: load, observe, reconcile, execute, over and over.

Rounds begin one after the other and are short: what they begin goes on by itself, each server beside the others. A
trigger (file changed, engine event, timer, work that ended) says that there is something to look at and is then
forgotten; triggers during a round lead to one more round. A file that cannot be used changes nothing: the last good
state keeps serving, and the problem is in `status()` and once in the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mcpcompose.engine.base import Endpoint, Engine
from mcpcompose.errors import ApprovalNeeded, FileProblems, McpComposeError, UsageError
from mcpcompose.log import fields
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.instances import Instances
from mcpcompose.orchestrator.interceptor_containers import InterceptorContainers
from mcpcompose.orchestrator.observe import observe
from mcpcompose.orchestrator.outcome import OnEvent, Outcome, ignore_event, log_event
from mcpcompose.orchestrator.reconcile import reconcile
from mcpcompose.orchestrator.requests import ApplyRequest, ControllerStatus, Load, Preview, chosen
from mcpcompose.orchestrator.restarts import Restarts
from mcpcompose.orchestrator.round import Place, Ready, prepare, secret_files, unapproved
from mcpcompose.orchestrator.rounds import Begun, Rounds, Scope
from mcpcompose.orchestrator.serving import Serving
from mcpcompose.orchestrator.triggers import Alarm, EngineWatch, keep_looking
from mcpcompose.secrets.resolver import Commands
from mcpcompose.spec.project import Project

_log: Final = logging.getLogger(__name__)

RESYNC: Final = 60.0
"""How long without a trigger until a round looks anyway, in seconds."""

Finish = Callable[[], Awaitable[Outcome]]
"""Waits for what a round began; may be left uncalled."""

_NOTHING_SPECIAL: Final = ApplyRequest()


async def close_engine(engine: Engine) -> None:
    """Let go of an engine that nobody keeps."""
    await engine.close()


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
        let_go: Callable[[Engine], Awaitable[None]] = close_engine,
    ) -> None:
        self._load, self._engine_for, self._serving, self._place = load, engine_for, serving, place
        self._host, self._resync = host, resync
        self._lock = asyncio.Lock()
        self._alarm = Alarm()
        self._watch = EngineWatch(self._alarm)
        self._rounds = Rounds(
            engine_for=engine_for, serving=serving, place=place, clock=clock,
            wake=self._alarm.wake, moved=self._watch.use, let_go=let_go,
        )  # fmt: skip
        self._restarts = Restarts(self._rounds.guard)
        self.instances = Instances(
            self._rounds, self._restarts, lambda: None if self._down else self._good, self._alarm.wake
        )
        self.containers = InterceptorContainers(self._rounds, lambda: None if self._down else self._rounds.ready)
        self._rounds.copies.others = lambda: self.containers.names
        self._good: Ready | None = None
        self._files: tuple[Path, ...] = ()
        self._problem: McpComposeError | None = None
        self._pending: tuple[Form, ...] = ()
        self._commands: Commands = {}
        self._down = False

    # --- what people ask for -----------------------------------------------------------------------------------------

    async def apply(self, request: ApplyRequest = _NOTHING_SPECIAL, on_event: OnEvent = ignore_event) -> Outcome:
        """`begin`, and wait for what it began."""
        return await (await self.begin(request, on_event))()

    async def begin(self, request: ApplyRequest = _NOTHING_SPECIAL, on_event: OnEvent = ignore_event) -> Finish:
        """
        One round, asked for: what was stopped or had failed is tried again. Returns how to wait for its outcome.

        Raises what keeps the file from being used (`FileProblems`, `ApprovalNeeded`, `SecretMissing`,
        `DangerRefused`, `NameTaken`, `EngineUnreachable`); what fails for one server alone is in the outcome.
        """
        async with self._lock:
            try:
                self._commands.clear()
                ready = await self._ready(request)
                servers = chosen(ready.project, request.servers)
                self._accept(ready, request)
                self._rounds.want(servers)
                refresh = servers if request.refresh else frozenset()
                finish = await self._begin(ready, Scope(request.servers, servers, refresh, on_event=on_event))
            except McpComposeError as error:
                self._note(error)
                raise
            self._note(None)
            return finish

    async def preview(self, request: ApplyRequest = _NOTHING_SPECIAL) -> Preview:
        """What `apply` would do. Raises what `apply` raises, except `ApprovalNeeded`."""
        async with self._lock:
            loaded = await (request.load or self._load)()
            host = self._host if request.host is None else request.host
            pending = await unapproved(loaded, self._place)
            ready = await prepare(loaded, self._place, host=host, commands=self._commands, gate=False)
            engine = self._rounds.engine or self._engine_for(ready.project)
            observed = await observe(engine, ready.owner, ready.desired)
            resting, held = frozenset(self._rounds.resting), self._rounds.copies.names
            plan = reconcile(ready.desired, observed, only=request.servers, resting=resting, held=held)
            return Preview(plan, pending)

    async def down(self, *, volumes: bool = False, on_event: OnEvent = ignore_event) -> Outcome:
        """Remove everything this owner has on the engine; until the next `apply`, rounds do nothing."""
        async with self._lock:
            before, self._down = self._down, True
            try:
                if self._rounds.engine is None:
                    project = (await self._load()).project
                    self._rounds.use(self._engine_for(project), self._place.owner_of(project))
                await self._restarts.ended()
                outcome = await self._rounds.down(volumes=volumes, on_event=on_event)
            except BaseException:
                self._down = before
                raise
            for server in self._good.project.servers if self._good else ():
                self._serving.stopped(server)
            return outcome

    async def start(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Run servers that were stopped on purpose, as the last good file says."""
        async with self._lock:
            ready, names = self._known(servers)
            self._down = False
            self._rounds.want(names)
            finish = await self._begin(ready, Scope(names, names, on_event=on_event))
        return await finish()

    async def stop(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Stop servers; they stay stopped through rounds until `start` or `up`."""
        async with self._lock:
            ready, names = self._known(servers)
            self._rounds.stopped |= names
            self._rounds.attended -= names
            self._rounds.resting -= names
            finish = await self._begin(ready, Scope(names, names, on_event=on_event))
        # One that the supervisor is just starting again was not running when the round looked.
        await self._restarts.ended(names)
        outcome = await finish()
        for server in (names & self._rounds.stopped) - outcome.errors.keys():
            self._serving.stopped(server)
        return outcome

    async def restart(self, servers: Iterable[str], on_event: OnEvent = ignore_event) -> Outcome:
        """Stop and start servers in place; one that is only being started is not started twice."""
        async with self._lock:
            ready, names = self._known(servers)
            self._down = False
            self._rounds.want(names)
            finish = await self._begin(ready, Scope(names, names, restart=names, on_event=on_event))
        return await finish()

    async def restart_instance(self, server: str) -> Endpoint:
        """
        Run one server's instance again, for the supervisor. Raises `McpComposeError`.

        An instance that is gone is made again; a server that is not declared or was stopped is refused.
        """
        return await self.instances.restart(server)

    def status(self) -> ControllerStatus:
        """How the project is doing."""
        return ControllerStatus(
            project=self._good.project if self._good else None,
            problem=self._problem,
            pending=self._pending,
            errors=dict(self._rounds.errors),
            stopped=self._rounds.stopped,
            rounds=self._rounds.count,
        )

    def files(self) -> tuple[Path, ...]:
        """The files to watch: everything that was read, and where secrets come from."""
        secrets = secret_files(self._good.project, self._place.home, self._host) if self._good else ()
        return tuple(dict.fromkeys((*self._files, *secrets)))

    # --- what happens by itself --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to look at."""
        self._alarm.wake()

    async def run(self, changes: AsyncIterator[Any] | None = None) -> None:
        """
        Rounds for every trigger, until cancelled. *changes* yields whenever a watched file may have changed.

        What they begin goes on when this is cancelled; `close` ends it.
        """
        await keep_looking(
            self._look, self._alarm, self._watch, changes, lambda: min(self._resync, self._rounds.patience.next_try())
        )

    async def look(self) -> Outcome | None:
        """One round of its own accord, to the end of what it began; problems are kept for `status()`, never raised."""
        finish = await self._look()
        return None if finish is None else await finish()

    async def close(self, patience: float = 10.0) -> None:
        """End everything that is under way; what is changing something has *patience* seconds until it is cancelled."""
        self._down = True
        await self._restarts.close(patience)
        await self._rounds.close(patience)

    async def _look(self) -> Finish | None:
        async with self._lock:
            if self._down:
                return None
            try:
                return await self._own_round()
            except Exception as error:  # noqa: BLE001  one of the three edges: a round that breaks must not end the next
                _log.exception("round broke")
                self._note(McpComposeError(f"internal error: {type(error).__name__}"))
            return None

    async def _own_round(self) -> Finish | None:
        """With the file as it is now or, when that cannot be used, with the last good one."""
        problem: McpComposeError | None = None
        finish: Finish | None = None
        try:
            self._accept(await self._ready(_NOTHING_SPECIAL), _NOTHING_SPECIAL)
        except McpComposeError as error:
            problem = error
        if self._good is not None:
            try:
                finish = await self._begin(self._good, Scope(on_event=log_event))
            except McpComposeError as error:
                problem = problem or error
        self._note(problem)
        return finish

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
        if self._good is None:
            self._rounds.declare_as_before(ready)
        if self._good is None or self._good.desired.names != ready.desired.names:
            await observe(self._engine_for(ready.project), ready.owner, ready.desired)
        return ready

    def _approve(self, pending: tuple[Form, ...], hashes: tuple[str, ...]) -> None:
        self._place.approvals.approve([form for form in pending if form.hash in hashes])

    def _accept(self, ready: Ready, request: ApplyRequest) -> None:
        """*ready* is what is to run from now on."""
        self._load = request.load or self._load
        self._host = self._host if request.host is None else request.host
        self._good = ready
        self._down = False
        self._rounds.stopped &= frozenset(ready.project.servers)

    async def _begin(self, ready: Ready, scope: Scope) -> Finish:
        begun = await self._rounds.begin(ready, scope)
        return lambda: self._to_end(begun, scope)

    async def _to_end(self, begun: Begun, scope: Scope) -> Outcome:
        """Wait for what a round began, and for what has to follow on it; what is under way goes on without us."""
        outcome = Outcome()
        while True:
            await begun.ended()
            outcome = begun.added_to(outcome)
            if not (again := begun.again(scope.refresh)):
                return outcome
            async with self._lock:
                if self._good is None or self._down:
                    return outcome
                scope = scope.once_more(again, begun.left)
                begun = await self._rounds.begin(self._good, scope)

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
