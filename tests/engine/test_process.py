"""What only local processes promise: an empty environment, whole groups ended, strays found, strangers spared."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcpcompose.engine.base import Hardening, Http, HttpEndpoint, Mount, PackageImage, RegistryImage, Values
from mcpcompose.engine.process import ProcessEngine
from mcpcompose.engine.process_launch import Strays
from mcpcompose.engine.process_packages import installer_environment
from mcpcompose.engine.process_records import Records, marked, start_time
from mcpcompose.errors import EngineError

if TYPE_CHECKING:
    from conftest import Bench


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while start_time(pid):  # noqa: ASYNC110  a process has no event
            await asyncio.sleep(0.02)


async def printed(bench: Bench, *command: str, until: bytes, values: Values | None = None) -> str:
    _, heard = await bench.talk(
        bench.engine(), bench.spec(command=command), replace(values or bench.values(), command=command)
    )
    await heard.until(lambda: until in heard.data)
    return heard.data.decode()


async def test_the_environment_starts_empty(process_bench: Bench):
    os.environ["PLANTED_IN_OURS"] = "x"
    try:
        said = await printed(process_bench, "sh", "-c", "env; echo END; cat", until=b"END\n")
    finally:
        del os.environ["PLANTED_IN_OURS"]

    names = {line.split("=")[0] for line in said.splitlines()} - {"PWD", "SHLVL", "_", "END", "OLDPWD", "LC_CTYPE"}
    assert names == {"PATH", "HOME", "MCP_COMPOSE_INSTANCE"}


async def test_everything_a_server_started_ends_with_it(process_bench: Bench):
    script = "sleep 300 & echo $!; setsid sleep 300 & echo $!; sleep 0.2; echo END; cat"
    said = await printed(process_bench, "sh", "-c", script, until=b"END")
    children = [int(word) for word in said.split()[:2]]

    await process_bench.engines[0].stop_instance(process_bench.spec().name, 2)

    for child in children:
        await gone(child)


async def test_everything_a_server_started_ends_when_it_exits_by_itself(process_bench: Bench):
    said = await printed(process_bench, "sh", "-c", "setsid sleep 300 & echo $!; read x", until=b"\n")
    name = process_bench.spec().name
    record = Records(process_bench.paths.instances).get(name)
    assert record is not None
    assert record.pid is not None

    os.kill(record.pid, signal.SIGKILL)

    await gone(int(said.split()[0]))


async def test_a_server_that_ignores_the_end_is_killed_after_its_grace(process_bench: Bench):
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
    await printed(process_bench, sys.executable, "-c", script, until=b"up")

    await asyncio.wait_for(process_bench.engines[0].stop_instance(process_bench.spec().name, 0.2), 8)

    state = await process_bench.engines[0].observe(process_bench.owner, frozenset(), frozenset())
    assert [one.running for one in state.instances] == [False]


HOLDER = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from mcpcompose.engine.base import HostCommand, InstanceSpec, Stdio, Values
from mcpcompose.engine.process import ProcessEngine
from mcpcompose.paths import project_paths
from mcpcompose.spec.identity import Owner
async def main():
    owner = Owner(sys.argv[1], sys.argv[2])
    paths = project_paths(owner.id, os.environ)
    engine = ProcessEngine(paths, lambda name, data: None, os.environ)
    command = ("sh", "-c", "trap '' PIPE HUP TERM; setsid sleep 300 & sleep 300 & while true; do sleep 1; done")
    labels = tuple(owner.labels("a", "h1").items())
    name, how = f"{owner.project}-a-1", {"command": command, "stop_grace_period": 0.3}
    spec = InstanceSpec(name, "a", HostCommand(), Stdio(), labels, **how)
    await engine.create_instance(spec, Values())
    await engine.start_instance(spec.name, Values())
    print("started", flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""


@pytest.mark.parametrize("then", ["down", "up"])
async def test_what_a_killed_run_left_is_found_and_ended_though_it_ignores_the_end(process_bench: Bench, then: str):
    bench = process_bench
    root = str(__file__).rsplit("/tests/", 1)[0]
    environ = {**os.environ, "MCP_COMPOSE_HOME": str(bench.paths.runtime.parents[1])}
    arguments = [sys.executable, "-c", HOLDER, bench.project, bench.owner.id, root]
    holder = await asyncio.create_subprocess_exec(*arguments, env=environ, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"started\n"
    holder.kill()
    await holder.wait()
    engine = bench.engine()
    (found,) = (await engine.observe(bench.owner, frozenset(), frozenset())).instances
    record = Records(bench.paths.instances).get(found.name)
    assert record is not None

    async with asyncio.timeout(20):  # it may only just have been begun when its owner was killed
        while len(left := [*marked(record.mark)]) < 3:  # noqa: ASYNC110  a condition of another process
            await asyncio.sleep(0.02)
    if then == "up":
        await engine.start_instance(found.name, bench.values())
    await asyncio.wait_for(engine.remove_instance(found.name), 10)

    assert (found.running, found.attached) == (True, False)
    assert len(left) >= 3
    assert [start_time(pid) for pid in left] == [""] * len(left)
    assert [*marked(record.mark)] == []
    assert start_time(record.pid or 0) == ""


async def test_a_pid_that_was_reused_is_never_touched(process_bench: Bench):
    bench, engine = process_bench, process_bench.engine()
    await engine.create_instance(bench.spec(), bench.values())
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    records = Records(bench.paths.instances)
    records.update(bench.spec().name, pid=stranger.pid, started="12345 another-boot", mark="x:y")
    try:
        state = await engine.observe(bench.owner, frozenset(), frozenset())
        await engine.stop_instance(bench.spec().name, 0.1)
        await engine.remove_instance(bench.spec().name)

        assert [one.running for one in state.instances] == [False]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_http_process_is_found_again_with_its_log(process_bench: Bench):
    bench, first, later = process_bench, process_bench.engine(), process_bench.engine()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (sys.executable, "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1")
    spec = bench.spec(command=command, transport=Http(port, "/mcp"))
    await first.create_instance(spec, bench.values(command=command))
    endpoint = await first.start_instance(spec.name, bench.values(command=command))
    await bench.said(spec.name, b"Serving")
    await first.close()

    found = await later.connect_instance(spec.name)

    assert found == endpoint == HttpEndpoint(f"http://127.0.0.1:{port}/mcp")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /later HTTP/1.0\r\n\r\n")
    await bench.said(spec.name, b"GET /later")
    writer.close()


async def test_a_port_that_somebody_else_holds_is_an_error(process_bench: Bench):
    bench, engine = process_bench, process_bench.engine()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        spec = bench.spec(transport=Http(other.getsockname()[1], "/mcp"))
        await engine.create_instance(spec, bench.values())

        with pytest.raises(EngineError, match="taken"):
            await engine.start_instance(spec.name, bench.values())


async def test_a_command_that_does_not_exist_is_an_error_without_its_arguments(process_bench: Bench):
    bench, engine = process_bench, process_bench.engine()
    values = bench.values(command=("/no/such/program", "pl4nted"))
    await engine.create_instance(bench.spec(), values)

    with pytest.raises(EngineError, match="cannot start") as refused:
        await engine.start_instance(bench.spec().name, values)

    assert "pl4nted" not in str(refused.value)


async def test_many_servers_that_end_at_once_are_one_look_at_the_processes():
    strays = Strays()

    looks = {strays.begin(f"x-{number}") for number in range(50)}

    assert len(looks) == 1
    await strays.close()


async def test_starts_that_fail_leak_no_descriptor(process_bench: Bench):
    bench, engine = process_bench, process_bench.engine()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        spec = bench.spec(transport=Http(probe.getsockname()[1], "/mcp"))
    values = bench.values(command=("/no/such/program",))
    await engine.create_instance(spec, values)
    counts = []
    for _ in range(4):
        with pytest.raises(EngineError, match="cannot start"):
            await engine.start_instance(spec.name, values)
        await asyncio.sleep(0)
        counts.append(len([*Path("/proc/self/fd").iterdir()]))

    assert counts[1:] == counts[1:2] * 3


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"source": RegistryImage("x")}, "image"),
        ({"network": "p-a"}, "network"),
        ({"mounts": (Mount("bind", "/srv/x", "/x"),)}, "volumes"),
        ({"user": "1"}, "user"),
        ({"dns": ("1.1.1.1",)}, "dns"),
        ({"extra_hosts": (("a", "1.1.1.1"),)}, "extra_hosts"),
        ({"hardening": Hardening(memory=1)}, "mem_limit"),
        ({"hardening": Hardening(read_only=False)}, "read_only"),
    ],
)
async def test_what_a_process_cannot_honour_names_a_way_out(process_bench: Bench, changes: Any, key: str):
    with pytest.raises(EngineError, match=f"`{key}`") as refused:
        await process_bench.engine().create_instance(process_bench.spec(**changes), process_bench.values())

    assert "--engine docker" in (refused.value.hint or "")


def test_an_installer_sees_no_secrets():
    seen = installer_environment({"PATH": "/bin", "GITHUB_TOKEN": "x", "AWS_SECRET": "x", "PIP_INDEX_URL": "u"})

    assert seen == {"PATH": "/bin", "PIP_INDEX_URL": "u"}


INITIALIZE = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
    b'"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
)


@pytest.mark.real
@pytest.mark.parametrize(
    ("ecosystem", "requirement", "name"),
    [("pypi", "mcp-server-time", "mcp-time"), ("npm", "@modelcontextprotocol/server-memory", "memory-server")],
)
async def test_a_package_installs_once_and_speaks(process_bench: Bench, ecosystem: Any, requirement: str, name: str):
    bench, engine = process_bench, process_bench.engine()
    assert isinstance(engine, ProcessEngine)
    source = PackageImage(f"test/{ecosystem}:1", ecosystem, requirement, "unused")
    told: list[str] = []
    identity = await engine.ensure_image(source, progress=told.append)
    again = await engine.ensure_image(source)
    spec = bench.spec(source=source, command=())
    endpoint, heard = await bench.talk(engine, spec, Values(command=()))

    endpoint.stream.write(INITIALIZE)

    assert name in await heard.line()
    assert told
    assert identity == again
    state = await engine.observe(bench.owner, frozenset(), frozenset({source.tag}))
    assert state.images == ((source.tag, identity),)
