"""
Work under way: the steps of each server in a task of its own, owned by one crew until it has ended.

Work that has begun to change what runs is never cancelled; getting images and waiting for a turn may be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from mcpcompose.engine.base import ImageSource
from mcpcompose.errors import McpComposeError
from mcpcompose.log import fields
from mcpcompose.orchestrator.outcome import OnEvent, StepEvent, ignore_event
from mcpcompose.orchestrator.plan import (
    ConnectInstance,
    CreateInstance,
    EnsureImage,
    RemoveInstance,
    StartInstance,
    Step,
    StopInstance,
)

_log: Final = logging.getLogger(__name__)
_STARTS: Final = (CreateInstance, StartInstance, ConnectInstance)
_ENDS: Final = (StopInstance, RemoveInstance)


class Phase(Enum):
    """How far some work is."""

    IMAGES = "getting its images"
    WAITING = "waiting for its turn"
    WORKING = "changing what runs"


@dataclass(eq=False)
class Work:
    """
    The steps of one server on their way; *key* is the server, or says what no server owns.

    *aim* is what it leads to, to be compared with what is wanted later. *before* is the work that it waits for.
    """

    key: str
    server: str
    steps: tuple[Step, ...] = ()
    aim: object = None
    before: tuple[Work, ...] = ()
    listeners: list[OnEvent] = field(default_factory=list)
    phase: Phase = Phase.IMAGES
    is_outdated: bool = False
    """To end as soon as its images are had: something else is wanted by now, of the same images."""
    is_cancelled: bool = False
    is_finished: bool = False
    """Its steps are done, or one has failed; otherwise it ended without having changed anything."""
    was_looked_past: bool = False
    """A round left this server alone because of this work; another has to look when it has ended."""
    error: McpComposeError | None = None
    broken: BaseException | None = None
    images: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def starts(self) -> bool:
        """An instance is to run when it is done."""
        return any(isinstance(step.operation, _STARTS) for step in self.steps)

    @property
    def ends(self) -> bool:
        """What ran before, or may have, ends by it."""
        return any(isinstance(step.operation, _ENDS) for step in self.steps)

    @property
    def ending(self) -> frozenset[str]:
        """The names of the instances that end by it."""
        return frozenset(step.operation.name for step in self.steps if isinstance(step.operation, _ENDS))

    def has_image(self, source: object) -> bool:
        """It is getting the image of *source* just now."""
        wanted: list[ImageSource] = [s.operation.source for s in self.steps if isinstance(s.operation, EnsureImage)]
        return self.phase is Phase.IMAGES and source in wanted

    def tell(self, event: StepEvent) -> None:
        """Tell everybody who waits for it."""
        for listener in self.listeners:
            listener(event)

    def heard_by(self, listener: OnEvent) -> None:
        """Tell *listener* what happens from now on."""
        if listener is not ignore_event and listener not in self.listeners:
            self.listeners.append(listener)

    def cancel(self) -> None:
        """End it where it is."""
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()


class Crew:
    """Everything that is under way; *on_end* is told, on the event loop, of each work that has ended."""

    def __init__(self, on_end: Callable[[Work], None] = lambda _work: None) -> None:
        self._on_end = on_end
        self._works: dict[str, Work] = {}

    @property
    def under_way(self) -> Mapping[str, Work]:
        """What has not ended, by key."""
        return MappingProxyType(self._works)

    def begin(self, work: Work, acting: Coroutine[Any, Any, None]) -> None:
        """Let *acting* be the task of *work*."""
        self._works[work.key] = work
        work.task = asyncio.get_running_loop().create_task(acting, name=f"work on {work.key}")
        work.task.add_done_callback(lambda task: self._ended(work, task))

    async def wind_down(self) -> None:
        """Cancel what has changed nothing yet, and wait for the rest."""
        while self._works:
            for work in self._works.values():
                if work.phase is not Phase.WORKING:
                    work.cancel()
            await until_ended(self._works.values())

    async def close(self, patience: float) -> None:
        """Wind down for *patience* seconds, then cancel everything, and wait for its end."""
        try:
            async with asyncio.timeout(patience):
                await self.wind_down()
        except TimeoutError:
            for work in self._works.values():
                work.cancel()
        await until_ended(self._works.values())

    def _ended(self, work: Work, task: asyncio.Task[None]) -> None:
        # A callback, not the task's own last lines: a task that is cancelled before it began runs none.
        del self._works[work.key]
        raised = None if task.cancelled() else task.exception()
        if isinstance(raised, McpComposeError):
            work.error, work.is_finished = raised, True
        elif isinstance(raised, Exception):
            _log.error("work broke", extra=fields(server=work.server), exc_info=raised)
            work.error, work.is_finished = McpComposeError(f"internal error: {type(raised).__name__}"), True
        else:
            work.broken = raised
        self._on_end(work)


async def until_ended(works: Iterable[Work]) -> None:
    """Wait for *works*; a waiter that is cancelled cancels none of them."""
    if tasks := {work.task for work in works if work.task is not None}:
        await asyncio.wait(tasks)
