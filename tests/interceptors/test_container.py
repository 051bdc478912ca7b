"""Containers: told and asked like programs, without network, hardened, and gone when nobody wants them any more."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.containers import BASE_IMAGE, Containers
from interceptors.outside_stage import PLAIN, around, asked, exchange
from mcpcompose.engine.base import ByteStream, Engine, Values
from mcpcompose.engine.docker import DockerEngine
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.engine.programs import Console
from mcpcompose.interceptors.base import Change, InterceptorFailed, Refuse
from mcpcompose.interceptors.container import Container
from mcpcompose.orchestrator.interceptor_containers import InterceptorContainers
from mcpcompose.orchestrator.signed import nobody_knows
from mcpcompose.paths import project_paths
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.interceptor import Interceptor as Spec


class Rounds:
    """As much of the rounds as containers look at."""

    def __init__(self, engine: Engine | None) -> None:
        self.engine = engine


def containers(engine: Engine | None, name: str = "team") -> InterceptorContainers:
    async def values_of(spec: Any) -> Values:
        return Values(environment={key: text.replace("${secret:key}", "sesame") for key, text in spec.environment})

    ready = SimpleNamespace(
        project=SimpleNamespace(name=name, signers=()), owner=Owner(name, "f" * 16), verify=nobody_knows,
        values_of=values_of,
    )  # fmt: skip
    return InterceptorContainers(Rounds(engine), lambda: ready)  # type: ignore[arg-type, return-value]


@asynccontextmanager
async def made(folder: Path, makes: InterceptorContainers, **keys: Any) -> AsyncIterator[Container]:
    spec = Spec.model_validate({"image": "policy:1", **keys})
    one = Container(spec, around(folder, spec, containers=makes))
    try:
        yield one
    finally:
        await one.close()
    assert not makes.names


async def deny_create(console: Console) -> int:
    while line := await console.readline():
        word = "no" if b'"name":"create"' in line.partition(b'"params"')[2].partition(b'"tool"')[0] else "yes"
        id_ = line.partition(b'"id":"')[2].partition(b'"')[0].decode()
        await console.send({"id": id_, "decision": "deny", "message": word})
    return 0


async def fail(_console: Console) -> int:
    return 3


@pytest.mark.parametrize("keep", [False, True])
async def test_a_container_decides_and_is_gone_afterwards(tmp_path: Path, keep: bool) -> None:
    engine = MemoryEngine({"policy:1": deny_create})
    async with made(tmp_path, containers(engine), keep=keep) as one:
        assert await asked(one, exchange()) == Refuse("no")
        assert await asked(one, exchange(params={"name": "x"})) == Refuse("yes")

    assert not engine.world.instances


async def test_a_container_that_ends_badly_is_a_failure(tmp_path: Path) -> None:
    engine = MemoryEngine({"policy:1": fail})
    async with made(tmp_path, containers(engine)) as one:
        with pytest.raises(InterceptorFailed, match="exited with code 3"):
            await asked(one, exchange())


async def test_an_image_that_nobody_has_is_a_failure_and_is_asked_for_again(tmp_path: Path) -> None:
    engine = MemoryEngine({})
    async with made(tmp_path, containers(engine)) as one:
        with pytest.raises(InterceptorFailed, match="`policy:1` does not exist"):
            await asked(one, exchange())
        engine.programs = {"policy:1": deny_create}
        assert await asked(one, exchange()) == Refuse("no")


class Waiting:
    """An image that is pulled for as long as a test likes; counts what is started."""

    def __init__(self, makes: InterceptorContainers) -> None:
        self.makes = makes
        self.pulled = asyncio.Event()
        self.started = 0

    async def prepare(self, spec: Spec) -> None:
        await self.pulled.wait()
        await self.makes.prepare(spec)

    async def start(self, spec: Spec) -> tuple[str, ByteStream]:
        self.started += 1
        return await self.makes.start(spec)

    async def stop(self, name: str) -> None:
        await self.makes.stop(name)


@pytest.mark.parametrize("keep", [False, True])
async def test_requests_that_were_given_up_while_the_image_is_pulled_start_no_container(
    tmp_path: Path, keep: bool
) -> None:
    waiting = Waiting(containers(MemoryEngine({"policy:1": deny_create})))
    spec = Spec.model_validate({"image": "policy:1", "keep": keep})
    one = Container(spec, around(tmp_path, spec, containers=waiting))
    try:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asked(one, exchange(), limit=0.05)
        waiting.pulled.set()
        assert await asked(one, exchange()) == Refuse("no")
        assert waiting.started == 1
    finally:
        await one.close()


async def test_without_an_engine_every_request_fails(tmp_path: Path) -> None:
    async with made(tmp_path, containers(None)) as one:
        with pytest.raises(InterceptorFailed, match="nothing runs now"):
            await asked(one, exchange())


async def test_the_process_engine_says_what_to_do(tmp_path: Path) -> None:
    spec = Spec.model_validate({"image": "policy:1"})
    with pytest.raises(InterceptorFailed, match="needs a container engine"):
        Container(spec, around(tmp_path, spec, engine="process", containers=containers(None)))


async def test_a_name_that_another_owner_has_is_passed_over(tmp_path: Path) -> None:
    engine = MemoryEngine({"policy:1": deny_create})
    other = containers(engine)
    spec = Spec.model_validate({"image": "policy:1"})
    await other.prepare(spec)
    name, _ = await other.start(spec)
    async with made(tmp_path, containers(engine)) as one:
        assert await asked(one, exchange()) == Refuse("no")
    assert name in engine.world.instances
    await other.stop(name)


# --- on a real engine ------------------------------------------------------------------------------------------------


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DockerEngine]:
    logged: list[bytes] = []
    paths = project_paths("t" * 16, {"MCP_COMPOSE_HOME": str(tmp_path / "home")}).make()
    made_ = DockerEngine(paths, lambda _name, data: logged.append(data), os.environ)
    yield made_
    await made_.close()


PROBE = """
import json, os, socket, sys
def told(q):
    found = {"env": sorted(os.environ), "interfaces": os.listdir("/sys/class/net"), "key": os.environ["KEY"]}
    for path in ("/probe", "/etc/probe"):
        try: open(path, "w"); found["writes"] = path
        except OSError: pass
    for host in ("1.1.1.1", "169.254.169.254", "172.17.0.1"):
        try: socket.create_connection((host, 80), 0.3); found["reaches"] = host
        except OSError: pass
    return {"id": q["id"], "decision": "deny", "message": json.dumps(found)}
