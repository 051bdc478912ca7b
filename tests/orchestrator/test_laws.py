"""Laws: the plan is empty after execute; a crash at any step ends in the same state."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.orchestrator.controller import Controller
from orchestrator.stage import Stage

NAMES = ("a", "a-1", "b", "b-1-c")


@st.composite
def server(draw: st.DrawFn) -> dict[str, Any]:
    keys: dict[str, Any] = {"image": draw(st.sampled_from(["one:1", "one:2", "two:1"]))}
    if draw(st.booleans()):
        keys["transport"] = {"http": {"port": draw(st.integers(1000, 1002))}}
    if draw(st.booleans()):
        keys["network"] = draw(st.sampled_from(["none", "isolated"]))
    if draw(st.booleans()):
        keys["volumes"] = [f"{draw(st.sampled_from(['x', 'y']))}:/data"]
    if draw(st.booleans()):
        keys["environment"] = {"V": draw(st.sampled_from(["1", "2"]))}
    return keys


projects = st.dictionaries(st.sampled_from(NAMES), server(), max_size=3)


def picture(stage: Stage) -> dict[str, Any]:
    """Everything on the engine that a person could see."""
    world = stage.world
    return {
        "instances": {name: found.spec for name, found in world.instances.items() if found.running},
        "idle": [name for name, found in world.instances.items() if not found.running],
        "networks": dict(world.networks),
    }


async def finish(stage: Stage) -> None:
    for found in list(stage.world.instances.values()):
        await stage.world.end(found)


@settings(max_examples=40, deadline=None)
@given(st.lists(projects, min_size=1, max_size=4))
def test_the_plan_is_empty_after_execute_whatever_was_there_before(edits: list[dict[str, Any]]) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(Path(folder) / "work")
            for edit in edits:
                stage.have(**edit)
                outcome = await stage.controller.apply()
                assert outcome.ok
                assert str((await stage.controller.preview()).plan) == ""
                assert set(stage.running) == {f"team-{name}-1" for name in edit}
                assert len(stage.world.instances) == len(edit)
                assert stage.serving.endpoints.keys() == edit.keys()
            await finish(stage)

    asyncio.run(check())


class Killed(BaseException):
    """The gateway process died here."""


class MortalEngine(MemoryEngine):
    """Dies at the *calls*-th call that changes something: before it, or right after it."""

    calls = 1 << 30
    after = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.partition("_")[0] not in {"ensure", "create", "remove", "start", "connect", "stop"}:
            return found

        async def call(*given: Any, **keys: Any) -> Any:
            self.calls -= 1
            if self.calls < 0 and not self.after:
                raise Killed
            result = await found(*given, **keys)
            if self.calls < 0:
                raise Killed
            return result

        return call


BEFORE = {
    "a": {"image": "one:1", "transport": {"http": {"port": 1}}},
    "b": {"image": "two:1", "network": "isolated", "volumes": ["x:/x"]},
    "gone": {"image": "two:1", "network": "isolated"},
}
AFTER = {
    "a": {"image": "one:2", "transport": {"http": {"port": 1}}, "network": "none"},
    "b": {"image": "two:1", "network": "isolated", "environment": {"A": "1"}, "volumes": ["x:/x", "y:/y"]},
    "new": {"image": "one:1", "transport": {"http": {"port": 2}}, "depends_on": ["b"]},
}


CHANGES = 17
"""How many calls the change takes."""


async def dies(controller: Controller) -> bool:
    try:
        await controller.apply()
    except BaseExceptionGroup as error:
        return error.subgroup(Killed) is not None
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("calls", range(24))
async def test_a_crash_at_any_step_ends_in_the_same_state_with_nothing_stray(
    tmp_path: Path, calls: int, after: bool
) -> None:
    stage = Stage(tmp_path / "work")
    stage.have(**BEFORE)
    await stage.controller.apply()
    stage.have(**AFTER)
    mortal = MortalEngine(stage.programs, world=stage.world)
    mortal.calls, mortal.after = calls, after
    died = await dies(stage.fresh(mortal))
    assert died == (calls < CHANGES)
    await mortal.close()

    outcome = await stage.fresh().apply()

    assert outcome.ok
    untouched = Stage(tmp_path / "work")
    untouched.have(**AFTER)
    await untouched.controller.apply()
    assert picture(stage) == picture(untouched)
    assert not (await stage.controller.preview()).plan

    await stage.controller.down(volumes=True)
    assert not stage.world.instances
    assert not stage.world.networks
    assert not stage.world.volumes
    await finish(untouched)
