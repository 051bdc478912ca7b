"""What exists on an engine in memory, shared by every `MemoryEngine` that is given it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from mcpcompose.engine.base import EngineEvent, InstanceSpec, NetworkSpec, VolumeSpec
from mcpcompose.engine.feed import Feed
from mcpcompose.engine.programs import Console, Program, ProgramFailed
from mcpcompose.engine.streams import Lifetime, exit_reason


@dataclass(eq=False)
class WorldInstance:
    """One instance; *holder* is the engine object that holds its streams."""

    spec: InstanceSpec
    task: asyncio.Task[None] | None = None
    console: Console | None = None
    holder: object | None = None
    exit_code: int | None = None
    starts: int = 0
    life: Lifetime = field(default_factory=Lifetime)

    @property
    def running(self) -> bool:
        """Its program has not ended."""
        return self.task is not None and not self.task.done()


@dataclass(eq=False)
class World:
    """Everything on one engine in memory; tests look in here."""

    instances: dict[str, WorldInstance] = field(default_factory=dict)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)
    volumes: dict[str, VolumeSpec] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """The digests that a registry has images under, by reference."""
    pulls: list[str] = field(default_factory=list)
    """Every reference pulled, built or installed, in order."""
    feed: Feed = field(default_factory=Feed)

    def start(self, instance: WorldInstance, program: Program, console: Console, *, holder: object) -> None:
        """Run *program* as *instance*."""
        instance.console, instance.holder, instance.exit_code = console, holder, None
        instance.starts += 1
        instance.life = Lifetime()
        instance.task = asyncio.create_task(self._run(instance, program, console), name=f"memory:{instance.spec.name}")
        self.publish(instance, "started")

    async def end(self, instance: WorldInstance) -> None:
        """End its program and wait until it has ended."""
        if instance.task is not None and not instance.task.done():
            instance.task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({instance.task}, timeout=instance.spec.stop_grace_period)
            if instance.task.done():
                instance.life.end(exit_reason(instance.exit_code))  # it may have ended before it began

    async def crash(self, name: str, code: int = 137) -> None:
        """Let an instance end by itself, as if killed from outside."""
        instance = self.instances[name]
        if instance.console is not None:
            instance.console.code = code
        await self.end(instance)

    def publish(self, instance: WorldInstance, action: Literal["died", "removed", "started"]) -> None:
        """Tell everybody who follows this instance's owner."""
        self.feed.publish(dict(instance.spec.labels), EngineEvent(instance.spec.name, action))

    async def _run(self, instance: WorldInstance, program: Program, console: Console) -> None:
        code, life = 1, instance.life
        try:
            code = await program(console) or 0
        except ProgramFailed as failure:
            console.log(str(failure).encode() + b"\n")
        except asyncio.CancelledError:
            code = console.code if console.code is not None else 143
        finally:
            instance.exit_code = code
            life.end(exit_reason(code))
            console.log(b"")
            console.stream.end(exit_reason(code))
            self.publish(instance, "died")