for line in sys.stdin:
    print(json.dumps(told(json.loads(line))), flush=True)
"""


@pytest.mark.docker
@pytest.mark.parametrize("keep", [False, True])
async def test_a_real_container_decides_without_network_and_without_our_environment(
    tmp_path: Path, engine: DockerEngine, keep: bool
) -> None:
    name = f"ti{os.getpid()}{int(keep)}"
    keys = {"secrets": [{"source": "key", "env": "KEY"}], "command": ["python3", "-c", PROBE], "timeout": "30s"}
    async with made(tmp_path, containers(engine, name), image=BASE_IMAGE, keep=keep, **keys) as one:
        found = await asked(one, exchange(result=PLAIN), "after", 30.0)

    assert isinstance(found, Refuse)
    said = json.loads(found.message)
    assert said["key"] == "sesame"
    assert said["interfaces"] == ["lo"]
    assert "writes" not in said
    assert "reaches" not in said
    assert not {"DOCKER_HOST", "MCP_COMPOSE_HOME"} & set(said["env"])
    assert not Containers(name).all()


@pytest.mark.docker
@pytest.mark.parametrize(
    "code",
    ["import time; time.sleep(60)", "while True: print('x' * 65536)", "print('nonsense')", "raise SystemExit(1)"],
)
async def test_a_real_container_that_does_not_decide_is_a_failure_and_is_removed(
    tmp_path: Path, engine: DockerEngine, code: str
) -> None:
    name = f"tj{os.getpid()}"
    keys = {"command": ["python3", "-u", "-c", code], "timeout": "3s", "output": "64KiB"}
    async with made(tmp_path, containers(engine, name), image=BASE_IMAGE, **keys) as one:
        with pytest.raises((InterceptorFailed, TimeoutError)):
            await asked(one, exchange(), limit=3.0)

    assert not Containers(name).all()


@pytest.mark.docker
async def test_docker_interceptors_in_an_image_run_unchanged(tmp_path: Path, engine: DockerEngine) -> None:
    code = "import json, sys; q = json.load(sys.stdin); q['content'][0]['text'] = 'seen'; print(json.dumps(q))"
    keys = {"command": ["python3", "-c", code], "format": "docker", "timeout": "30s"}
    async with made(tmp_path, containers(engine, f"tk{os.getpid()}"), image=BASE_IMAGE, **keys) as one:
        found = await asked(one, exchange(result=PLAIN), "after", 30.0)

    assert found == Change(result=b'{"content":[{"type":"text","text":"seen"}]}')
