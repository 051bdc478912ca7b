"""
Carry out a plan: the only place where the engine is told to change something.

Steps of one server run one after the other, servers beside each other. A server whose step fails loses the rest of
its own steps and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, assert_never

from mcpcompose.engine.base import Engine, ImageSource, Values
from mcpcompose.errors import EngineError, McpComposeError
from mcpcompose.orchestrator.outcome import EventState, OnEvent, Outcome, StepEvent, ignore_event
from mcpcompose.orchestrator.plan import (
    ConnectInstance,
    CreateInstance,
    CreateNetwork,
    CreateVolume,
    EnsureImage,
    Operation,
    Plan,
    RemoveInstance,
    RemoveNetwork,
    RemoveVolume,
    StartInstance,
    Step,
    StopInstance,
    describe,
)
from mcpcompose.orchestrator.serving import Serving

DEGREE: Final = 16
"""How many engine calls run at once."""
IMAGES: Final = 8
"""How many images are had at once; they have a bound of their own so that slow ones hold up nobody."""
STOPS: Final = 64
"""How many instances are ended at once; mostly waiting for their grace."""
STEP_LIMIT: Final = 120.0
"""How long one engine call may take beyond a stop's grace, in seconds."""
IMAGE_LIMIT: Final = 1800.0
"""How long having one image may take, in seconds."""

_STARTS: Final = (CreateInstance, StartInstance, ConnectInstance)

ValuesOf = Callable[[str], Awaitable[Values]]
Guard = Callable[[str], AbstractAsyncContextManager[object]]
OnImage = Callable[[str, str], None]


