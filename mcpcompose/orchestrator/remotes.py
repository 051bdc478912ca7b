"""Servers with a `url`: no instance to make, only an endpoint whose values may change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.outcome import reason_of
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.serving import Serving

Act = Callable[[], Awaitable[None]]


class Remotes:
    """The remote servers that are attached, and how each is reached."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._attached: dict[str, HttpEndpoint] = {}

    def acts(self, ready: Ready, stopped: frozenset[str], restart: frozenset[str]) -> dict[str, Act]:
        """What to do, by server: attach what is new, reached differently or to *restart*; detach what is not to be."""
        declared = [name for name, server in ready.project.servers.items() if server.is_remote]
        wanted: dict[str, Act] = {
            name: partial(self._again if name in restart else self._attach, ready, name)
            for name in declared
            if name not in stopped
        }
        return wanted | {name: partial(self._drop, name) for name in self._attached if name not in wanted}

    async def drop_all(self) -> None:
        """Detach all."""
        await asyncio.gather(*(self._drop(name) for name in list(self._attached)))

    async def _again(self, ready: Ready, name: str) -> None:
        await self._drop(name)
        await self._attach(ready, name)

    async def _attach(self, ready: Ready, name: str) -> None:
        try:
            endpoint = await ready.remote(name)
        except McpComposeError as error:
            # So that it is attached again once its values are there, the same as before or others.
            self._attached.pop(name, None)
            self._serving.failed(name, reason_of(error))
            raise
        if self._attached.get(name) != endpoint:
            if name in self._attached:
                await self._serving.detach(name)
            self._attached[name] = endpoint
            await self._serving.attach(name, endpoint)

    async def _drop(self, name: str) -> None:
        if self._attached.pop(name, None) is not None:
            await self._serving.detach(name)
