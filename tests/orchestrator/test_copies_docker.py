"""Further instances on a real engine: as hardened as the first, on its network, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from harness.containers import BASE_IMAGE
from mcpcompose.engine.base import HttpEndpoint, ObservedState, StreamEndpoint
from mcpcompose.engine.docker import DockerEngine
from mcpcompose.engine.process import ProcessEngine
from mcpcompose.paths import ProjectPaths
from mcpcompose.spec.identity import Owner
from orchestrator.stage import Stage, project

pytestmark = pytest.mark.docker

ECHO = ["python3", "-uc", "import os, sys\nfor line in sys.stdin: print(open('/run/secrets/k').read(), line, end='')"]
WEB = ["python3", "-m", "http.server", "8000", "-d", "/tmp"]


class Heard:
    def __init__(self) -> None:
        self.data = b""
        self.end: str | None = None
        self.news = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.news.set()

    def stream_ended(self, reason: str) -> None:
        self.end = reason
        self.news.set()


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


def have(stage: Stage, name: str) -> Owner:
    echo = {"image": BASE_IMAGE, "command": ECHO, "secrets": ["k"], "scope": "session", "stop_grace_period": 1}
    web = {
        "image": BASE_IMAGE, "command": WEB, "transport": {"http": {"port": 8000}}, "scope": "session",
        "instances": {"limit": 15}, "stop_grace_period": 1,
    }  # fmt: skip
    what = project(stage.folder, name=name, servers={"echo": echo, "web": web}, secrets={"k": ({"environment": "K"},)})
    stage.write(what, {"K": "value"})
    return Owner(name, stage.owner.id)


async def left(stage: Stage, owner: Owner) -> ObservedState:
    return await stage.engine.observe(owner, frozenset(), frozenset())


async def test_further_instances_run_beside_the_first_and_go_with_the_project(stage: Stage, tmp_path: Path) -> None:
    owner = have(stage, f"t{uuid.uuid4().hex[:8]}")
    assert (await stage.controller.apply()).errors == {}
    instances = stage.controller.instances

    (echo, endpoint), *webs = await asyncio.gather(
        instances.start_copy("echo"), *(instances.start_copy("web") for _ in range(15))
    )

    assert echo == f"{owner.project}-echo-2"
    assert isinstance(endpoint, StreamEndpoint)
    heard = Heard()
    endpoint.stream.listen(heard)
    endpoint.stream.write(b"hello\n")
    async with asyncio.timeout(10):
        while not heard.data.endswith(b"\n"):
            heard.news.clear()
            await heard.news.wait()
    assert heard.data == b"value hello\n"
    urls = {endpoint.url for _, endpoint in webs if isinstance(endpoint, HttpEndpoint)}
    assert len(urls) == len(webs)  # each has an address of its own
    assert str((await stage.controller.apply()).plan) == ""

    await instances.stop_copy("echo", echo)
    async with asyncio.timeout(10):
        while heard.end is None:
            heard.news.clear()
            await heard.news.wait()
    assert echo not in {found.name for found in (await left(stage, owner)).instances}
    assert not (tmp_path / "run" / "secrets" / echo).exists()

    await stage.controller.down()
    assert await left(stage, owner) == ObservedState()


async def test_what_a_gateway_that_was_killed_left_is_removed_by_the_next(stage: Stage, tmp_path: Path) -> None:
    owner = have(stage, f"t{uuid.uuid4().hex[:8]}")
    await stage.controller.apply()
    for server in ("echo", "web"):
        await stage.controller.instances.start_copy(server)
    before = stage.engine

    stage.fresh(engine(tmp_path))
    assert (await stage.controller.apply()).errors == {}

    assert sorted(found.name for found in (await left(stage, owner)).instances) == [
        f"{owner.project}-echo-1",
        f"{owner.project}-web-1",
    ]
    await before.close()


async def test_a_resting_server_is_a_stopped_container_and_wakes(stage: Stage) -> None:
    owner = have(stage, f"t{uuid.uuid4().hex[:8]}")
    await stage.controller.apply()

    for server in ("echo", "web"):
        await stage.controller.instances.rest(server)
    assert [found.running for found in (await left(stage, owner)).instances] == [False, False]
    assert str((await stage.controller.apply()).plan) == ""

    for server in ("echo", "web"):
        await stage.controller.restart_instance(server)
    assert [found.running for found in (await left(stage, owner)).instances] == [True, True]
    assert str((await stage.controller.apply()).plan) == ""


async def test_further_processes_on_the_host_end_with_the_project(stage: Stage, tmp_path: Path) -> None:
    paths = ProjectPaths(tmp_path / "run2", tmp_path / "state2", tmp_path / "cache2").make()
    await stage.engine.close()
    stage.fresh(ProcessEngine(paths, lambda _name, _data: None, os.environ))  # type: ignore[arg-type]
    server = {"process": ["python3", "-uc", "for line in __import__('sys').stdin: print(line, end='')"]}
    stage.write(project(stage.folder, name="host", engine="process", servers={"a": {**server, "scope": "call"}}))
    assert (await stage.apply_approved()).errors == {}
    owner = Owner("host", stage.owner.id)

    names = [(await stage.controller.instances.start_copy("a"))[0] for _ in range(2)]
    assert names == ["host-a-2", "host-a-3"]
    assert [found.running for found in (await left(stage, owner)).instances] == [True] * 3
    await stage.controller.instances.stop_copy("a", "host-a-2")
    assert [found.name for found in (await left(stage, owner)).instances] == ["host-a-1", "host-a-3"]

    await stage.controller.down()
    assert await left(stage, owner) == ObservedState()


async def test_nobody_gets_the_address_of_an_instance_that_has_ended(stage: Stage) -> None:
    owner = have(stage, f"t{uuid.uuid4().hex[:8]}")
    await stage.controller.apply()
    before = stage.serving.endpoints["web"]
    copy, ended = await stage.controller.instances.start_copy("web")
    client = docker.from_env()
    for name in (f"{owner.project}-web-1", copy):
        client.api.kill(name, "SIGKILL")
        client.api.wait(name)

    others = [await stage.controller.instances.start_copy("web") for _ in range(2)]

    urls = [endpoint.url for _, endpoint in others if isinstance(endpoint, HttpEndpoint)]
    assert isinstance(before, HttpEndpoint)
    assert isinstance(ended, HttpEndpoint)
    assert len({before.url, ended.url, *urls}) == 4
    assert await stage.controller.restart_instance("web") == before
    client.close()
