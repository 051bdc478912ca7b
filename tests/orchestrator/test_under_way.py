"""No server's slow engine work delays another's: images that hang, stops that hang, many edits meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mcpcompose.engine.base import Endpoint, ImageSource, Progress, RegistryImage, Values, silent
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.engine.programs import echo
from mcpcompose.errors import EngineError, ImageMissing, InstanceMissing
from mcpcompose.orchestrator.outcome import Outcome, StepEvent
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.orchestrator.steps import Images, Turns
from orchestrator.stage import PROGRAMS, Stage

SLOW = "slow:1"
PULLED = "get image slow:1"


class GatedEngine(MemoryEngine):
    """Getting an image, starting or stopping an instance named in *held* takes until it is released."""

    def __init__(self, stage: Stage) -> None:
        super().__init__({**PROGRAMS, SLOW: echo, "slow:2": echo}, world=stage.world)
        self.held: set[str] = set()
        self.entered: list[str] = []
        self.cancelled: list[str] = []
        self._released = asyncio.Event()

    def release(self, name: str) -> None:
        self.held.discard(name)
        self._released.set()

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        assert isinstance(source, RegistryImage)
        await self._pass(source.ref)
        return await super().ensure_image(source, refresh=refresh, progress=progress)

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        await self._pass(f"start {name}")
        return await super().start_instance(name, values)

    async def stop_instance(self, name: str, grace: float) -> None:
        await self._pass(f"stop {name}")
        await super().stop_instance(name, grace)

    async def _pass(self, name: str) -> None:
        self.entered.append(name)
        try:
            while name in self.held:
                self._released.clear()
                await self._released.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise


@pytest.fixture
async def engine(stage: Stage) -> AsyncIterator[GatedEngine]:
    made = GatedEngine(stage)
    stage.fresh(made)
    yield made
    for name in list(made.held):
        made.release(name)
    await stage.controller.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  the world has no event for this
            await asyncio.sleep(0.001)


@asynccontextmanager
async def kept(stage: Stage) -> AsyncIterator[None]:
    """The controller's own rounds go on."""
    task = asyncio.create_task(stage.controller.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def waiting(stage: Stage, **servers: Any) -> AsyncIterator[asyncio.Task[Outcome]]:
    """An `up` of *servers* that has begun and goes on."""
    stage.have(**servers)
    finish = await stage.controller.begin()
    task = asyncio.ensure_future(finish())
    await asyncio.sleep(0)
    yield task
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)


def image(stage: Stage, server: str) -> str:
    found = stage.world.instances.get(f"team-{server}-1")
    return found.spec.source.ref if found is not None and found.running else ""


async def test_a_change_takes_effect_while_another_servers_image_is_being_had(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, a="one:1", d=SLOW) as up:
        await until(lambda: image(stage, "a") == "one:1" and SLOW in engine.entered)
        stage.have(a="one:2", d=SLOW)
        stage.controller.wake()
        await until(lambda: image(stage, "a") == "one:2")
        assert not up.done()
        engine.release(SLOW)

    assert up.result().ok
    assert image(stage, "d") == SLOW
    assert engine.entered.count(SLOW) == 1


async def test_a_change_takes_effect_while_another_servers_stop_hangs(stage: Stage, engine: GatedEngine) -> None:
    stage.have(a="one:1", c="two:1")
    await stage.controller.apply()
    engine.held.add("stop team-c-1")
    async with kept(stage):
        stopping = asyncio.create_task(stage.controller.stop(["c"]))
        await until(lambda: "stop team-c-1" in engine.entered)
        stage.have(a="one:2", c="two:1")
        stage.controller.wake()
        await until(lambda: image(stage, "a") == "one:2")
        assert not stopping.done()
        engine.release("stop team-c-1")
        assert (await stopping).ok

    assert stage.serving.states["c"] == "stopped"
    assert stage.running.keys() == {"team-a-1"}


async def test_a_change_takes_effect_while_another_server_hangs_in_its_start(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add("start team-c-1")
    async with kept(stage), waiting(stage, a="one:1", c="two:1"):
        await until(lambda: "start team-c-1" in engine.entered)
        stage.have(a="one:2", c="two:1")
        stage.controller.wake()
        await until(lambda: image(stage, "a") == "one:2")
        engine.release("start team-c-1")

    assert stage.running["team-c-1"] == 1


async def test_a_server_removed_while_its_image_is_being_had_is_not_waited_for_and_never_made(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, a="one:1", d=SLOW) as up:
        await until(lambda: SLOW in engine.entered)
        stage.have(a="one:1")
        stage.controller.wake()
        await until(lambda: engine.cancelled == [SLOW])
        assert (await up).ok

    assert stage.world.instances.keys() == {"team-a-1"}


async def test_a_running_server_removed_while_its_new_image_is_being_had_goes(
    stage: Stage, engine: GatedEngine
) -> None:
    stage.have(a="one:1", d="two:1")
    await stage.controller.apply()
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, a="one:1", d=SLOW):
        await until(lambda: SLOW in engine.entered)
        stage.have(a="one:1")
        stage.controller.wake()
        await until(lambda: stage.world.instances.keys() == {"team-a-1"})


