"""On a real engine: what an earlier run left is adopted, what changed is replaced, down leaves nothing."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.containers import BASE_IMAGE
from mcpcompose.engine.docker import DockerEngine
from mcpcompose.paths import ProjectPaths
from mcpcompose.spec.identity import Owner
from orchestrator.stage import Stage, project

pytestmark = pytest.mark.docker

ECHO = ["python3", "-uc", "import sys\nfor line in sys.stdin: print(line, end='')"]
WEB = ["python3", "-m", "http.server", "8000", "-d", "/tmp"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    folder = tmp_path / "work"
    folder.mkdir()
    made = Stage(folder, owner=Owner("x", uuid.uuid4().hex[:16]))
    made.fresh(engine(tmp_path))
    yield made
    await made.controller.down(volumes=True)
    await made.engine.close()


def engine(tmp_path: Path) -> DockerEngine:
    paths = ProjectPaths(tmp_path / "run", tmp_path / "state", tmp_path / "cache").make()
    return DockerEngine(paths, lambda _name, _data: None, os.environ)


async def test_a_project_on_a_real_engine_is_brought_up_adopted_changed_and_taken_down(
    stage: Stage, tmp_path: Path
) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"

    def have(value: str, **more: object) -> None:
        echo = {"image": BASE_IMAGE, "command": ECHO, "secrets": ["k"], "stop_grace_period": 1}
        web = {"image": BASE_IMAGE, "command": WEB, "transport": {"http": {"port": 8000}}, "stop_grace_period": 1}
        stage.write(
            project(
                stage.folder,
                name=name,
                servers={"echo": echo, "web": web, **more},
                secrets={"k": ({"environment": "K"},)},
            ),
            {"K": value},
        )

    have("first-value")
    assert (await stage.controller.apply()).errors == {}
    assert not (await stage.controller.apply()).plan

    old = stage.engine
    stage.fresh(engine(tmp_path))
    await old.close()
    async with asyncio.timeout(30):
        adopted = await stage.controller.apply()
    assert str(adopted.plan) in {
        f"echo: start {name}-echo-1 ({why})\nweb: connect to {name}-web-1 (attach lost)"
        for why in ("attach lost", "not running")
    }

    have("second-value", bad={"image": "mcp-compose-test/nowhere:1", "pull_policy": "never"})
    changed = await stage.controller.look()
    assert changed is not None
    assert set(changed.errors) == {"bad"}
    assert {(step.server, step.cause) for step in changed.plan.steps} == {
        ("echo", "secret changed"),
        ("bad", "not there yet"),
    }

    outcome = await stage.controller.down(volumes=True)
    assert outcome.ok
    left = await stage.engine.observe(Owner(name, stage.owner.id), frozenset(), frozenset())
    assert (left.instances, left.networks, left.volumes) == ((), (), ())
