"""Servers with a `url`: no instance to make, only an endpoint whose values may change."""

from __future__ import annotations

from collections.abc import Iterable

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.serving import Serving


class Remotes:
    """The remote servers that are attached, and how each is reached."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._attached: dict[str, HttpEndpoint] = {}

    async def attach(self, ready: Ready, stopped: frozenset[str]) -> dict[str, McpComposeError]:
        """Attach what is new or reached differently, detach what is gone or stopped. What failed, by server."""
        wanted = [name for name, server in ready.project.servers.items() if server.is_remote and name not in stopped]
        await self.drop(set(self._attached) - set(wanted))
        failed: dict[str, McpComposeError] = {}
        for name in wanted:
            try:
                endpoint = await ready.remote(name)
            except McpComposeError as error:
                failed[name] = error
                self._serving.failed(name, error.message)
                continue
            if self._attached.get(name) != endpoint:
                if name in self._attached:
                    await self._serving.detach(name)
                self._attached[name] = endpoint
                await self._serving.attach(name, endpoint)
        return failed

    async def drop(self, servers: Iterable[str] | None = None) -> None:
        """Detach *servers* (all: None)."""
        for name in list(self._attached if servers is None else servers):
            if self._attached.pop(name, None) is not None:
                await self._serving.detach(name)
