"""What only containers promise: hardened defaults, networks, many at once, and nothing secret left with the engine."""

from __future__ import annotations

import asyncio
import inspect
import json
import resource
import socket
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mcpcompose.engine import secret_files
from mcpcompose.engine.base import (
    BuiltImage,
    Hardening,
    Http,
    HttpEndpoint,
    Mount,
    NetworkSpec,
    RegistryImage,
    SecretFile,
    StreamEndpoint,
    Values,
)
from mcpcompose.engine.docker import DockerEngine
from mcpcompose.engine.docker_attach import AttachedStream, attach
from mcpcompose.engine.docker_host import Address
from mcpcompose.errors import DangerRefused, EngineError, EngineUnreachable, McpComposeError
from mcpcompose.spec.identity import HASH_LABEL, OWNER_LABEL, PROJECT_LABEL, SERVER_LABEL, Owner

if TYPE_CHECKING:
    from conftest import Bench


async def inspected(engine: Any, name: str) -> dict[str, Any]:
    return await engine._client.call("inspect", lambda api: api.inspect_container(name))


async def output(bench: Bench, script: str, **changes: object) -> str:
    """What a shell script prints in a container made with these settings."""
    command = ("sh", "-c", script + "; echo END; cat")
    engine = bench.engine()
    spec = bench.spec(command=command, **changes)
    _, heard = await bench.talk(engine, spec, bench.values(command=command))
    await heard.until(lambda: b"END" in heard.data)
    await engine.remove_instance(spec.name)
    return heard.data.decode()


@pytest.mark.docker
async def test_the_defaults_are_the_hardened_ones(docker_bench: Bench):
    engine = docker_bench.engine()
    await docker_bench.talk(engine, docker_bench.spec())

    host = (await inspected(engine, docker_bench.spec().name))["HostConfig"]

    wanted = {
        "Init": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": [],
        "SecurityOpt": ["no-new-privileges:true"],
        "Privileged": False,
        "PidsLimit": 256,
        "Memory": 1 << 30,
        "NanoCpus": 1_000_000_000,
        "NetworkMode": "none",
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "none", "Config": {}},
        "PublishAllPorts": False,
        "PidMode": "",
        "IpcMode": "private",
        "Devices": [],
    }
    assert {key: host[key] for key in wanted} == wanted
    assert "noexec" in host["Tmpfs"]["/tmp"]


@pytest.mark.docker
async def test_no_network_means_no_network_and_no_privilege_and_nothing_to_write_to(docker_bench: Bench):
    script = "ls /sys/class/net; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x; touch /tmp/y && echo tmp"
    said = await output(docker_bench, script)

    lines = said.split("\n")
    assert lines[0] == "lo"
    assert "eth0" not in said
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "tmp" in lines
    assert b"Read-only file system" in docker_bench.logged[docker_bench.spec().name]


@pytest.mark.docker
async def test_an_isolated_network_has_no_way_out_and_no_names(docker_bench: Bench):
    network = NetworkSpec(f"{docker_bench.project}-a", "a", tuple(docker_bench.owner.labels("a").items()))
    await docker_bench.engine().create_network(network)

    said = await output(
        docker_bench,
        "timeout 3 python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 443), 2)' 2>/dev/null && echo OUT;"
        "timeout 3 python3 -c 'import socket; print(socket.getaddrinfo(\"pypi.org\", 443))' 2>/dev/null && echo NAMES",
        network=network.name,
    )

    assert said.split() == ["END"]


@pytest.mark.docker
async def test_an_http_server_is_reached_on_its_own_network_and_found_again(docker_bench: Bench):
    bench, engine, later = docker_bench, docker_bench.engine(), docker_bench.engine()
    network = NetworkSpec(f"{bench.project}-a", "a", tuple(bench.owner.labels("a").items()))
    await engine.create_network(network)
    command = ("python3", "-u", "-m", "http.server", "8000")
    spec = bench.spec(network=network.name, transport=Http(8000, "/mcp"), command=command)
    await engine.create_instance(spec, bench.values(command=command))
    first = await engine.start_instance(spec.name, bench.values(command=command))
    await engine.close()

    second = await later.connect_instance(spec.name)

    assert isinstance(first, HttpEndpoint)
    assert second == first
    await answers(second.url)
    await bench.said(spec.name, b"GET /mcp")


