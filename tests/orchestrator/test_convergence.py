"""Law: whatever hangs, and whatever is asked meanwhile, in the end runs what the last file says, and nothing else."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from mcpcompose.errors import UsageError
from mcpcompose.orchestrator.outcome import Outcome
from orchestrator.stage import Stage
from orchestrator.test_under_way import GatedEngine, kept

NAMES = ("a", "b", "c", "d")
GATES = ("slow:1", "slow:2", *(f"{verb} team-{name}-1" for verb in ("start", "stop") for name in NAMES))
IMAGES = ("one:1", "one:2", "two:1", "slow:1", "slow:2")


def some_servers(chance: random.Random, images: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in NAMES:
        if chance.random() < 0.25:
            continue
        keys: dict[str, Any] = {"image": chance.choice(images), "environment": {"V": chance.choice("12")}}
        if chance.random() < 0.3:
            keys["network"] = "isolated"
        if chance.random() < 0.3:
            keys["volumes"] = ["x:/data"]
        if found and chance.random() < 0.3:
            keys["depends_on"] = [chance.choice(list(found))]
        found[name] = keys
    return found


async def disturb(stage: Stage, engine: GatedEngine, chance: random.Random) -> list[asyncio.Task[Outcome]]:
    """Edits, commands, things that hang and go on again, in any order."""
    controller = stage.controller
    asked = [asyncio.create_task(controller.apply())]
    for _ in range(25):
        servers = [chance.choice(NAMES)]
        match chance.choices(("edit", "up", "hold", "release", "restart", "stop", "down"), (6, 2, 4, 3, 1, 1, 1))[0]:
            case "edit":
                stage.have(**some_servers(chance, (*IMAGES, "nowhere:1")))
                controller.wake()
            case "up":
                stage.have(**some_servers(chance, (*IMAGES, "nowhere:1")))
                asked.append(asyncio.create_task(controller.apply()))
            case "hold":
                engine.held.add(chance.choice(GATES))
            case "release" if engine.held:
                engine.release(chance.choice(sorted(engine.held)))
            case "restart":
                asked.append(asyncio.create_task(controller.restart(servers)))
            case "stop":
                asked.append(asyncio.create_task(controller.stop(servers)))
            case "down":
                asked.append(asyncio.create_task(controller.down()))
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
    return asked


@pytest.mark.parametrize("seed", range(30))
async def test_in_the_end_runs_what_the_last_file_says(stage: Stage, seed: int) -> None:
    chance, engine = random.Random(seed), GatedEngine(stage)
    controller = stage.fresh(engine)
    stage.have(**some_servers(chance, IMAGES))
    async with asyncio.timeout(20), kept(stage):
        asked = await disturb(stage, engine, chance)
        last = some_servers(chance, IMAGES)
        stage.have(**last)
        for gate in list(engine.held):
            engine.release(gate)
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert (await controller.apply()).ok

        assert str((await controller.preview()).plan) == ""
        assert set(stage.running) == {f"team-{name}-1" for name in last}
        assert set(stage.serving.endpoints) == set(last)
        assert not controller.status().errors
        assert not [name for name in engine.cancelled if name.endswith("-1")], "never in the middle of a change"
        assert not [one for one in ended if isinstance(one, BaseException) and not isinstance(one, UsageError)]

        await controller.down(volumes=True)
        world = stage.world
        assert (world.instances, world.networks, world.volumes) == ({}, {}, {})
    await controller.close()
