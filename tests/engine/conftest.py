"""Engines to run the contract on: memory, process, docker; each in a world of its own that is empty afterwards."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mcpcompose.engine.base import (
    Engine,
    HostCommand,
    InstanceSpec,
    RegistryImage,
    Source,
    Stdio,
    StreamEndpoint,
    Values,
)
from mcpcompose.engine.memory import MemoryEngine, World
from mcpcompose.engine.programs import Console
from mcpcompose.paths import ProjectPaths, project_paths
from mcpcompose.spec.identity import Owner

BASE = os.environ.get("MCP_COMPOSE_TEST_BASE", "mcp-compose-test/base:1")
SERVER = Path(__file__).with_name("server.py")


async def memory_server(console: Console) -> int | None:
    """What `server.py` does, for the engine in memory."""
    console.log(b"server is up\n")
    while line := await console.readline():
        word, _, rest = line.decode().strip().partition(" ")
        match word:
            case "env":
                answer = console.values.environment.get(rest, "")
            case "secret":
                answer = console.values.secret_files[rest].decode()
            case "exit":
                return int(rest)
            case "flood":
                for _ in range(int(rest)):
                    await console.write(b"x" * 1023 + b"\n")
                    await asyncio.sleep(0)
                answer = "flooded"
            case _:
                answer = rest
        await console.write(answer.encode() + b"\n")
    return 0


@dataclass
class Heard:
    """A receiver that keeps what it hears."""

    data: bytearray = field(default_factory=bytearray)
    reason: str | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def stream_ended(self, reason: str) -> None:
        self.reason = reason
        self._changed.set()

    async def until(self, true: Callable[[], bool], seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def line(self, count: int = 1) -> str:
        await self.until(lambda: self.data.count(b"\n") >= count or self.reason is not None)
        return self.data.split(b"\n")[count - 1].decode()


@dataclass
class Bench:
    """One kind of engine with one owner, and how to make more engine objects that see the same things."""

    kind: str
    owner: Owner
    paths: ProjectPaths
    make: Callable[[], Engine]
    logged: dict[str, bytearray] = field(default_factory=dict)
    log_ends: list[str] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)

    @property
    def project(self) -> str:
        return self.owner.project

    def engine(self) -> Engine:
        self.engines.append(made := self.make())
        return made

    def log(self, name: str, data: bytes) -> None:
        self.logged.setdefault(name, bytearray()).extend(data)
        if not data:
            self.log_ends.append(name)

    def spec(
        self, server: str = "a", *, config_hash: str = "h1", owner: Owner | None = None, **changes: object
    ) -> InstanceSpec:
        base: dict[str, object] = {
            "name": f"{self.project}-{server}-1",
            "server": server,
            "source": self.source,
            "transport": Stdio(),
            "labels": tuple((owner or self.owner).labels(server, config_hash).items()),
            "command": self.command,
            "stop_grace_period": 2.0,
        }
        return InstanceSpec(**{**base, **changes})  # type: ignore[arg-type]

    @property
    def on_host(self) -> bool:
        return self.kind in {"process", "mixed, on the host"}

    @property
    def source(self) -> Source:
        return HostCommand() if self.on_host else RegistryImage(BASE)

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable if self.on_host else "python3", "-u", "-c", SERVER.read_text())

    def values(self, **changes: object) -> Values:
        return Values(**{"command": self.command, **changes})  # type: ignore[arg-type]

    async def talk(
        self, engine: Engine, spec: InstanceSpec, values: Values | None = None
    ) -> tuple[StreamEndpoint, Heard]:
        """Create, start and listen."""
        values = values or self.values()
        await engine.create_instance(spec, values)
        return await self.listen(await engine.start_instance(spec.name, values))

    async def listen(self, endpoint: object) -> tuple[StreamEndpoint, Heard]:
        assert isinstance(endpoint, StreamEndpoint)
        heard = Heard()
        endpoint.stream.listen(heard)
        return endpoint, heard

    async def said(self, name: str, text: bytes) -> None:
        """Wait until the log of *name* holds *text*."""
        await eventually(lambda: text in self.logged.get(name, b""))


async def eventually(true: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.01)


def _paths(owner: Owner) -> ProjectPaths:
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"mcpc-{owner.id}"
    return project_paths(owner.id, {"MCP_COMPOSE_HOME": str(folder)}).make()


def _bench(kind: str) -> Bench:
    owner = Owner(f"t{secrets.token_hex(3)}", secrets.token_hex(8))
    paths = _paths(owner)
    if kind == "memory":
        world = World(images={BASE: "sha256:base"})
        bench = Bench(kind, owner, paths, lambda: MemoryEngine({BASE: memory_server}, world=world, log=bench.log))
    elif kind.startswith("mixed"):
        from mcpcompose.engine.mixed import MixedEngine
        from mcpcompose.engine.process import ProcessEngine

        world = World(images={BASE: "sha256:base"})
        bench = Bench(
            kind,
            owner,
            paths,
            lambda: MixedEngine(
                MemoryEngine({BASE: memory_server}, world=world, log=bench.log),
                ProcessEngine(paths, bench.log, os.environ),
            ),
        )
    elif kind == "process":
        from mcpcompose.engine.process import ProcessEngine

        bench = Bench(kind, owner, paths, lambda: ProcessEngine(paths, bench.log, os.environ))
    else:
        from mcpcompose.engine.docker import DockerEngine

        bench = Bench(kind, owner, paths, lambda: DockerEngine(paths, bench.log, os.environ))
    return bench


async def _clean(bench: Bench) -> None:
    for one in bench.engines:
        await one.close()
    engine = bench.make()
    state = await engine.observe(bench.owner, frozenset(), frozenset())
    await asyncio.gather(*(engine.remove_instance(instance.name) for instance in state.instances))
    await asyncio.gather(*(engine.remove_network(name) for name in state.networks))
    await asyncio.gather(*(engine.remove_volume(name) for name in state.volumes))
    left = await engine.observe(bench.owner, frozenset(), frozenset())
    await engine.close()
    shutil.rmtree(bench.paths.runtime.parents[1])
    assert (left.instances, left.networks, left.volumes) == ((), (), ())


async def _used(kind: str) -> AsyncIterator[Bench]:
    bench = _bench(kind)
    yield bench
    await _clean(bench)


@pytest.fixture(
    params=[
        "memory",
        "process",
        "mixed, in a container",
        "mixed, on the host",
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async for one in _used(request.param):
        yield one


@pytest.fixture(params=["memory", "mixed, in a container", pytest.param("docker", marks=pytest.mark.docker)])
async def container_bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async for one in _used(request.param):
        yield one


@pytest.fixture
async def docker_bench() -> AsyncIterator[Bench]:
    async for one in _used("docker"):
        yield one


@pytest.fixture
async def mixed_bench() -> AsyncIterator[Bench]:
    async for one in _used("mixed, in a container"):
        yield one


@pytest.fixture
async def process_bench() -> AsyncIterator[Bench]:
    async for one in _used("process"):
        yield one