async def answers(url: str) -> None:
    host, port = url.split("/")[2].split(":")
    async with asyncio.timeout(15):
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.write(b"GET /mcp HTTP/1.0\r\n\r\n")
            assert await reader.readline()
            writer.close()
            await writer.wait_closed()
            return


@pytest.mark.docker
async def test_another_owners_network_is_not_joined(docker_bench: Bench):
    stranger = Owner("other", "e" * 16)
    other = docker_bench.engine()
    name = f"{docker_bench.project}-x"
    await other.create_network(NetworkSpec(name, "x", tuple(stranger.labels("x").items())))
    try:
        with pytest.raises(EngineError, match="somebody else"):
            await docker_bench.engine().create_instance(docker_bench.spec(network=name), docker_bench.values())
    finally:
        await other.remove_network(name)


@pytest.mark.docker
async def test_a_strangers_container_is_never_stopped_or_removed(docker_bench: Bench):
    engine = docker_bench.engine()
    await engine.observe(docker_bench.owner, frozenset(), frozenset())
    client = engine._client  # type: ignore[attr-defined]
    name = f"{docker_bench.project}-b-1"
    config = {"Image": docker_bench.source.ref, "Cmd": ["sleep", "100"]}  # type: ignore[union-attr]
    await client.call("make", lambda api: api.create_container_from_config(config, name=name))
    try:
        with pytest.raises(EngineError, match="somebody else"):
            await engine.stop_instance(name, 1)
        with pytest.raises(EngineError, match="somebody else"):
            await engine.remove_instance(name)
        with pytest.raises(EngineError, match="somebody else"):
            await engine.start_instance(name, Values())
        assert (await inspected(engine, name))["State"]["Status"] == "created"
    finally:
        await client.call("remove", lambda api: api.remove_container(name))


@pytest.mark.docker
async def test_many_servers_start_at_once_and_all_answer(docker_bench: Bench, scale: int):
    count = 12 if scale == 1 else 100
    engine = docker_bench.engine()

    async def one(number: int) -> str:
        endpoint, heard = await docker_bench.talk(engine, docker_bench.spec(f"s{number}"))
        endpoint.stream.write(f"say {number}\n".encode())
        return await asyncio.wait_for(heard.line(), 60)

    answers = await asyncio.gather(*(one(number) for number in range(count)))

    assert answers == [str(number) for number in range(count)]


@pytest.mark.docker
async def test_many_networks_are_made_at_once_without_overlap(docker_bench: Bench):
    engine = docker_bench.engine()
    labels = tuple(docker_bench.owner.labels("a").items())
    specs = [NetworkSpec(f"{docker_bench.project}-n{number}", "a", labels) for number in range(40)]

    await asyncio.gather(*(engine.create_network(spec) for spec in specs))

    state = await engine.observe(docker_bench.owner, frozenset(), frozenset())
    assert state.networks == tuple(sorted(spec.name for spec in specs))
    made = await engine._client.call("inspect", lambda api: api.inspect_network(specs[0].name))  # type: ignore[attr-defined]
    assert [one["Subnet"].rpartition("/")[2] for one in made["IPAM"]["Config"]] == ["28"]


@pytest.mark.docker
async def test_a_flood_of_a_paused_reader_costs_no_memory(docker_bench: Bench):
    endpoint, heard = await docker_bench.talk(docker_bench.engine(), docker_bench.spec())
    endpoint.stream.write(b"say ready\n")
    await heard.line()
    endpoint.stream.pause_reading()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endpoint.stream.write(b"flood 102400\n")
    for _ in range(50):
        await asyncio.sleep(0.01)
    held, grown = len(heard.data), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    heard.data.clear()
    total = Counting(held)
    endpoint.stream._receiver = total  # type: ignore[attr-defined]
    endpoint.stream.resume_reading()
    await asyncio.wait_for(total.done.wait(), 60)

    assert held < 1 << 20
    assert grown < 16 << 10
    assert total.size >= 100 << 20


