"""Containers and local processes of one project, as one engine; the contract tests run on both sides of it too."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest

from engine.conftest import BASE, SERVER, Bench, Heard, eventually, memory_server
from mcpcompose.engine.base import EngineEvent, HostCommand, InstanceSpec, NetworkSpec, RegistryImage, Values
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.engine.mixed import MixedEngine
from mcpcompose.engine.process import ProcessEngine
from mcpcompose.errors import EngineUnreachable
from mcpcompose.spec.identity import Owner

ON_HOST = (sys.executable, "-u", "-c", SERVER.read_text())


def host_spec(bench: Bench, server: str, **changes: object) -> InstanceSpec:
    return bench.spec(server, source=HostCommand(), command=ON_HOST, **changes)


async def both(bench: Bench) -> tuple[MixedEngine, Heard, Heard]:
    """A container `box` and a process `tool`, which run."""
    engine = bench.engine()
    assert isinstance(engine, MixedEngine)
    _, box = await bench.talk(engine, bench.spec("box"))
    _, tool = await bench.talk(engine, host_spec(bench, "tool"), Values(command=ON_HOST))
    return engine, box, tool


async def test_one_snapshot_shows_containers_and_processes(mixed_bench: Bench) -> None:
    engine, _, _ = await both(mixed_bench)

    state = await engine.observe(mixed_bench.owner, frozenset(), frozenset({BASE}))

    assert {(i.server, i.running, i.attached) for i in state.instances} == {("box", True, True), ("tool", True, True)}
    assert state.images == ((BASE, "sha256:base"),)
    assert engine.kind == "memory"


async def test_each_operation_goes_to_the_side_that_has_the_instance(mixed_bench: Bench) -> None:
    engine, box, tool = await both(mixed_bench)

    await engine.stop_instance(f"{mixed_bench.project}-tool-1", 2)

    await tool.until(lambda: tool.reason is not None)
    assert box.reason is None
    await engine.remove_instance(f"{mixed_bench.project}-box-1")
    await box.until(lambda: box.reason is not None)
    state = await engine.observe(mixed_bench.owner, frozenset(), frozenset())
    assert [(i.server, i.running) for i in state.instances] == [("tool", False)]


@pytest.mark.parametrize("to_host", [True, False])
async def test_a_server_that_moves_between_container_and_host_leaves_nothing_behind(
    mixed_bench: Bench, to_host: bool
) -> None:
    engine = mixed_bench.engine()
    inside, outside = mixed_bench.spec("a"), host_spec(mixed_bench, "a", config_hash="h2")
    before, after = (inside, outside) if to_host else (outside, inside)
    values = {inside: mixed_bench.values(), outside: Values(command=ON_HOST)}
    await mixed_bench.talk(engine, before, values[before])
    await engine.remove_instance(before.name)

    endpoint, heard = await mixed_bench.talk(engine, after, values[after])

    endpoint.stream.write(b"say moved\n")
    assert await heard.line() == "moved"
    state = await engine.observe(mixed_bench.owner, frozenset(), frozenset())
    assert [(i.config_hash, i.running) for i in state.instances] == [("h2" if to_host else "h1", True)]


async def test_the_logs_of_both_are_kept_apart(mixed_bench: Bench) -> None:
    await both(mixed_bench)

    for server in ("box", "tool"):
        await mixed_bench.said(f"{mixed_bench.project}-{server}-1", b"server is up")


async def test_the_events_of_both_are_heard(mixed_bench: Bench) -> None:
    engine = mixed_bench.engine()
    heard: list[EngineEvent] = []

    async def follow() -> None:
        async for event in engine.events(mixed_bench.owner):
            heard.append(event)  # noqa: PERF401  it never ends

    following = asyncio.create_task(follow())
    for _ in range(5):
        await asyncio.sleep(0)
    await mixed_bench.talk(engine, mixed_bench.spec("box"))
    await mixed_bench.talk(engine, host_spec(mixed_bench, "tool"), Values(command=ON_HOST))

    await eventually(lambda: len(heard) == 2)

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert {event.instance for event in heard} == {f"{mixed_bench.project}-{s}-1" for s in ("box", "tool")}


class Deaf(MemoryEngine):
    """Its events break off."""

    fails = True

    async def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        yield EngineEvent("first", "started")
        if self.fails:
            raise EngineUnreachable(f"gone with {owner.project}")


@pytest.mark.parametrize("fails", [True, False])
async def test_events_that_end_on_one_side_end_the_whole_so_that_somebody_asks_again(
    mixed_bench: Bench, fails: bool
) -> None:
    containers = Deaf({BASE: memory_server})
    containers.fails = fails
    engine = MixedEngine(containers, ProcessEngine(mixed_bench.paths, mixed_bench.log, os.environ))
    heard: list[str] = []

    async def follow() -> None:
        async for event in engine.events(mixed_bench.owner):
            heard.append(event.instance)  # noqa: PERF401  it never ends

    async with asyncio.timeout(5):
        if fails:
            with pytest.raises(EngineUnreachable):
                await follow()
        else:
            await follow()
    assert heard == ["first"]
    await engine.close()


async def test_networks_and_images_are_the_container_sides(mixed_bench: Bench) -> None:
    engine = mixed_bench.engine()
    network = NetworkSpec(f"{mixed_bench.project}-a", "a", tuple(mixed_bench.owner.labels("a").items()))

    await engine.create_network(network)

    assert await engine.ensure_image(RegistryImage(BASE)) == "sha256:base"
    assert (await engine.observe(mixed_bench.owner, frozenset(), frozenset())).networks == (network.name,)
    await engine.remove_network(network.name)


async def test_closing_lets_go_of_both(mixed_bench: Bench) -> None:
    engine, box, tool = await both(mixed_bench)

    await engine.close()

    await box.until(lambda: box.reason is not None)
    await tool.until(lambda: tool.reason is not None)
