"""
One step: the only place where the engine is told to change something.

Every step has a limit in time, and is told to whoever waits for its server's work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self, assert_never

from mcpcompose.engine.base import Engine, ImageSource, Values
from mcpcompose.errors import EngineError, ImageMissing, McpComposeError
from mcpcompose.orchestrator.outcome import EventState, StepEvent
from mcpcompose.orchestrator.plan import (
    ConnectInstance,
    CreateInstance,
    CreateNetwork,
    CreateVolume,
    EnsureImage,
    Operation,
    RemoveInstance,
    RemoveNetwork,
    RemoveVolume,
    StartInstance,
    Step,
    StopInstance,
    describe,
)
from mcpcompose.orchestrator.serving import Serving
from mcpcompose.orchestrator.signed import Verify, nobody_knows, refuse_unsigned
from mcpcompose.orchestrator.work import Work
from mcpcompose.spec.identity import is_copy
from mcpcompose.spec.lockfile import accept_command

DEGREE: Final = 24
"""How many engine calls run at once."""
IMAGES: Final = 8
"""How many images are had at once; they have a bound of their own so that slow ones hold up nobody."""
STOPS: Final = 64
"""How many instances are ended at once; mostly waiting for their grace."""
STEP_LIMIT: Final = 120.0
"""How long one engine call may take beyond a stop's grace, in seconds."""
IMAGE_LIMIT: Final = 1800.0
"""How long having one image may take, in seconds."""
QUIET: Final = 10.0
"""After how many seconds without a word whoever gets an image counts as waiting, and lets another one begin."""

ValuesOf = Callable[[str], Awaitable[Values]]
OnImage = Callable[[str, str], None]


class Turns:
    """How much of the engine is used at once, by everything that uses it."""

    def __init__(self, *, images: int = IMAGES, quiet: float = QUIET) -> None:
        self.calls = asyncio.Semaphore(DEGREE)
        self.stops = asyncio.Semaphore(STOPS)
        self._images, self._quiet = asyncio.Semaphore(images), quiet

    def image(self, progress: Callable[[str], None]) -> ImageTurn:
        """The turn of one image, which tells *progress*."""
        return ImageTurn(self._images, self._quiet, progress)


class ImageTurn:
    """
    A turn to get an image; the one who has it calls `heard` with what there is to tell.

    It is given back after *quiet* seconds without a word: registries that do not answer hold up nobody.
    """

    def __init__(self, turns: asyncio.Semaphore, quiet: float, progress: Callable[[str], None]) -> None:
        self._turns, self._quiet, self._progress = turns, quiet, progress
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._turns.acquire()
        self._set()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        self._give_back()

    def heard(self, line: str) -> None:
        """It goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._set()
        self._progress(line)

    def _set(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._quiet, self._give_back)

    def _give_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._turns.release()


class Images:
    """The images of one plan: each is had once, however many servers want it."""

    def __init__(self, engine: Engine, turns: Turns) -> None:
        self._engine, self._turns = engine, turns
        self._locks: dict[tuple[ImageSource, bool], asyncio.Lock] = {}
        self._had: dict[tuple[ImageSource, bool], str] = {}

    async def have(self, source: ImageSource, refresh: bool, progress: Callable[[str], None]) -> str:
        """Have one, and return its id."""
        key = (source, refresh)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._had:
                async with self._turns.image(progress) as turn:
                    self._had[key] = await self._engine.ensure_image(source, refresh=refresh, progress=turn.heard)
        return self._had[key]


class Steps:
    """The steps of one plan."""

    def __init__(  # noqa: PLR0917  the parts of one call
        self,
        engine: Engine,
        values: ValuesOf,
        serving: Serving,
        turns: Turns,
        on_image: OnImage | None = None,
        clock: Callable[[], float] = time.monotonic,
        before_attach: Callable[[], None] = lambda: None,
        verify: Verify = nobody_knows,
    ) -> None:
        self._engine, self._values, self._serving, self._turns = engine, values, serving, turns
        self._on_image, self._clock, self._before_attach = on_image, clock, before_attach
        self._images, self._verify = Images(engine, turns), verify

    async def judge(self, work: Work) -> None:
        """Refuse what *work* may not make, before it changes anything. Raises `SignatureRefused`."""
        for step in work.steps:
            if isinstance(step.operation, CreateInstance):
                await refuse_unsigned(step.operation.spec, self._verify)

    async def take(self, work: Work, step: Step) -> None:
        """Carry out one step of *work*. Raises `McpComposeError`."""
        began = self._clock()

        def tell(text: str, state: EventState) -> None:
            work.tell(StepEvent(step.server, text, state, self._clock() - began, step.cause))

        text, limit = describe(step.operation), _limit(step.operation)
        tell(text, "started")
        try:
            async with asyncio.timeout(limit):
                await self._operate(work, step.operation, lambda line: tell(line, "progress"))
        except TimeoutError:
            tell(text, "failed")
            raise EngineError(f"{text} took longer than {limit:g} s") from None
        except (OSError, ValueError) as error:
            tell(text, "failed")
            raise EngineError(f"{text} failed: {error}") from error
        except McpComposeError:
            tell(text, "failed")
            raise
        tell(text, "done")

    async def _operate(self, work: Work, operation: Operation, progress: Callable[[str], None]) -> None:
        match operation:
            case EnsureImage(source, refresh):
                image = await self._have(work, source, refresh, progress)
                work.images.append(image)
                if self._on_image is not None:
                    self._on_image(work.server, image)
            case StartInstance(name):
                values = await self._values(name)
                async with self._turns.calls:
                    endpoint = await self._engine.start_instance(name, values)
                self._before_attach()
                await self._serving.attach(work.server, endpoint)
            case ConnectInstance(name):
                async with self._turns.calls:
                    endpoint = await self._engine.connect_instance(name)
                self._before_attach()
                await self._serving.attach(work.server, endpoint)
            case StopInstance() | RemoveInstance():
                if not is_copy(operation.name):
                    await self._serving.detach(work.server)
                async with self._turns.stops:
                    await self._end(operation)
            case _:
                async with self._turns.calls:
                    await self._make(operation)

    async def _have(self, work: Work, source: ImageSource, refresh: bool, progress: Callable[[str], None]) -> str:
        try:
            return await self._images.have(source, refresh, progress)
        except McpComposeError as error:
            if getattr(source, "pin", ""):
                said = f"the locked image cannot be had: {error.message}"
                raise ImageMissing(said, hint=f"accept the one of now with `{accept_command(work.server)}`") from error
            raise

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
                if network.egress is not None and network.egress.signers:
                    await self._verify(network.egress.image, network.egress.signers)
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


def _limit(operation: Operation) -> float:
    match operation:
        case EnsureImage():
            return IMAGE_LIMIT
        case StopInstance(_, grace):
            return STEP_LIMIT + grace
        case _:
            return STEP_LIMIT