class Counting:
    """A receiver that keeps nothing."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.done = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if data.endswith(b"flooded\n"):
            self.done.set()

    def stream_ended(self, reason: str) -> None:
        self.done.set()


@pytest.mark.docker
async def test_a_planted_secret_is_nowhere_at_the_engine_but_in_its_variable(docker_bench: Bench):
    engine = docker_bench.engine()
    spec = docker_bench.spec(secret_files=(SecretFile("key", "key"),))
    values = docker_bench.values(environment={"TOKEN": "pl4nted-env"}, secret_files={"key": b"pl4nted-file"})
    endpoint, heard = await docker_bench.talk(engine, spec, values)
    for _ in range(1000):
        endpoint.stream.write(b"env TOKEN\nsecret key\n")
    await heard.until(lambda: heard.data.count(b"\n") >= 2000)

    found = await inspected(engine, spec.name)
    logs = await engine._client.call("ps", lambda api: json.dumps(api.containers(all=True)))  # type: ignore[attr-defined]

    assert found["Config"].pop("Env")
    assert "pl4nted" not in json.dumps(found) + logs
    assert not found["LogPath"]


@pytest.mark.docker
async def test_an_error_of_the_engine_does_not_repeat_values(docker_bench: Bench):
    engine = docker_bench.engine()
    values = docker_bench.values(command=("pl4nted-program",), environment={"TOKEN": "pl4nted-program"})
    await engine.create_instance(docker_bench.spec(hardening=Hardening(init=False)), values)

    with pytest.raises(EngineError) as refused:
        await engine.start_instance(docker_bench.spec().name, values)

    assert "pl4nted" not in f"{refused.value} {refused.value.__cause__!r}"


@pytest.mark.docker
async def test_a_container_user_reads_its_secret_files_and_nobody_can_write_them(docker_bench: Bench):
    spec = {"secret_files": (SecretFile("key", "key"),), "user": "12345:12345"}
    command = ("sh", "-c", "cat /run/secrets/key; echo x > /run/secrets/key || echo DENIED; echo END; cat")
    engine = docker_bench.engine()
    made = docker_bench.spec(command=command, **spec)
    values = docker_bench.values(command=command, secret_files={"key": b"abc\n"})
    _, heard = await docker_bench.talk(engine, made, values)
    await heard.until(lambda: b"END" in heard.data)

    assert heard.data.decode().split("\n")[:2] == ["abc", "DENIED"]


@pytest.mark.docker
async def test_a_changed_secret_file_is_there_after_a_restart(docker_bench: Bench):
    engine = docker_bench.engine()
    spec = docker_bench.spec(secret_files=(SecretFile("key", "key"),))
    await docker_bench.talk(engine, spec, docker_bench.values(secret_files={"key": b"old"}))

    started = await engine.start_instance(spec.name, docker_bench.values(secret_files={"key": b"new"}))

    endpoint, heard = await docker_bench.listen(started)
    endpoint.stream.write(b"secret key\n")
    assert await heard.line() == "new"


@pytest.mark.docker
async def test_a_symlink_to_a_dangerous_folder_makes_no_container(docker_bench: Bench):
    link = docker_bench.paths.cache.parent / "data"
    link.symlink_to("/etc")
    spec = docker_bench.spec(mounts=(Mount("bind", str(link), "/data"),))
    engine = docker_bench.engine()

    with pytest.raises(DangerRefused):
        await engine.create_instance(spec, docker_bench.values())

    assert (await engine.observe(docker_bench.owner, frozenset(), frozenset())).instances == ()


@pytest.mark.docker
async def test_memory_over_the_limit_ends_the_server_with_that_reason(docker_bench: Bench):
    command = ("python3", "-c", "x = bytearray(200 << 20); x[::4096] = x[::4096]; input()")
    spec = docker_bench.spec(command=command, hardening=replace(Hardening(), memory=32 << 20))

    _, heard = await docker_bench.talk(docker_bench.engine(), spec, docker_bench.values(command=command))

    await heard.until(lambda: heard.reason is not None)
    assert "mem_limit" in (heard.reason or "") or "137" in (heard.reason or "")


async def test_an_engine_that_does_not_answer_is_an_error_of_its_own(process_bench: Bench, tmp_path: Any):
    engine = DockerEngine(process_bench.paths, process_bench.log, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})

    with pytest.raises(EngineUnreachable) as refused:
        await engine.check()

    await engine.close()
    assert "none.sock" in str(refused.value)
    assert "--engine process" in (refused.value.hint or "")


async def test_secret_files_on_a_remote_engine_are_a_clear_error(process_bench: Bench):
    engine = DockerEngine(process_bench.paths, process_bench.log, {"DOCKER_HOST": "tcp://192.0.2.7:2376"})
    spec = replace(process_bench.spec(secret_files=(SecretFile("k", "k"),)), source=_image())

    with pytest.raises(EngineError, match="another machine"):
        await engine.create_instance(spec, Values(secret_files={"k": b"x"}))

    await engine.close()


def _image() -> Any:
    from mcpcompose.engine.base import RegistryImage

    return RegistryImage("a")


def library_exceptions() -> list[type[Exception]]:
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

    found = []
    for module in (docker.errors, requests.exceptions, urllib3.exceptions):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and not issubclass(kind, Warning):
                found.append(kind)
    return sorted(set(found), key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def example(kind: type[Exception]) -> Exception:
    """One of *kind*, made the way its constructor wants."""
    reader = SimpleNamespace(tell=lambda: 0, length_remaining=1)
    text = "something"
    for arguments in ((text,), (7, 7), (text, text), (text, text, 0), (text,) * 5, (reader, b"7")):
        with suppress(TypeError, AttributeError, ValueError):
            error = kind(*arguments)
            assert str(error) is not None
            return error
    raise AssertionError(f"no example of {kind}")


@pytest.mark.parametrize("kind", library_exceptions(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_every_exception_of_the_library_becomes_one_of_ours(kind: type[Exception]):
    from mcpcompose.engine.docker_client import our_errors

    error = example(kind)

    with pytest.raises(McpComposeError) as refused, our_errors("do a thing"):
        raise error

    assert "do a thing" in str(refused.value)


@pytest.mark.docker
async def test_a_pull_from_a_registry_that_never_answers_is_given_up_at_once_and_holds_up_nobody(
    docker_bench: Bench,
) -> None:
    registry = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = registry.getsockname()[1]
    engine, said = docker_bench.engine(), asyncio.Event()
    pulls = [
        asyncio.create_task(
            engine.ensure_image(RegistryImage(f"127.0.0.1:{port}/x/y:{n}"), progress=lambda _line: said.set())
        )
        for n in range(20)
    ]
    async with asyncio.timeout(20):
        await said.wait()
        await engine.observe(docker_bench.owner, frozenset(), frozenset())
        for pull in pulls:
            pull.cancel()
        results = await asyncio.gather(*pulls, return_exceptions=True)
        await engine.close()

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    registry.close()


@pytest.mark.docker
async def test_secret_files_that_a_killed_run_left_are_swept_and_no_others(docker_bench: Bench):
    bench, engine = docker_bench, docker_bench.engine()
    spec = bench.spec(secret_files=(SecretFile("key", "key"),))
    await bench.talk(engine, spec, bench.values(secret_files={"key": b"x"}))
    base = bench.paths.secret_files
    secret_files.write(base, f"{bench.project}-gone-1", {"key": b"x"})
    secret_files.write(base, f"{bench.project}-host-1", {"key": b"x"})
    bench.paths.instances.joinpath(f"{bench.project}-host-1.json").write_text("{}")

    await bench.engine().observe(bench.owner, frozenset(), frozenset())

    assert sorted(folder.name for folder in base.iterdir()) == [spec.name, f"{bench.project}-host-1"]


@pytest.mark.docker
async def test_an_attach_that_is_cancelled_leaves_no_connection(tmp_path: Any):
    ended = asyncio.Event()
    heard = asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.set()
        with suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_unix_server(never_answers, tmp_path / "s")
    address = Address(f"unix://{tmp_path}/s")
    task = asyncio.create_task(
        attach(address, "1.41", "x", stdin=True, log=lambda _data: None, lost=lambda _stream: None)
    )
    async with asyncio.timeout(5):
        await heard.wait()
        task.cancel()
        await ended.wait()

    assert task.cancelled()
    server.close()


async def test_a_stream_that_is_lost_with_the_engine_ends_without_an_unretrieved_error(
    process_bench: Bench, tmp_path: Any
):
    engine = DockerEngine(process_bench.paths, process_bench.log, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    stream = AttachedStream(lambda _data: None, lambda _stream: None, all_to_log=False)
    _, heard = await process_bench.listen(StreamEndpoint(stream))

    await engine._ended("a", "a", stream)

    await heard.until(lambda: heard.reason is not None)
    assert "none.sock" in (heard.reason or "")
    await engine.close()


@pytest.mark.docker
async def test_what_an_image_says_of_itself_changes_no_setting(docker_bench: Bench, tmp_path: Any):
    bench, engine = docker_bench, docker_bench.engine()
    tmp_path.joinpath("Dockerfile").write_text(
        f"FROM {bench.source.ref}\n"  # type: ignore[union-attr]
        'LABEL io.docker.server.metadata="{volumes: [/:/host], user: root, command: [evil], network: host}"\n'
        "LABEL io.mcpcompose.project=other io.mcpcompose.owner=other io.mcpcompose.server=other\n"
        'LABEL io.mcpcompose.http="80 /evil" io.mcpcompose.stop-grace=99999\n'
        f"LABEL {PROJECT_LABEL}=other {OWNER_LABEL}=other {SERVER_LABEL}=other {HASH_LABEL}=other\n"
        'ENTRYPOINT ["/bin/echo", "evil"]\nCMD ["evil"]\nENV TOKEN=evil\nEXPOSE 80\nVOLUME /data\nUSER 12345\n'
    )
    source = BuiltImage(f"mcp-compose-test/{bench.project}:1", tmp_path)
    await engine.ensure_image(source)
    try:
        spec = bench.spec(source=source, user="1000:1000", entrypoint=("/usr/bin/env",))
        values = bench.values(entrypoint=("/usr/bin/env",), environment={"TOKEN": "ours"})
        await engine.create_instance(spec, values)
        found = await inspected(engine, spec.name)
        (seen,) = (await engine.observe(bench.owner, frozenset(), frozenset())).instances
        await engine.remove_instance(spec.name)
    finally:
        await engine.remove_image(source.tag)  # type: ignore[attr-defined]

    config, host, labels = found["Config"], found["HostConfig"], found["Config"]["Labels"]
    assert {key: labels[key] for key in bench.owner.labels("a", "h1")} == bench.owner.labels("a", "h1")
    assert (seen.server, seen.config_hash) == ("a", "h1")
    assert labels["io.mcpcompose.stop-grace"] == "2"
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("1000:1000", ["/usr/bin/env"], [*bench.command])
    assert "TOKEN=ours" in config["Env"]
    assert "TOKEN=evil" not in config["Env"]
    assert (host["NetworkMode"], host["Privileged"], host["Binds"]) == ("none", False, None)
    assert not host.get("Mounts")
    assert [(one["Type"], one["Destination"]) for one in found["Mounts"]] == [("volume", "/data")]
    assert not host["PortBindings"]
    listed = await engine._client.call("list", lambda api: api.volumes().get("Volumes") or [])  # type: ignore[attr-defined]
    assert found["Mounts"][0]["Name"] not in {volume["Name"] for volume in listed}
