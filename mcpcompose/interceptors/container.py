"""
Containers (`image`): JSON on standard input, the answer on standard output, no network, hardened as servers are.

Who makes them is given: the orchestrator, which checks signatures and resolves secrets as it does for servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from mcpcompose.engine.base import ByteStream, Receiver
from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import Around, InterceptorFailed
from mcpcompose.interceptors.keeper import Keeper
from mcpcompose.interceptors.one_shot import OneShot
from mcpcompose.interceptors.outside import Outside, Variables, refuse_secrets
from mcpcompose.interceptors.running import Chores, Running
from mcpcompose.spec.interceptor import Interceptor as Spec


class Containers(Protocol):
    """Makes containers of interceptors. Both raise `McpComposeError`."""

    async def prepare(self, spec: Spec) -> None:
        """Make its image be there."""

    async def start(self, spec: Spec) -> tuple[str, ByteStream]:
        """Start another container; its name and its standard streams."""

    async def stop(self, name: str) -> None:
        """End and remove one; what is gone is success."""


class Container(Outside):
    """An `image` interceptor."""

    def __init__(self, spec: Spec, around: Around) -> None:
        super().__init__(spec, around)
        if around.containers is None or around.project.engine == "process":
            raise InterceptorFailed(
                f"`image: {spec.image}` needs a container engine",
                hint="use `--engine docker`, or `run` for a program of the host",
            )
        refuse_secrets("command", spec.command or ())
        self._containers: Containers = around.containers
        self._variables = Variables(spec, lambda: self.around)
        self._chores = Chores()
        self._is_there = False
        self._preparing = self._chores.begin(self._prepare())
        self._teller = (
            Keeper(self._launch, spec.output, spec.timeout, self._made_of)
            if spec.keep
            else OneShot(self._launch, spec.output)
        )

    async def ask(self, payload: bytes, id_: str) -> bytes:
        """Its answer to one question."""
        await self._image()
        return await self._teller.ask(payload, id_)

    async def close(self) -> None:
        """End what runs."""
        self._preparing.cancel()
        await self._teller.close()
        await self._chores.close()

    async def _prepare(self) -> None:
        """Have the image, from the moment the file says so: pulling takes longer than a request may wait."""
        await self._containers.prepare(self.spec)
        self._is_there = True

    async def _image(self) -> None:
        """Wait for the image; who gives up does not end the pull, nor has anything started."""
        if self._preparing.done() and not self._is_there:
            self._preparing = self._chores.begin(self._prepare())
        try:
            await asyncio.shield(self._preparing)
        except McpComposeError as error:
            raise InterceptorFailed(error.message, hint=error.hint) from error

    async def _launch(self) -> Running:
        name, stream = await self._containers.start(self.spec)
        return _RunningContainer(name, stream, self._containers)

    async def _made_of(self) -> object:
        return await self._variables.values()


class _RunningContainer:
    """One that runs (`running.Running`)."""

    def __init__(self, name: str, stream: ByteStream, containers: Containers) -> None:
        self._name, self._stream, self._containers = name, stream, containers
        self.listen: Callable[[Receiver], None] = stream.listen
        self.write: Callable[[bytes], None] = stream.write
        self.close_input: Callable[[], None] = stream.close_input

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken."""
        return self._stream.write_backlog

    async def end(self) -> None:
        """Remove it, running or not."""
        await self._containers.stop(self._name)