async def execute(
    plan: Plan,
    engine: Engine,
    values: ValuesOf,
    serving: Serving,
    on_event: OnEvent = ignore_event,
    *,
    on_image: OnImage | None = None,
    guard: Guard | None = None,
    degree: int = DEGREE,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """
    Carry out *plan*; what fails is in the outcome, and told to *serving*.

    *values* gives the values of an instance by its name. *on_image* is told server and image id before the instance is
    made. *guard* is held around one server's steps.
    """
    told = _Told(serving, on_event, on_image)
    return await _Execution(engine, values, told, guard or _unguarded, degree, clock).run(plan)


def _unguarded(_server: str) -> AbstractAsyncContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class _Told:
    """Who hears of what happens."""

    serving: Serving
    on_event: OnEvent
    on_image: OnImage | None


class _Execution:
    """One plan on its way."""

    def __init__(  # noqa: PLR0917  the parts of one call
        self, engine: Engine, values: ValuesOf, told: _Told, guard: Guard, degree: int, clock: Callable[[], float]
    ) -> None:
        self._engine, self._values, self._told, self._guard, self._clock = engine, values, told, guard, clock
        self._serving = told.serving
        self._calls = asyncio.Semaphore(degree)
        self._image_calls = asyncio.Semaphore(IMAGES)
        self._stops = asyncio.Semaphore(STOPS)
        self._image_locks: dict[tuple[ImageSource, bool], asyncio.Lock] = {}
        self._had: dict[tuple[ImageSource, bool], str] = {}
        self._errors: dict[str, McpComposeError] = {}
        self._images: dict[str, str] = {}
        self._done: dict[str, asyncio.Event] = {}

    async def run(self, plan: Plan) -> Outcome:
        servers: dict[str, list[Step]] = {}
        first: list[Step] = []
        last: list[Step] = []
        for step in plan.steps:
            if step.server:
                servers.setdefault(step.server, []).append(step)
            else:
                (last if isinstance(step.operation, (RemoveVolume, RemoveNetwork)) else first).append(step)
        self._done = {server: asyncio.Event() for server in servers}
        after = dict(plan.after)
        await self._beside(first)
        async with asyncio.TaskGroup() as group:
            for server, steps in servers.items():
                group.create_task(self._server(server, steps, after.get(server, ())), name=f"execute {server}")
        await self._beside(last)
        return Outcome(plan, self._errors, self._images)

    async def _beside(self, steps: list[Step]) -> None:
        """Steps of no server, beside each other."""
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(self._alone(step))

    async def _alone(self, step: Step) -> None:
        try:
            await self._step(step)
        except McpComposeError as error:
            self._errors.setdefault("", error)

    async def _server(self, server: str, steps: list[Step], before: tuple[str, ...]) -> None:
        """One server's steps; images come first, so that a server that is replaced serves until its image is there."""
        images = [step for step in steps if isinstance(step.operation, EnsureImage)]
        others = [step for step in steps if step not in images]
        starts = any(isinstance(step.operation, _STARTS) for step in others)
        replaces = any(isinstance(step.operation, (StopInstance, RemoveInstance)) for step in others)
        touched = not replaces
        try:
            if starts and not replaces:
                self._serving.starting(server)
            for step in images:
                await self._step(step)
            await self._others_done(before)
            async with self._guard(server):
                touched = True
                for step in others:
                    if replaces and isinstance(step.operation, CreateInstance):
                        self._serving.starting(server)
                    await self._step(step)
        except McpComposeError as error:
            self._errors[server] = error
            if starts and touched:
                self._serving.failed(server, error.message)
        finally:
            self._done[server].set()

    async def _others_done(self, servers: tuple[str, ...]) -> None:
        for server in servers:
            if (done := self._done.get(server)) is not None:
                await done.wait()

    async def _step(self, step: Step) -> None:
        began = self._clock()

        def tell(text: str, state: EventState) -> None:
            self._told.on_event(StepEvent(step.server, text, state, self._clock() - began))

        text = describe(step.operation)
        tell(text, "started")
        try:
            async with asyncio.timeout(_limit(step.operation)):
                await self._operate(step.server, step.operation, lambda line: tell(line, "progress"))
        except TimeoutError:
            tell(text, "failed")
            raise EngineError(f"{text} took longer than {_limit(step.operation):g} s") from None
        except OSError as error:
            tell(text, "failed")
            raise EngineError(f"{text} failed: {error}") from error
        except McpComposeError:
            tell(text, "failed")
            raise
        tell(text, "done")

    async def _operate(self, server: str, operation: Operation, progress: Callable[[str], None]) -> None:
        match operation:
            case EnsureImage(source, refresh):
                await self._image(server, source, refresh, progress)
            case StartInstance(name):
                values = await self._values(name)
                async with self._calls:
                    endpoint = await self._engine.start_instance(name, values)
                await self._serving.attach(server, endpoint)
            case ConnectInstance(name):
                async with self._calls:
                    endpoint = await self._engine.connect_instance(name)
                await self._serving.attach(server, endpoint)
            case StopInstance() | RemoveInstance():
                await self._serving.detach(server)
                async with self._stops:
                    await self._end(operation)
            case _:
                async with self._calls:
                    await self._make(operation)

    async def _end(self, operation: StopInstance | RemoveInstance) -> None:
        if isinstance(operation, StopInstance):
            await self._engine.stop_instance(operation.name, operation.grace)
        else:
            await self._engine.remove_instance(operation.name)

    async def _make(
        self, operation: CreateNetwork | RemoveNetwork | CreateVolume | RemoveVolume | CreateInstance
    ) -> None:
        match operation:
            case CreateNetwork(network):
                await self._engine.create_network(network)
            case RemoveNetwork(name):
                await self._engine.remove_network(name)
            case CreateVolume(volume):
                await self._engine.create_volume(volume)
            case RemoveVolume(name):
                await self._engine.remove_volume(name)
            case CreateInstance(spec):
                await self._engine.create_instance(spec, await self._values(spec.name))
            case _:
                assert_never(operation)

    async def _image(self, server: str, source: ImageSource, refresh: bool, progress: Callable[[str], None]) -> None:
        """Have one image once, however many servers want it."""
        key = (source, refresh)
        async with self._image_locks.setdefault(key, asyncio.Lock()):
            if key not in self._had:
                async with self._image_calls:
                    self._had[key] = await self._engine.ensure_image(source, refresh=refresh, progress=progress)
        self._images[server] = self._had[key]
        if self._told.on_image is not None:
            self._told.on_image(server, self._had[key])


def _limit(operation: Operation) -> float:
    match operation:
        case EnsureImage():
            return IMAGE_LIMIT
        case StopInstance(_, grace):
            return STEP_LIMIT + grace
        case _:
            return STEP_LIMIT
