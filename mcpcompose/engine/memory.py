"""
An engine in memory: for tests and `--dry-run`. It passes the same contract tests as docker and process.

Several `MemoryEngine` objects can share one `World`, as several runs of `mcp-compose` share one real engine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mcpcompose.engine import danger
from mcpcompose.engine.base import (
    BuiltImage,
    Endpoint,
    EngineEvent,
    Http,
    HttpEndpoint,
    ImageSource,
    InstanceSpec,
    LogSink,
    NetworkSpec,
    ObservedInstance,
    ObservedState,
    PackageImage,
    Progress,
    RegistryImage,
    Resolved,
    Source,
    StreamEndpoint,
    Values,
    VolumeSpec,
    silent,
)
from mcpcompose.engine.ownership import (
    hash_of,
    owner_of,
    refuse_foreign,
    refuse_other_configuration,
    server_of,
)
from mcpcompose.engine.programs import Console, MemoryStream, Program
from mcpcompose.engine.sendable import refuse_unsendable
from mcpcompose.engine.world import World, WorldInstance
from mcpcompose.errors import EngineUnreachable, ImageMissing, InstanceMissing
from mcpcompose.spec.identity import Owner

__all__ = ["MemoryEngine", "Program", "World"]


def no_log(_instance: str, _data: bytes) -> None:
    """A log that nobody reads."""


class MemoryEngine:
    """
    An `Engine` whose images are *programs*, by what names the source.

    That is an image's reference, a built image's tag (or `build:` and its context folder's name), a package's
    requirement, or the first word of a host command. A source without a program is an image that does not exist.
    *urls* says where the HTTP instances of a source are reached.
    """

    kind: Literal["docker", "process", "memory"] = "memory"

    def __init__(
        self,
        programs: Mapping[str, Program],
        *,
        world: World | None = None,
        log: LogSink = no_log,
        urls: Mapping[str, str] | None = None,
        reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        self.programs = programs
        self.world = world if world is not None else World()
        self._log = log
        self._urls = urls or {}
        self._reachable = reachable
        self._streams: dict[str, MemoryStream] = {}

    async def check(self) -> Mapping[str, Any]:
        """What the engine says of itself (name, version). Raises `EngineUnreachable`."""
        if not self._reachable():
            raise EngineUnreachable("the engine in memory was told not to answer")
        return {"name": "memory", "version": "1"}

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        """One snapshot; *names* are the names to look up for other owners, *images* the references to resolve."""
        await self.check()
        world = self.world
        labels = {
            **{name: dict(found.spec.labels) for name, found in world.instances.items()},
            **{name: dict(spec.labels) for name, spec in (world.networks | world.volumes).items()},
        }
        return ObservedState(
            instances=tuple(
                self._observed(found)
                for name, found in sorted(world.instances.items())
                if owner_of(labels[name]) == owner
            ),
            networks=tuple(sorted(n for n, s in world.networks.items() if owner_of(dict(s.labels)) == owner)),
            volumes=tuple(sorted(n for n, s in world.volumes.items() if owner_of(dict(s.labels)) == owner)),
            images=tuple((ref, world.images[ref]) for ref in sorted(images) if ref in world.images),
            foreign=tuple(sorted(n for n in names if n in labels and owner_of(labels[n]) != owner)),
        )

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        """Make the image be there (pull, build or install); with *refresh* even if it is. Returns its id."""
        await self.check()
        reference = image_reference(source)
        if reference not in self.world.images or refresh:
            if self._program(source, None) is None:
                raise ImageMissing(f"image `{reference}` does not exist", hint="check its name")
            progress(f"making `{reference}`")
            self.world.images[reference] = "sha256:" + hashlib.sha256(reference.encode()).hexdigest()
            self.world.pulls.append(reference)
        return self.world.images[reference]

    async def digest_of(self, reference: str) -> str | None:
        """The digest of the registry; in memory it is what the reference stands for in `World.digests`."""
        return self.world.digests.get(reference)

    async def registry_digest(self, reference: str) -> str:
        """The same: there is no other registry."""
        if (found := self.world.digests.get(reference)) is None:
            raise ImageMissing(f"no registry has `{reference}`")
        return found

    async def resolve(self, source: PackageImage, progress: Progress = silent) -> Resolved:
        """Only itself: nothing in memory needs anything."""
        progress(f"looking up `{source.requirement}`")
        name, _, version = source.requirement.replace("==", "@").partition("@")
        return Resolved(distributions={f"{name}=={version or '0'}": ("sha256:" + "0" * 64,)})

    async def create_network(self, spec: NetworkSpec) -> None:
        """Make a network. Raises `NameTaken` when the name is another owner's."""
        await self.check()
        if found := self.world.networks.get(spec.name):
            refuse_foreign("network", spec.name, dict(spec.labels), dict(found.labels))
        self.world.networks[spec.name] = spec

    async def remove_network(self, name: str) -> None:
        """Remove a network."""
        await self.check()
        self.world.networks.pop(name, None)

    async def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume. Raises `NameTaken` when the name is another owner's."""
        await self.check()
        if found := self.world.volumes.get(spec.name):
            refuse_foreign("volume", spec.name, dict(spec.labels), dict(found.labels))
        self.world.volumes[spec.name] = spec

    async def remove_volume(self, name: str) -> None:
        """Remove a volume."""
        await self.check()
        self.world.volumes.pop(name, None)

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        """Make an instance, not started. Raises `NameTaken`, `ImageMissing`, `DangerRefused`."""
        await self.check()
        refuse_unsendable(spec.name, values)
        danger.refuse(spec, home=Path.home())
        if found := self.world.instances.get(spec.name):
            refuse_other_configuration(spec.name, dict(spec.labels), dict(found.spec.labels))
            return
        reference = source_key(spec.source, values)
        if self._program(spec.source, values) is None or (
            isinstance(spec.source, RegistryImage | BuiltImage | PackageImage)
            and image_reference(spec.source) not in self.world.images
        ):
            raise ImageMissing(f"image `{reference}` does not exist", hint="check its name")
        self.world.instances[spec.name] = WorldInstance(spec)

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        """Start an instance and hold its streams; one that runs unattached is restarted in place."""
        await self.check()
        refuse_unsendable(name, values)
        instance = self._instance(name)
        if instance.running and isinstance(instance.spec.transport, Http):
            return await self.connect_instance(name)
        await self._end(instance)
        stream = MemoryStream()
        program = self._program(instance.spec.source, values)
        if program is None:
            raise ImageMissing(f"image `{source_key(instance.spec.source, values)}` does not exist")
        console = Console(instance.spec, values, stream, lambda data: self._log(name, data))
        self.world.start(instance, program, console, holder=self)
        self._streams[name] = stream
        if isinstance(instance.spec.transport, Http):
            return self._http(instance)
        return StreamEndpoint(stream)

    async def connect_instance(self, name: str) -> Endpoint:
        """Hold a running HTTP instance that an earlier run left. Raises `InstanceMissing` when it does not run."""
        await self.check()
        instance = self._instance(name)
        if not instance.running or not isinstance(instance.spec.transport, Http):
            raise InstanceMissing(f"instance `{name}` does not run")
        instance.holder = self
        return self._http(instance)

    async def stop_instance(self, name: str, grace: float) -> None:
        """Ask it to end, and make it end after *grace* seconds."""
        await self.check()
        if found := self.world.instances.get(name):
            found.spec = replace(found.spec, stop_grace_period=grace)
            await self._end(found)

    async def remove_instance(self, name: str) -> None:
        """Remove an instance, running or not, with its secret files."""
        await self.check()
        if found := self.world.instances.get(name):
            await self._end(found)
            self.world.instances.pop(name, None)
            self.world.publish(found, "removed")

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to this owner's instances, until closed."""
        return self.world.feed.follow(owner)

    async def close(self) -> None:
        """Let go of everything; programs on stdio see the end of their input, as containers do."""
        streams, self._streams = self._streams, {}
        for name, stream in streams.items():
            found = self.world.instances.get(name)
            if found is None or not isinstance(found.spec.transport, Http):
                await stream.close()
        for instance in self.world.instances.values():
            if instance.holder is self:
                instance.holder = None
        await asyncio.sleep(0)

    def _observed(self, found: WorldInstance) -> ObservedInstance:
        labels = dict(found.spec.labels)
        return ObservedInstance(
            name=found.spec.name,
            server=server_of(labels),
            config_hash=hash_of(labels),
            running=found.running,
            attached=found.running and found.holder is self,
            image_id=self.world.images.get(source_key(found.spec.source, None)),
            exit_code=found.exit_code,
        )

    def _program(self, source: Source, values: Values | None) -> Program | None:
        key = source_key(source, values)
        if isinstance(source, BuiltImage):
            return self.programs.get(key) or self.programs.get(f"build:{source.context.name}")
        return self.programs.get(key)

    def _instance(self, name: str) -> WorldInstance:
        if (found := self.world.instances.get(name)) is None:
            raise InstanceMissing(f"instance `{name}` is gone", hint="run `mcp-compose up`")
        return found

    def _http(self, instance: WorldInstance) -> HttpEndpoint:
        transport = instance.spec.transport
        if not isinstance(transport, Http):
            raise InstanceMissing(f"instance `{instance.spec.name}` does not listen")
        url = self._urls.get(source_key(instance.spec.source, None))
        return HttpEndpoint(url or f"http://127.0.0.1:{transport.port}{transport.path}", life=instance.life)

    async def _end(self, instance: WorldInstance) -> None:
        if (stream := self._streams.pop(instance.spec.name, None)) is not None:
            await stream.close()
        await self.world.end(instance)


def image_reference(source: ImageSource) -> str:
    """What names the image on an engine."""
    return source.reference if isinstance(source, RegistryImage) else source.tag


def source_key(source: Source, values: Values | None) -> str:
    """What names the program of a source."""
    match source:
        case RegistryImage(ref):
            return ref
        case BuiltImage(tag):
            return tag
        case PackageImage():
            return source.requirement
        case _:
            return values.command[0] if values is not None and values.command else ""