async def test_another_image_for_a_server_calls_the_first_one_off(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, d=SLOW) as up:
        await until(lambda: SLOW in engine.entered)
        stage.have(d="one:1")
        stage.controller.wake()
        assert (await up).ok

    assert engine.cancelled == [SLOW]
    assert image(stage, "d") == "one:1"


async def test_another_definition_keeps_the_image_that_is_being_had_and_starts_once(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, d=SLOW) as up:
        await until(lambda: SLOW in engine.entered)
        stage.have(d={"image": SLOW, "environment": {"X": "2"}})
        rounds = stage.controller.status().rounds
        stage.controller.wake()
        await until(lambda: stage.controller.status().rounds > rounds)
        engine.release(SLOW)
        assert (await up).ok

    assert engine.cancelled == []
    assert engine.entered.count(SLOW) == 1
    assert stage.running == {"team-d-1": 1}
    assert dict(stage.world.instances["team-d-1"].spec.environment) == {"X": "2"}


async def test_a_change_of_a_server_that_is_being_started_is_taken_up_afterwards(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add("start team-a-1")
    async with kept(stage), waiting(stage, a="one:1") as up:
        await until(lambda: "start team-a-1" in engine.entered)
        stage.have(a="one:2")
        rounds = stage.controller.status().rounds
        stage.controller.wake()
        await until(lambda: stage.controller.status().rounds > rounds)
        assert engine.cancelled == []
        engine.release("start team-a-1")
        assert (await up).ok
        await until(lambda: image(stage, "a") == "one:2")

    assert engine.cancelled == []


async def test_a_second_up_applies_the_rest_at_once_and_waits_for_what_it_shares(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add(SLOW)
    events: list[StepEvent] = []
    async with waiting(stage, a="one:1", d=SLOW) as first:
        await until(lambda: image(stage, "a"))
        stage.have(a="one:2", b="two:1", d=SLOW)
        second = asyncio.create_task(stage.controller.apply(on_event=events.append))
        await until(lambda: image(stage, "a") == "one:2" and image(stage, "b"))
        assert not first.done()
        assert not second.done()
        engine.release(SLOW)
        outcome = await second

    assert outcome.ok
    assert {"a", "b", "d"} == {step.server for step in outcome.plan.steps}
    assert ("d", PULLED, "done") in [(event.server, event.text, event.state) for event in events]
    assert first.result().ok
    assert engine.entered.count(SLOW) == 1


async def test_a_second_up_tells_what_failed_of_the_work_it_shares_and_does_not_try_it_twice(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add("nowhere:1")
    async with waiting(stage, a="one:1", bad="nowhere:1") as first:
        await until(lambda: "nowhere:1" in engine.entered)
        second = asyncio.create_task(stage.controller.apply())
        rounds = stage.controller.status().rounds
        await until(lambda: stage.controller.status().rounds > rounds)
        engine.release("nowhere:1")
        outcome = await second

    assert isinstance(outcome.errors["bad"], ImageMissing)
    assert isinstance(first.result().errors["bad"], ImageMissing)
    assert engine.entered.count("nowhere:1") == 1


async def test_down_while_an_image_is_being_had_leaves_nothing(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, a={"image": "one:1", "network": "isolated"}, d=SLOW):
        await until(lambda: image(stage, "a") and SLOW in engine.entered)
        assert (await stage.controller.down()).ok

    assert engine.cancelled == [SLOW]
    assert not stage.world.instances
    assert not stage.world.networks
    assert stage.serving.states == {"a": "stopped", "d": "stopped"}


async def test_down_waits_for_a_start_under_way_and_leaves_nothing(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add("start team-a-1")
    async with waiting(stage, a="one:1"):
        await until(lambda: "start team-a-1" in engine.entered)
        down = asyncio.create_task(stage.controller.down())
        await asyncio.sleep(0)
        engine.release("start team-a-1")
        assert (await down).ok

    assert engine.cancelled == []
    assert not stage.world.instances


async def test_stop_of_a_server_whose_image_is_being_had_calls_it_off(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add(SLOW)
    async with waiting(stage, d=SLOW) as up:
        await until(lambda: SLOW in engine.entered)
        await stage.controller.stop(["d"])
        assert (await up).ok

    assert engine.cancelled == [SLOW]
    assert not stage.world.instances
    assert stage.serving.states["d"] == "stopped"


async def test_restart_of_everything_does_not_wait_for_an_image_that_hangs(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add(SLOW)
    async with waiting(stage, a="one:1", d=SLOW):
        await until(lambda: image(stage, "a"))
        restarting = asyncio.create_task(stage.controller.restart(["a", "d"]))
        await until(lambda: stage.running.get("team-a-1") == 2)
        engine.release(SLOW)
        assert (await restarting).ok

    assert stage.running == {"team-a-1": 2, "team-d-1": 1}


async def test_restart_of_a_server_that_is_being_started_waits_and_starts_it_again(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add("start team-a-1")
    async with waiting(stage, a="one:1"):
        await until(lambda: "start team-a-1" in engine.entered)
        restarting = asyncio.create_task(stage.controller.restart(["a"]))
        await asyncio.sleep(0)
        engine.release("start team-a-1")
        assert (await restarting).ok

    assert stage.running == {"team-a-1": 2}


async def test_a_server_waits_for_the_image_of_one_it_depends_on_and_its_neighbour_does_not(
    stage: Stage, engine: GatedEngine
) -> None:
    engine.held.add(SLOW)
    async with waiting(stage, a={"image": "one:1", "depends_on": ["d"]}, b="two:1", d=SLOW):
        await until(lambda: image(stage, "b"))
        assert not image(stage, "a")
        engine.release(SLOW)

    assert stage.serving.story.index("d attached") < stage.serving.story.index("a attached")


async def test_a_changed_server_does_not_wait_for_the_new_image_of_one_it_depends_on_that_still_serves(
    stage: Stage, engine: GatedEngine
) -> None:
    stage.have(a={"image": "one:1", "depends_on": ["d"]}, d="two:1")
    await stage.controller.apply()
    engine.held.add(SLOW)
    async with kept(stage), waiting(stage, a={"image": "one:1", "depends_on": ["d"]}, d=SLOW):
        await until(lambda: SLOW in engine.entered)
        stage.have(a={"image": "one:2", "depends_on": ["d"]}, d=SLOW)
        stage.controller.wake()
        await until(lambda: image(stage, "a") == "one:2")
        engine.release(SLOW)


async def test_pull_of_everything_does_not_hold_up_a_change(stage: Stage, engine: GatedEngine) -> None:
    stage.have(a="one:1", d=SLOW)
    await stage.controller.apply()
    engine.held.add(SLOW)
    async with kept(stage):
        pulling = asyncio.create_task(stage.controller.apply(ApplyRequest(refresh=True)))
        await until(lambda: engine.entered.count(SLOW) == 2)
        stage.have(a="one:2", d=SLOW)
        stage.controller.wake()
        await until(lambda: image(stage, "a") == "one:2")
        engine.release(SLOW)
        assert (await pulling).ok

    assert stage.running["team-d-1"] == 1


async def test_twenty_rapid_edits_converge_to_the_last_file(stage: Stage, engine: GatedEngine) -> None:
    engine.held |= {SLOW, "slow:2"}
    files: list[dict[str, Any]] = [
        {
            "a": {"image": f"one:{1 + n % 2}", "environment": {"N": str(n)}},
            **({"b": {"image": "two:1", "environment": {"N": str(n // 3)}}} if n % 4 else {}),
            **({"d": f"slow:{1 + n // 5 % 2}"} if n % 7 else {}),
        }
        for n in range(20)
    ]
    async with kept(stage), waiting(stage, **files[0]) as up:
        for file in files[1:]:
            stage.have(**file)
            stage.controller.wake()
            for _ in range(7):
                await asyncio.sleep(0)
        engine.release(SLOW)
        engine.release("slow:2")
        await until(lambda: len(stage.running) == 3 and image(stage, "d") == "slow:2")
        await until(lambda: dict(stage.world.instances["team-a-1"].spec.environment) == {"N": "19"})
        assert (await up).ok

    await stage.controller.look()
    assert str((await stage.controller.preview()).plan) == ""
    assert dict(stage.world.instances["team-b-1"].spec.environment) == {"N": "6"}
    assert image(stage, "a") == "one:2"


async def test_registries_that_do_not_answer_do_not_use_up_the_turns_of_the_others(
    engine: GatedEngine,
) -> None:
    engine.held.add(SLOW)
    images = Images(engine, Turns(images=1, quiet=0.01))
    hanging = asyncio.create_task(images.have(RegistryImage(SLOW), False, silent))
    await until(lambda: SLOW in engine.entered)

    async with asyncio.timeout(5):
        await images.have(RegistryImage("one:1"), False, silent)

    assert not hanging.done()
    engine.release(SLOW)
    await hanging


async def test_no_round_comes_back_for_a_failed_server_that_is_being_tried_again_or_is_gone(
    stage: Stage, engine: GatedEngine
) -> None:
    stage.have(bad="nowhere:1")
    await stage.controller.apply()
    patience = stage.controller._rounds.patience
    assert patience.next_try() == 5
    stage.now += 6
    engine.held.add("nowhere:1")

    looking = asyncio.create_task(stage.controller.look())
    await until(lambda: engine.entered.count("nowhere:1") == 2)
    assert patience.next_try() == float("inf")

    engine.release("nowhere:1")
    await looking
    assert patience.next_try() == 10
    stage.have(a="one:1")
    await stage.controller.look()
    assert patience.next_try() == float("inf")


async def test_a_caller_that_goes_away_breaks_nothing_off(stage: Stage, engine: GatedEngine) -> None:
    engine.held.add("start team-a-1")
    async with waiting(stage, a="one:1") as up:
        await until(lambda: "start team-a-1" in engine.entered)
        up.cancel()
    engine.release("start team-a-1")

    await until(lambda: stage.running == {"team-a-1": 1})

    assert engine.cancelled == []


async def test_close_ends_everything_and_waits_for_it(stage: Stage, engine: GatedEngine) -> None:
    engine.held |= {SLOW, "start team-a-1"}
    async with waiting(stage, a="one:1", d=SLOW):
        await until(lambda: {SLOW, "start team-a-1"} <= set(engine.entered))

        await stage.controller.close(patience=0.01)

        assert sorted(engine.cancelled) == [SLOW, "start team-a-1"]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("work on")]


async def test_work_that_breaks_costs_only_its_own_server(stage: Stage, engine: GatedEngine) -> None:
    async def broken(name: str, values: Values) -> Endpoint:
        if name == "team-b-1":
            raise KeyError(name)
        return await GatedEngine.start_instance(engine, name, values)

    engine.start_instance = broken
    stage.have(a="one:1", b="two:1")

    outcome = await stage.controller.apply()

    assert str(outcome.errors["b"]) == "internal error: KeyError"
    assert list(outcome.errors) == ["b"]
    assert stage.running == {"team-a-1": 1}


@pytest.mark.parametrize("verb", ["stop", "down"])
async def test_a_server_that_the_supervisor_is_just_starting_again_is_ended_by_stop_and_down(
    stage: Stage, engine: GatedEngine, verb: str
) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    engine.held.add("start team-a-1")
    restart = asyncio.create_task(stage.controller.restart_instance("a"))
    await until(lambda: engine.entered.count("start team-a-1") == 2)

    ending = asyncio.create_task(stage.controller.stop(["a"]) if verb == "stop" else stage.controller.down())
    await asyncio.sleep(0.01)
    engine.release("start team-a-1")
    await ending

    assert stage.running == {}
    with pytest.raises(InstanceMissing):
        await restart


async def test_a_supervisor_that_is_called_off_in_a_restart_leaves_nothing_running_unheld(
    stage: Stage, engine: GatedEngine
) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    engine.held.add("start team-a-1")
    restart = asyncio.create_task(stage.controller.restart_instance("a"))
    await until(lambda: engine.entered.count("start team-a-1") == 2)

    restart.cancel()
    await asyncio.gather(restart, return_exceptions=True)
    stopping = asyncio.create_task(stage.controller.stop(["a"]))
    engine.release("start team-a-1")
    await stopping

    assert engine.cancelled == []
    assert stage.running == {}


async def test_a_restart_that_the_machine_refuses_is_an_error_of_ours(stage: Stage, engine: GatedEngine) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    async def full(_name: str, _values: Values) -> Endpoint:
        raise OSError(28, "No space left on device")

    engine.start_instance = full

    with pytest.raises(EngineError, match="No space left"):
        await stage.controller.restart_instance("a")


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), OSError(24, "Too many open files"), KeyError("x")])
async def test_a_server_whose_start_breaks_never_stays_starting(
    stage: Stage, engine: GatedEngine, error: Exception
) -> None:
    async def broken(_name: str, _values: Values) -> Endpoint:
        raise error

    engine.start_instance = broken
    stage.have(a="one:1")

    outcome = await stage.controller.apply()

    assert list(outcome.errors) == ["a"]
    assert stage.serving.states["a"].startswith("failed: ")
