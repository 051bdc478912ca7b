"""
Further instances of servers for lanes: limited in number, some kept started ahead of need, waited for in turn.

Starts belong to nobody: whichever is done first goes to whoever has waited longest, and one that nobody waits for any
more is kept as a spare or stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from mcpcompose.engine.base import Endpoint, StreamEndpoint
from mcpcompose.engine.streams import HeldOutput
from mcpcompose.errors import McpComposeError, UpstreamError
from mcpcompose.spec.server import Server
from mcpcompose.upstream import retry
from mcpcompose.upstream.base import Instances

_log: Final = logging.getLogger(__name__)

Started = tuple[str, Endpoint]
"""An instance's name, and how it is reached."""


class Copies:
    """`Instances` with the limits and spares that each server's `instances` says, over *instances* without."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._pools: dict[str, Pool] = {}

    def serves(self, server: str, spec: Server) -> None:
        """*server* runs as *spec* says: spares are kept from now on."""
        self._pool(server).open(spec)

    async def leaves(self, server: str) -> None:
        """*server* goes: its spares go, and whoever waits for an instance waits in vain."""
        if pool := self._pools.get(server):
            await pool.shut()

    async def start_copy(self, server: str) -> Started:
        """
        Take a spare, or start an instance, or wait for a place; at most `timeouts.start`.

        Raises `McpComposeError`.
        """
        return await self._pool(server).take()

    async def stop_copy(self, server: str, copy: str) -> None:
        """Stop and remove an instance that was taken."""
        await self._pool(server).give_back(copy)

    async def rest(self, server: str) -> None:
        """Stop the spares, and the instance of all."""
        await self.leaves(server)
        await self._instances.rest(server)

    async def close(self) -> None:
        """The end of all spares."""
        await asyncio.gather(*(pool.shut() for pool in self._pools.values()))

    def _pool(self, server: str) -> Pool:
        return self._pools.setdefault(server, Pool(server, self._instances))


class Pool:
    """The further instances of one server."""

    def __init__(self, server: str, instances: Instances) -> None:
        self._server, self._instances = server, instances
        self._limit, self._warm, self._patience = 0, 0, 0.0
        self._spares: deque[Started] = deque()
        self._taken: set[str] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[Started]] = deque()
        self._failures = 0
        self._later: asyncio.TimerHandle | None = None

    def open(self, spec: Server) -> None:
        """Keep spares as *spec* says."""
        self._limit, self._patience = spec.instances.limit, spec.timeouts.start
        self._warm = spec.instances.warm if spec.scope != "shared" else 0
        self._failures = 0
        self._balance()

    async def shut(self) -> None:
        """Keep none any more; those that are taken are given back one by one."""
        self._limit = self._warm = 0
        self._forget_later()
        for starting in self._starting:
            starting.cancel()
        while self._waiting:
            self._refuse(self._waiting.popleft(), UpstreamError(f"server `{self._server}` is being changed"))
        while self._spares:
            self._end(self._spares.popleft()[0])
        if self._starting or self._ending:
            await asyncio.wait({*self._starting, *self._ending})

    async def take(self) -> Started:
        """A spare, or one that is started for whoever comes first."""
        while self._spares:
            name, endpoint = self._spares.popleft()
            if _is_alive(endpoint):
                self._taken.add(name)
                self._balance()
                return name, endpoint
            self._end(name)
        if not self._limit:
            raise UpstreamError(f"server `{self._server}` does not run")
        turn: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._balance()
        try:
            async with asyncio.timeout(self._patience):
                return await turn
        except TimeoutError:
            # In the same step as the time ran out one may have come.
            if turn.done() and not turn.cancelled():
                return turn.result()
            raise UpstreamError(self._excuse()) from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._end(turn.result()[0])
            raise
        finally:
            turn.cancel()

    async def give_back(self, name: str) -> None:
        """Stop one that was taken; it takes a place until it is gone."""
        if name in self._taken:
            await asyncio.shield(self._end(name))

    # --- how ---------------------------------------------------------------------------------------------------------

    @property
    def _places(self) -> int:
        """How many more there may be."""
        return self._limit - len(self._spares) - len(self._taken) - len(self._starting) - len(self._ending)

    def _balance(self) -> None:
        """Start as many as are waited for or are to be spare, as far as there are places."""
        self._waiting = deque(turn for turn in self._waiting if not turn.done())
        wanted = len(self._waiting)
        if self._later is None:
            wanted += self._warm - len(self._spares)
        for _ in range(min(wanted - len(self._starting), self._places)):
            self._own(self._start(), self._starting)

    async def _start(self) -> None:
        try:
            started = await self._instances.start_copy(self._server)
        except McpComposeError as error:
            self._failed(error)
            return
        self._failures = 0
        turn = self._next()
        if turn is not None:
            self._taken.add(started[0])
            turn.set_result(started)
        elif len(self._spares) < self._warm:
            self._spares.append(started)
        else:
            self._end(started[0])

    def _failed(self, error: McpComposeError) -> None:
        """One start, one who waits; spares are tried again after a while."""
        self._failures += 1
        if turn := self._next():
            self._refuse(turn, error)
        else:
            _log.warning("no spare instance of server `%s`: %s", self._server, error.message)
        if self._warm and self._later is None:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(retry.pause(self._failures), self._try_again)

    def _try_again(self) -> None:
        self._later = None
        self._balance()

    def _forget_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _next(self) -> asyncio.Future[Started] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _refuse(self, turn: asyncio.Future[Started], error: McpComposeError) -> None:
        if not turn.done():
            turn.set_exception(error)

    def _end(self, name: str) -> asyncio.Task[None]:
        self._taken.discard(name)
        return self._own(self._stop(name), self._ending)

    async def _stop(self, name: str) -> None:
        try:
            await self._instances.stop_copy(self._server, name)
        except McpComposeError as error:
            _log.warning("instance `%s` could not be stopped: %s", name, error.message)

    def _own(self, doing: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        tasks.add(task)
        task.add_done_callback(lambda done: self._over(done, tasks))
        return task

    def _over(self, task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("work on an instance of server `%s` broke", self._server, exc_info=error)
        self._balance()

    def _excuse(self) -> str:
        if self._places > 0 or self._starting:
            return f"no instance of server `{self._server}` started in time"
        return f"all {self._limit} instances of server `{self._server}` are in use"


def _is_alive(endpoint: Endpoint) -> bool:
    """Whether something may still come of it: a spare that was waiting may have ended meanwhile."""
    if isinstance(endpoint, StreamEndpoint):
        return not (isinstance(endpoint.stream, HeldOutput) and endpoint.stream.ended)
    return endpoint.life is None or not endpoint.life.ended
