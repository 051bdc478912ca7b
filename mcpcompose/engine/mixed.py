"""
Two engines as one: containers, and the project's `process` servers beside them on the host.

An instance belongs to the host engine when its source is a host command; by name afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Literal

from mcpcompose.engine.base import (
    Endpoint,
    Engine,
    EngineEvent,
    HostCommand,
    ImageSource,
    InstanceSpec,
    NetworkSpec,
    ObservedState,
    PackageImage,
    Progress,
    Resolved,
    Values,
    VolumeSpec,
    silent,
)
from mcpcompose.engine.process import ProcessEngine
from mcpcompose.spec.identity import Owner


class MixedEngine:
    """An `Engine` that sends host commands to *host* and everything else to *containers*."""

    kind: Literal["docker", "process", "memory"]

    def __init__(self, containers: Engine, host: ProcessEngine) -> None:
        self.kind = containers.kind
        self._containers = containers
        self._host = host

    async def check(self) -> Mapping[str, Any]:
        """What the container engine says of itself. Raises `EngineUnreachable`."""
        return await self._containers.check()

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        """One snapshot of both."""
        inside = await self._containers.observe(owner, names, images)
        outside = await self._host.observe(owner, names, frozenset())
        return ObservedState(
            instances=(*inside.instances, *outside.instances),
            networks=inside.networks,
            volumes=inside.volumes,
            images=inside.images,
            foreign=(*inside.foreign, *outside.foreign),
        )

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        """Make the image be there."""
        return await self._containers.ensure_image(source, refresh=refresh, progress=progress)

    async def digest_of(self, reference: str) -> str | None:
        """The digest that a registry has an image under."""
        return await self._containers.digest_of(reference)

    async def registry_digest(self, reference: str) -> str:
        """The digest that the registry has *reference* under now."""
        return await self._containers.registry_digest(reference)

    async def resolve(self, source: PackageImage, progress: Progress = silent) -> Resolved:
        """What installing a package would bring."""
        return await self._containers.resolve(source, progress)

    async def create_network(self, spec: NetworkSpec) -> None:
        """Make a network."""
        await self._containers.create_network(spec)

    async def remove_network(self, name: str) -> None:
        """Remove a network."""
        await self._containers.remove_network(name)

    async def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume."""
        await self._containers.create_volume(spec)

    async def remove_volume(self, name: str) -> None:
        """Remove a volume."""
        await self._containers.remove_volume(name)

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        """Make an instance, not started."""
        engine = self._host if isinstance(spec.source, HostCommand) else self._containers
        await engine.create_instance(spec, values)

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        """Start an instance and hold its streams."""
        return await self._of(name).start_instance(name, values)

    async def connect_instance(self, name: str) -> Endpoint:
        """Hold a running HTTP instance that an earlier run left."""
        return await self._of(name).connect_instance(name)

    async def stop_instance(self, name: str, grace: float) -> None:
        """Ask it to end, and make it end after *grace* seconds."""
        await self._of(name).stop_instance(name, grace)

    async def remove_instance(self, name: str) -> None:
        """Remove an instance, running or not, with its secret files."""
        await self._of(name).remove_instance(name)

    async def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to this owner's instances on both, until closed or until one side hears no more."""
        queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()

        async def follow(engine: Engine) -> None:
            try:
                async for event in engine.events(owner):
                    queue.put_nowait(event)
            finally:
                queue.put_nowait(None)

        followers = [asyncio.create_task(follow(engine)) for engine in (self._containers, self._host)]
        try:
            while (event := await queue.get()) is not None:
                yield event
            for task in followers:
                if task.done():
                    task.result()
        finally:
            for task in followers:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*followers, return_exceptions=True)

    async def close(self) -> None:
        """Let go of everything on both."""
        await self._host.close()
        await self._containers.close()

    def _of(self, name: str) -> Engine:
        return self._host if self._host.knows(name) else self._containers
