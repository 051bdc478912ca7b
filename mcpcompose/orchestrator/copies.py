"""
Further instances of servers, for one session, client or call: `<project>-<server>-2`, `-3`, and so on.

The supervisor asks for each and gives it back. While this process holds one, rounds leave it alone; whoever is going to
change its server ends it first. What a crashed run left behind is a stray like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final

from mcpcompose.engine.base import Endpoint, Engine, InstanceSpec
from mcpcompose.errors import EngineError, InstanceMissing, McpComposeError, NameTaken
from mcpcompose.log import fields
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.steps import STEP_LIMIT, Turns
from mcpcompose.spec.identity import instance_name

_log: Final = logging.getLogger(__name__)
_TAKEN: Final = 8
"""How many names of other owners are passed over."""

Current = Callable[[str], tuple[Ready, Engine]]
"""What a further instance of a server is made from just now; raises `InstanceMissing` for one that is not to run."""


@dataclass(eq=False)
class Copy:
    """One further instance; *ending* when whoever asked for it has gone, or its server changes."""

    spec: InstanceSpec
    engine: Engine
    starting: asyncio.Task[Endpoint] | None = None
    ending: asyncio.Task[None] | None = None


class Copies:
    """
    The further instances that this process holds.

    *guard* is held by whoever changes what runs of a server; *left* is told of one that could not be removed.
    """

    def __init__(
        self,
        current: Current,
        guard: Callable[[str], AbstractAsyncContextManager[object]],
        turns: Turns,
        left: Callable[[], None],
    ) -> None:
        self._current, self._guard, self._turns, self._left = current, guard, turns, left
        self._held: dict[str, Copy] = {}
        self._foreign: set[str] = set()
        self.strays: Collection[str] = ()
        """Names that the engine has and nobody holds: a round removes them, so none of them is given to a new one."""
        self.is_open = False
        """Further instances may be started."""
        self.others: Callable[[], frozenset[str]] = frozenset
        """Names that this process holds for something else than servers."""

    @property
    def names(self) -> frozenset[str]:
        """The names that are held, whether there is an instance already, still, or not."""
        return frozenset(self._held) | self.others()

    def of(self, server: str) -> frozenset[str]:
        """The names that are held of *server*."""
        return frozenset(name for name, copy in self._held.items() if copy.spec.server == server)

    async def start(self, server: str) -> tuple[str, Endpoint]:
        """
        Make and start a further instance of *server*, and name it. Raises `McpComposeError`.

        Cancelled, it goes on until it can be undone.
        """
        taken: NameTaken | None = None
        for _ in range(_TAKEN):
            async with self._guard(server):
                copy, starting = self._begin(server)
            try:
                endpoint = await asyncio.shield(starting)
            except NameTaken as error:
                taken = error
                self._foreign.add(copy.spec.name)
            except asyncio.CancelledError:
                self._end(copy)
                raise
            else:
                if copy.ending is not None:
                    raise InstanceMissing(f"server `{server}` is being changed", hint="try again")
                return copy.spec.name, endpoint
        raise taken or NameTaken(f"no name is free for an instance of server `{server}`")

    async def stop(self, server: str, name: str) -> None:
        """Stop and remove one; what is gone is success. Cancelled, it goes on to its end."""
        copy = self._held.get(name)
        if copy is not None and copy.spec.server == server:
            await asyncio.shield(self._end(copy))

    async def end(self, server: str | None = None) -> None:
        """End every one of *server* (all: None) by somebody who sees to it that none is begun meanwhile."""
        ending = {self._end(copy) for copy in self._held.values() if server is None or copy.spec.server == server}
        if ending:
            await asyncio.wait(ending)

    async def close(self, patience: float) -> None:
        """Begin none any more, wait *patience* seconds for what is under way, then cancel it; instances stay."""
        self.is_open = False
        under_way = {t for copy in self._held.values() for t in (copy.starting, copy.ending) if t and not t.done()}
        if not under_way:
            return
        _, late = await asyncio.wait(under_way, timeout=patience)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    # --- one of them -------------------------------------------------------------------------------------------------

    def _begin(self, server: str) -> tuple[Copy, asyncio.Task[Endpoint]]:
        ready, engine = self._current(server)
        spec = ready.instance(server)
        if not self.is_open or spec is None:
            raise InstanceMissing(f"server `{server}` is not to run here")
        limit = ready.project.servers[server].instances.limit
        if len(self.of(server)) >= limit:
            raise EngineError(f"server `{server}` has {limit} instances, which is its limit")
        copy = Copy(replace(spec, name=self._free_name(ready, server)), engine)
        self._held[copy.spec.name] = copy
        copy.starting = asyncio.create_task(self._make(ready, copy), name=f"start of {copy.spec.name}")
        copy.starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return copy, copy.starting

    def _free_name(self, ready: Ready, server: str) -> str:
        number = 2
        while (name := instance_name(ready.project.name, server, number)) in {
            *self._held,
            *self._foreign,
            *self.strays,
        }:
            number += 1
        return name

    async def _make(self, ready: Ready, copy: Copy) -> Endpoint:
        """Create and start it; what cannot be started is removed."""
        spec = copy.spec
        try:
            async with asyncio.timeout(STEP_LIMIT):
                values = await ready.values_of(spec)
                async with self._turns.calls:
                    await copy.engine.create_instance(spec, values)
                    return await copy.engine.start_instance(spec.name, values)
        except NameTaken:
            del self._held[spec.name]  # what is there is not ours to end
            raise
        except BaseException as error:
            self._end(copy)
            if isinstance(error, TimeoutError):
                raise EngineError(f"starting `{spec.name}` took longer than {STEP_LIMIT:g} s") from None
            if isinstance(error, (OSError, ValueError)):
                raise EngineError(f"`{spec.name}` could not be started: {error}") from error
            raise

    def _end(self, copy: Copy) -> asyncio.Task[None]:
        if copy.ending is None:
            copy.ending = asyncio.create_task(self._remove(copy), name=f"end of {copy.spec.name}")
        return copy.ending

    async def _remove(self, copy: Copy) -> None:
        spec = copy.spec
        try:
            if copy.starting is not None:
                await asyncio.wait({copy.starting})
            async with asyncio.timeout(STEP_LIMIT + spec.stop_grace_period), self._turns.stops:
                await copy.engine.stop_instance(spec.name, spec.stop_grace_period)
                await copy.engine.remove_instance(spec.name)
        except (McpComposeError, OSError, ValueError) as error:  # TimeoutError is an OSError
            _log.warning("instance not removed", extra=fields(instance=spec.name, reason=str(error)))
            self.strays = {*self.strays, spec.name}
            self._left()
        finally:
            self._held.pop(spec.name, None)
