"""Further instances of a server for those who need one alone, and servers that rest because nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from mcpcompose.engine.base import Endpoint, InstanceSpec, StreamEndpoint, Values
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.engine.programs import echo
from mcpcompose.errors import EngineError, InstanceMissing, McpComposeError
from orchestrator.stage import PROGRAMS, STRANGER, Stage

WEB = {"image": "web:1", "transport": {"http": {"port": 8000}}}


class GatedEngine(MemoryEngine):
    """Starting or stopping an instance named in *held* takes until it is released; *broken* ones cannot be started."""

    def __init__(self, stage: Stage) -> None:
        super().__init__({**PROGRAMS, "web:1": echo}, world=stage.world)
        self.held: set[str] = set()
        self.broken: set[str] = set()
        self.entered: list[str] = []
        self._released = asyncio.Event()

    def release(self) -> None:
        self.held.clear()
        self._released.set()

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        await self._pass(f"start {name}")
        if name in self.broken:
            raise EngineError(f"`{name}` cannot be started")
        return await super().start_instance(name, values)

    async def stop_instance(self, name: str, grace: float) -> None:
        await self._pass(f"stop {name}")
        await super().stop_instance(name, grace)

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        await self._pass(f"create {spec.name}")
        await super().create_instance(spec, values)

    async def _pass(self, name: str) -> None:
        self.entered.append(name)
        while name in self.held:
            self._released.clear()
            await self._released.wait()


@pytest.fixture
async def engine(stage: Stage) -> AsyncIterator[GatedEngine]:
    made = GatedEngine(stage)
    stage.fresh(made)
    yield made
    made.release()
    await stage.controller.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  the world has no event for this
            await asyncio.sleep(0.001)


async def up(stage: Stage, **servers: object) -> None:
    stage.have(**servers)
    assert (await stage.controller.apply()).errors == {}


@pytest.mark.usefixtures("engine")
async def test_a_further_instance_runs_beside_the_first_and_rounds_leave_it_alone(stage: Stage) -> None:
    await up(stage, a="one:1")

    name, endpoint = await stage.controller.instances.start_copy("a")
    again = await stage.controller.apply()

    assert isinstance(endpoint, StreamEndpoint)
    assert (name, str(again.plan)) == ("team-a-2", "")
    assert stage.running == {"team-a-1": 1, "team-a-2": 1}
    assert stage.world.instances["team-a-2"].spec == replace(stage.world.instances["team-a-1"].spec, name="team-a-2")


@pytest.mark.usefixtures("engine")
async def test_a_further_instance_takes_the_lowest_number_that_is_free(stage: Stage) -> None:
    await up(stage, a="one:1", b="two:1")
    names = [(await stage.controller.instances.start_copy(server))[0] for server in ("a", "a", "b")]

    await stage.controller.instances.stop_copy("a", "team-a-2")
    again, _ = await stage.controller.instances.start_copy("a")

    assert names == ["team-a-2", "team-a-3", "team-b-2"]
    assert again == "team-a-2"


@pytest.mark.usefixtures("engine")
async def test_a_stopped_further_instance_is_gone_and_stopping_it_again_is_no_error(stage: Stage) -> None:
    await up(stage, a="one:1")
    name, _ = await stage.controller.instances.start_copy("a")

    await stage.controller.instances.stop_copy("a", name)
    await stage.controller.instances.stop_copy("a", name)

    assert set(stage.world.instances) == {"team-a-1"}
    assert "a detached" not in stage.serving.story


async def test_further_instances_start_beside_each_other(stage: Stage, engine: GatedEngine) -> None:
    await up(stage, a="one:1")
    engine.held |= {"start team-a-2", "start team-a-3"}
    both = asyncio.gather(stage.controller.instances.start_copy("a"), stage.controller.instances.start_copy("a"))

    await until(lambda: {"start team-a-2", "start team-a-3"} <= set(engine.entered))
    engine.release()

    assert {name for name, _ in await both} == {"team-a-2", "team-a-3"}


@pytest.mark.usefixtures("engine")
async def test_there_are_not_more_further_instances_than_the_file_allows(stage: Stage) -> None:
    await up(stage, a={"image": "one:1", "scope": "session", "instances": {"limit": 1}})
    name, _ = await stage.controller.instances.start_copy("a")

    with pytest.raises(EngineError, match="limit"):
        await stage.controller.instances.start_copy("a")

    await stage.controller.instances.stop_copy("a", name)
    assert await stage.controller.instances.start_copy("a")


async def test_what_a_killed_gateway_left_is_removed_and_its_names_are_not_used_meanwhile(
    stage: Stage, engine: GatedEngine
) -> None:
    await up(stage, a="one:1")
    await stage.controller.instances.start_copy("a")
    engine.held.add("stop team-a-2")

    restarted = GatedEngine(stage)
    restarted.held.add("stop team-a-2")
    stage.fresh(restarted)
    going = asyncio.ensure_future(stage.controller.apply())
    await until(lambda: "stop team-a-2" in restarted.entered)
    starting = asyncio.ensure_future(stage.controller.instances.start_copy("a"))
    restarted.release()

    assert (await going).ok
    assert (await starting)[0] == "team-a-3"
    assert set(stage.running) == {"team-a-1", "team-a-3"}
    assert (await stage.controller.instances.start_copy("a"))[0] == "team-a-4"
    await stage.controller.apply()
    assert (await stage.controller.instances.start_copy("a"))[0] == "team-a-2"


@pytest.mark.usefixtures("engine")
async def test_a_name_that_belongs_to_somebody_else_is_passed_over(stage: Stage) -> None:
    await up(stage, a="one:1")
    own = stage.world.instances["team-a-1"].spec
    theirs = replace(own, name="team-a-2", labels=tuple(STRANGER.labels("a").items()))
    await MemoryEngine(PROGRAMS, world=stage.world).create_instance(theirs, Values())

    name, _ = await stage.controller.instances.start_copy("a")

    assert name == "team-a-3"
    assert stage.world.instances["team-a-2"].spec == theirs


async def test_a_further_instance_that_cannot_be_started_is_removed(stage: Stage, engine: GatedEngine) -> None:
    await up(stage, a="one:1")
    engine.broken.add("team-a-2")

    with pytest.raises(EngineError, match="cannot be started"):
        await stage.controller.instances.start_copy("a")

    await until(lambda: set(stage.world.instances) == {"team-a-1"})


async def test_whoever_goes_while_a_further_instance_starts_leaves_nothing(stage: Stage, engine: GatedEngine) -> None:
    await up(stage, a="one:1")
    engine.held.add("start team-a-2")
    asking = asyncio.ensure_future(stage.controller.instances.start_copy("a"))
    await until(lambda: "start team-a-2" in engine.entered)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    engine.release()

    await until(lambda: set(stage.world.instances) == {"team-a-1"})


@pytest.mark.usefixtures("engine")
async def test_down_and_stop_leave_no_further_instance(stage: Stage) -> None:
    await up(stage, a="one:1", web=WEB)
    for server in ("a", "a", "web"):
        await stage.controller.instances.start_copy(server)

    await stage.controller.stop(["a"])
    assert set(stage.running) == {"team-web-1", "team-web-2"}
    with pytest.raises(InstanceMissing):
        await stage.controller.instances.start_copy("a")

    assert (await stage.controller.down()).errors == {}
    assert (stage.world.instances, stage.world.networks) == ({}, {})
    with pytest.raises(InstanceMissing):
        await stage.controller.instances.start_copy("web")


@pytest.mark.usefixtures("engine")
async def test_a_server_that_is_no_longer_declared_takes_its_further_instances_along(stage: Stage) -> None:
    await up(stage, a="one:1", b="two:1")
    await stage.controller.instances.start_copy("a")

    await up(stage, b="two:1")

    assert stage.running == {"team-b-1": 1}
    with pytest.raises(McpComposeError):
        await stage.controller.instances.start_copy("a")


@pytest.mark.usefixtures("engine")
async def test_a_change_ends_further_instances_after_their_calls_and_new_ones_are_as_the_file_says(
    stage: Stage,
) -> None:
    await up(stage, a="one:1", b="two:1")
    for server in ("a", "b"):
        await stage.controller.instances.start_copy(server)

    await up(stage, a="one:2", b="two:1")

    assert set(stage.running) == {"team-a-1", "team-b-1", "team-b-2"}
    assert stage.serving.story.count("a detached") >= 1
    name, _ = await stage.controller.instances.start_copy("a")
    assert stage.world.instances[name].spec.source == stage.world.instances["team-a-1"].spec.source


async def test_a_further_instance_that_starts_while_its_server_changes_ends_with_the_change(
    stage: Stage, engine: GatedEngine
) -> None:
    await up(stage, a="one:1")
    engine.held.add("create team-a-2")
    asking = asyncio.ensure_future(stage.controller.instances.start_copy("a"))
    await until(lambda: "create team-a-2" in engine.entered)
    stage.have(a="one:2")
    changing = asyncio.ensure_future(stage.controller.apply())
    await until(lambda: "a detached" in stage.serving.story)
    engine.release()

    assert (await changing).ok
    with pytest.raises(InstanceMissing):
        await asking
    assert set(stage.running) == {"team-a-1"}


@pytest.mark.usefixtures("engine")
async def test_a_server_that_rests_is_left_alone_until_it_is_restarted(stage: Stage) -> None:
    await up(stage, a="one:1", b="two:1")

    await stage.controller.instances.rest("a")
    assert str((await stage.controller.apply()).plan) == ""
    assert str((await stage.controller.start(["a"])).plan) == ""
    assert str((await stage.controller.preview()).plan) == ""
    assert stage.running == {"team-b-1": 1}

    assert isinstance(await stage.controller.restart_instance("a"), StreamEndpoint)
    assert stage.running == {"team-a-1": 2, "team-b-1": 1}
    assert str((await stage.controller.apply()).plan) == ""


@pytest.mark.usefixtures("engine")
async def test_a_server_that_rests_starts_when_it_changes_or_is_restarted(stage: Stage) -> None:
    await up(stage, a="one:1", b="two:1")
    await stage.controller.instances.rest("a")
    await stage.controller.instances.rest("b")

    await up(stage, a="one:2", b="two:1")
    await stage.controller.restart(["b"])

    assert set(stage.running) == {"team-a-1", "team-b-1"}
    await stage.world.crash("team-a-1")
    stage.serving.endpoints.clear()
    assert str((await stage.controller.apply()).plan) == "a: start team-a-1 (not running)"


@pytest.mark.usefixtures("engine")
async def test_a_server_that_rests_and_is_stopped_stays_stopped(stage: Stage) -> None:
    await up(stage, a="one:1")
    await stage.controller.instances.rest("a")

    await stage.controller.stop(["a"])

    with pytest.raises(InstanceMissing):
        await stage.controller.restart_instance("a")
    with pytest.raises(InstanceMissing):
        await stage.controller.instances.rest("a")
    assert stage.running == {}
    await stage.controller.start(["a"])
    assert set(stage.running) == {"team-a-1"}


@pytest.mark.usefixtures("engine")
async def test_a_resting_server_whose_container_was_removed_is_made_again_by_a_round(stage: Stage) -> None:
    await up(stage, a="one:1")
    await stage.controller.instances.rest("a")
    del stage.world.instances["team-a-1"]

    with pytest.raises(InstanceMissing):
        await stage.controller.restart_instance("a")
    await stage.controller.look()

    assert stage.running == {"team-a-1": 1}
    assert stage.serving.states["a"] == "attached"
