"""
Starts and stops that the supervisor asks for: each in a task of its own, which holds its server's guard to its end.

So that a supervisor that is called off in the middle leaves nothing running that nobody holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mcpcompose.errors import EngineError

Done = TypeVar("Done")

_UNDOING: Final = 5.0
"""Seconds that a restart which is broken off gets for its end."""


@dataclass(eq=False)
class Restart:
    """One restart: whether it has begun to change something, and whether nobody waits for it any more."""

    server: str
    has_begun: bool = False
    is_unwanted: bool = False


class Restarts:
    """The restarts under way, each done while *guard* is held."""

    def __init__(self, guard: Callable[[str], AbstractAsyncContextManager[object]]) -> None:
        self._guard = guard
        self._tasks: dict[asyncio.Task[Any], Restart] = {}

    async def run(self, server: str, act: Callable[[str, Restart], Awaitable[Done]]) -> Done:
        """
        Let *act* start *server* again, or stop it. Raises `McpComposeError`.

        Cancelled before it has its turn, it does nothing; afterwards it goes on to its end, which *act* then undoes.
        """
        restart = Restart(server)
        task = asyncio.create_task(self._one(restart, act), name=f"restart of {server}")
        self._tasks[task] = restart
        task.add_done_callback(self._over)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            restart.is_unwanted = True
            if not restart.has_begun:
                task.cancel()
            raise

    async def ended(self, servers: frozenset[str] | None = None) -> None:
        """Wait for those of *servers* (all: None) that are under way."""
        tasks = [task for task, restart in self._tasks.items() if servers is None or restart.server in servers]
        if tasks:
            await asyncio.wait(tasks)

    async def close(self, patience: float) -> None:
        """Wait *patience* seconds for all, then cancel them."""
        for task, restart in self._tasks.items():
            restart.is_unwanted = True
            if not restart.has_begun:
                task.cancel()
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=patience)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_UNDOING)

    async def _one(self, restart: Restart, act: Callable[[str, Restart], Awaitable[Done]]) -> Done:
        async with self._guard(restart.server):
            restart.has_begun = True
            try:
                return await act(restart.server, restart)
            except (OSError, ValueError) as error:
                raise EngineError(f"`{restart.server}` could not be started: {error}") from error

    def _over(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # told to whoever waited; one that nobody waits for is no news
