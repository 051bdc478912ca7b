"""
What wakes a controller: changed files, engine events, time.

All of them only say that there is something to look at; any number of them during one round make one more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from mcpcompose.engine.base import Engine
from mcpcompose.errors import McpComposeError
from mcpcompose.log import fields
from mcpcompose.spec.identity import Owner, is_copy

_log: Final = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 30.0


class Alarm:
    """Something that can be woken, any number of times at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """There may be something to look at."""
        self._event.set()

    async def wait(self, longest: float) -> None:
        """Until woken, *longest* seconds at most; forgets who woke it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._event.wait()
        self._event.clear()


class EngineWatch:
    """Wakes *alarm* for what happens to the owner's instances, on whichever engine is the current one."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._current: tuple[Engine, Owner] | None = None
        self._changed = asyncio.Event()

    def use(self, engine: Engine, owner: Owner) -> None:
        """*engine* and *owner* are the current ones."""
        if self._current != (engine, owner):
            self._current = (engine, owner)
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled; an engine that goes away is asked again, ever more slowly."""
        pause = 1.0
        while True:
            if self._current is None:
                await self._changed.wait()
                continue
            self._changed.clear()
            listening = asyncio.ensure_future(self._listen(*self._current))
            moved = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({listening, moved}, return_when=asyncio.FIRST_COMPLETED)
                heard = listening.done() and not listening.cancelled() and listening.result()
            finally:
                for task in (listening, moved):
                    task.cancel()
                await asyncio.gather(listening, moved, return_exceptions=True)
            pause = 1.0 if heard else min(pause * 2, _LONGEST_PAUSE)
            await self._rest(pause)
            self._alarm.wake()

    async def _rest(self, pause: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()

    async def _listen(self, engine: Engine, owner: Owner) -> bool:
        """Whether anything was heard before the stream of events ended."""
        heard = False
        try:
            async for event in engine.events(owner):
                heard = True
                if event.action != "started" and not is_copy(event.instance):
                    self._alarm.wake()
        except McpComposeError as error:
            _log.warning("engine events ended", extra=fields(reason=error.message))
        return heard


async def keep_looking(
    look: Callable[[], Awaitable[object]],
    alarm: Alarm,
    watch: EngineWatch,
    changes: AsyncIterator[Any] | None,
    pause: Callable[[], float],
) -> None:
    """Call *look* for every trigger and after *pause* seconds without one, until cancelled."""

    async def files() -> None:
        if changes is not None:
            async for _ in changes:
                alarm.wake()

    async def rounds() -> None:
        while True:
            await alarm.wait(pause())
            await look()

    async with asyncio.TaskGroup() as group:
        group.create_task(files(), name="file changes")
        group.create_task(watch.run(), name="engine events")
        group.create_task(rounds(), name="rounds")
