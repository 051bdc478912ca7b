"""
The seam between interceptors that speak on standard streams and what runs them: a process of the host, a container.

Whoever starts one owns it: it is ended, with everything it started, whatever breaks off the wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from mcpcompose.engine.base import Receiver

END_SECONDS: Final = 10.0
"""How long the end of one is waited for when the interceptor is closed."""
Result = TypeVar("Result")


class Running(Protocol):
    """One that runs. Its output ends with a reason; `FINE` for one that ended as it should."""

    def listen(self, receiver: Receiver) -> None:
        """Send its output, and its end, to *receiver* from now on; called once."""

    def write(self, data: bytes) -> None:
        """Write to its standard input."""

    def close_input(self) -> None:
        """Let it see the end of its input."""

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken."""

    async def end(self) -> None:
        """End it and everything it started, at once. Can be called again."""


FINE: Final = "exited with code 0"
Launch = Callable[[], Awaitable[Running]]
"""Starts one. Raises `McpComposeError`."""


class Chores:
    """What goes on after the request that began it is over: ends of processes. One owner awaits them all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do *work*, whoever waits for it or not."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def start(self, launch: Launch) -> Running:
        """Start one; when the wait is broken off meanwhile, it is ended as soon as it has started."""
        starting = self.begin(launched(launch))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self.begin(ended_when_started(starting))
            raise

    async def close(self) -> None:
        """Wait for all of it."""
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS)
            for task in list(self._tasks):
                if not task.done():
                    task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


async def launched(launch: Launch) -> Running:
    """What *launch* starts."""
    return await launch()


async def ended_when_started(starting: asyncio.Task[Running]) -> None:
    """End what *starting* starts, as soon as it has started."""
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().end()
