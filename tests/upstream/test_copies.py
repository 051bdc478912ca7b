"""Further instances for lanes: spares, limits, turns; over the engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcpcompose.engine.base import Endpoint, InstanceSpec, RegistryImage, Stdio, Values
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.engine.programs import echo
from mcpcompose.errors import EngineError, UpstreamError
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.server import Server
from mcpcompose.upstream.copies import Copies

OWNER = Owner("team", "0123456789abcdef")


class Running:
    """Instances of the engine in memory; starting takes until `go` is set, and fails while *broken*."""

    def __init__(self) -> None:
        self.engine = MemoryEngine({"one:1": echo})
        self.go = asyncio.Event()
        self.go.set()
        self.broken = False
        self.starts = 0
        self.story: list[str] = []

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        self.starts += 1
        name = f"team-{server}-{self.starts + 1}"
        await self.go.wait()
        if self.broken:
            raise EngineError("the engine is full")
        await self.engine.ensure_image(RegistryImage("one:1"))
        spec = InstanceSpec(name, server, RegistryImage("one:1"), Stdio(), tuple(OWNER.labels(server).items()))
        await self.engine.create_instance(spec, Values())
        return name, await self.engine.start_instance(name, Values())

    async def stop_copy(self, server: str, copy: str) -> None:
        assert copy.startswith(f"team-{server}-")
        await self.engine.remove_instance(copy)

    async def rest(self, server: str) -> None:
        self.story.append(f"rest {server}")

    @property
    def names(self) -> list[str]:
        return sorted(self.engine.world.instances)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    yield made
    for name in made.names:
        await made.engine.remove_instance(name)


@pytest.fixture
async def copies(running: Running) -> AsyncIterator[Copies]:
    made = Copies(running)
    yield made
    running.go.set()
    await made.close()


def server(*, limit: int = 16, warm: int = 0, start: float = 5.0, **keys: Any) -> Server:
    instances = {"limit": limit, "warm": warm}
    timeouts = {"start": start}
    return Server.model_validate(
        {"image": "one:1", "scope": "session", "instances": instances, "timeouts": timeouts, **keys}
    )


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  the world has no event for this
            await asyncio.sleep(0.001)


async def test_one_is_started_when_it_is_asked_for_and_is_gone_when_it_is_given_back(
    running: Running, copies: Copies
) -> None:
    copies.serves("a", server())
    assert running.names == []

    name, _ = await copies.start_copy("a")
    assert running.names == [name]

    await copies.stop_copy("a", name)
    assert running.names == []


async def test_spares_are_started_ahead_of_need_taken_and_replaced(running: Running, copies: Copies) -> None:
    copies.serves("a", server(warm=2))
    await until(lambda: len(running.names) == 2)
    spares = running.names
    running.go.clear()

    async with asyncio.timeout(1):
        name, _ = await copies.start_copy("a")

    assert name in spares
    running.go.set()
    await until(lambda: len(running.names) == 3)


async def test_a_spare_that_ended_meanwhile_is_not_handed_out(running: Running, copies: Copies) -> None:
    copies.serves("a", server(warm=1))
    await until(lambda: running.names)
    (spare,) = running.names
    await running.engine.world.crash(spare)

    name, _ = await copies.start_copy("a")

    assert name != spare
    await until(lambda: spare not in running.names)


async def test_whoever_comes_when_all_are_in_use_waits_for_one_to_be_given_back(
    running: Running, copies: Copies
) -> None:
    copies.serves("a", server(limit=1))
    first, _ = await copies.start_copy("a")
    waiting = asyncio.ensure_future(copies.start_copy("a"))
    await asyncio.sleep(0)
    assert running.starts == 1

    await copies.stop_copy("a", first)
    second, _ = await waiting

    assert running.names == [second]


async def test_waiting_has_an_end_and_an_error_that_says_what_was_waited_for(copies: Copies) -> None:
    copies.serves("a", server(limit=1, start=0.05))
    await copies.start_copy("a")

    with pytest.raises(UpstreamError, match="all 1 instances of server `a` are in use"):
        await copies.start_copy("a")


async def test_one_that_starts_too_slowly_is_an_error_and_nothing_of_it_stays(running: Running, copies: Copies) -> None:
    copies.serves("a", server(limit=1, start=0.05))
    running.go.clear()

    with pytest.raises(UpstreamError, match="started in time"):
        await copies.start_copy("a")

    running.go.set()
    await until(lambda: running.starts == 1 and running.names == [])
    assert await copies.start_copy("a")


async def test_what_was_started_for_somebody_who_has_gone_goes_to_whoever_waits(
    running: Running, copies: Copies
) -> None:
    copies.serves("a", server(limit=1))
    running.go.clear()
    gone = asyncio.ensure_future(copies.start_copy("a"))
    await until(lambda: running.starts == 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    waiting = asyncio.ensure_future(copies.start_copy("a"))
    await asyncio.sleep(0)
    running.go.set()

    name, _ = await waiting

    assert running.starts == 1
    assert running.names == [name]


async def test_a_start_that_fails_is_one_callers_error(running: Running, copies: Copies) -> None:
    copies.serves("a", server())
    running.broken = True

    with pytest.raises(EngineError, match="full"):
        await copies.start_copy("a")

    running.broken = False
    assert await copies.start_copy("a")


async def test_a_spare_that_cannot_be_started_is_tried_again_later_and_delays_nobody(
    running: Running, copies: Copies
) -> None:
    running.broken = True
    copies.serves("a", server(warm=1))
    await until(lambda: running.starts == 1)
    running.broken = False

    name, _ = await copies.start_copy("a")
    await until(lambda: len(running.names) == 2)

    assert name in running.names


async def test_a_server_that_goes_takes_its_spares_along_and_whoever_waits_hears_it(
    running: Running, copies: Copies
) -> None:
    copies.serves("a", server(limit=2, warm=1))
    taken, _ = await copies.start_copy("a")
    await until(lambda: len(running.names) == 2)
    other, _ = await copies.start_copy("a")
    waiting = asyncio.ensure_future(copies.start_copy("a"))
    await asyncio.sleep(0)

    await copies.leaves("a")

    with pytest.raises(UpstreamError):
        await waiting
    with pytest.raises(UpstreamError, match="does not run"):
        await copies.start_copy("a")
    assert running.names == sorted([taken, other])
    await copies.stop_copy("a", taken)
    await copies.stop_copy("a", other)
    assert running.names == []


async def test_a_server_that_rests_has_no_spares_until_it_serves_again(running: Running, copies: Copies) -> None:
    spec = server(warm=1)
    copies.serves("a", spec)
    await until(lambda: running.names)

    await copies.rest("a")
    assert (running.names, running.story) == ([], ["rest a"])

    copies.serves("a", spec)
    await until(lambda: running.names)


async def test_a_shared_server_has_no_spares(running: Running, copies: Copies) -> None:
    copies.serves("a", Server.model_validate({"image": "one:1", "instances": {"warm": 3}}))
    await asyncio.sleep(0)

    assert running.starts == 0


async def test_nothing_is_left_when_it_is_closed_in_the_middle_of_starts(running: Running, copies: Copies) -> None:
    copies.serves("a", server(warm=3))
    copies.serves("b", server(warm=1))
    await until(lambda: running.names)

    await copies.close()

    assert running.names == []
