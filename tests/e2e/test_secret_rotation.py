"""A secret's value changes while everything runs: the servers that get it are replaced, and only they."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.containers import Containers
from harness.wait import until_async
from harness.workspace import COMMAND, Workspace, echo, text
from mcpcompose.engine.ownership import hash_of
from mcpcompose.orchestrator.hashes import differences

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

READ = "/run/secrets/"


def put(path: Path, content: str) -> None:
    """Save as editors do, by rename."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(content)
    draft.rename(path)


def secret(workspace: Workspace, *arguments: str, value: str = "") -> None:
    done = subprocess.run(
        [*COMMAND, "secret", *arguments],
        cwd=workspace.directory, env=workspace.environ, input=value, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        workspace.environ.pop(name, None)
    put(workspace.directory / "key.txt", "file-1\n")
    put(workspace.directory / "own.env", "KEY=dotenv-1\n")
    put(workspace.directory / "plain.env", "PLAIN=plain-1\n")
    secret_sources = {
        "file": {"file": "./key.txt"},
        "dotenv": {"dotenv": {"file": "./own.env", "key": "KEY"}},
        "keyring": [{"environment": "NO_SUCH"}, {"keyring": "rotated"}],
        "still": {"environment": "STILL"},
    }
    workspace.environ["STILL"] = "still-1"
    servers = {
        "file": echo(secrets=["file"]),
        "dotenv": echo(secrets=[{"source": "dotenv", "env": "TOKEN"}]),
        "keyring": echo(environment={"TOKEN": "Bearer ${secret:keyring}"}),
        "plain": echo(env_file=["./plain.env"]),
        "still": echo(secrets=["still"]),
    }
    workspace.save(servers, secrets=secret_sources)
    secret(workspace, "set", "keyring", value="keyring-1")
    workspace.up()
    workspace.when_ready()
    return workspace


async def test_each_kind_of_source_is_noticed_and_replaces_only_its_own_server(
    project: Workspace, containers: Containers
) -> None:
    directory = project.directory
    changes: dict[str, tuple[Callable[[], None], tuple[str, str], str]] = {
        "file": (lambda: put(directory / "key.txt", "file-2\n"), ("read", READ + "file"), "file-2"),
        "dotenv": (lambda: put(directory / "own.env", "KEY=dotenv-2\n"), ("env", "TOKEN"), "dotenv-2"),
        "keyring": (
            lambda: secret(project, "set", "keyring", value="keyring-2\n"),
            ("env", "TOKEN"),
            "Bearer keyring-2",
        ),
        "plain": (lambda: put(directory / "plain.env", "PLAIN=plain-2\n"), ("env", "PLAIN"), "plain-2"),
    }
    for server, (change, (tool, argument), expected) in changes.items():
        before = containers.traces()

        change()

        name = f"{project.name}-{server}-1"
        await until_async(
            lambda name=name, before=before: containers.traces().get(name) != before[name], f"{server} is new"
        )
        await until_async(lambda server=server: project.servers()[server]["state"] == "ready", f"{server} serves")
        async with project.client() as client:
            said = await client.call_tool(f"{server}__{tool}", {"text": argument})
        assert text(said).strip() == expected
        after = containers.traces()
        assert {other for other in after if after[other] != before[other]} == {name}
        assert after[name][0] != before[name][0]

    before = containers.traces()
    put(directory / "key.txt", "file-2\n")  # saved again, the same
    secret(project, "set", "keyring", value="keyring-2")
    project.up()
    assert containers.traces() == before
    assert json.loads(project.run("plan", "--format", "json").stdout)["steps"] == []


async def test_a_value_that_is_removed_leaves_what_runs_and_says_what_is_missing(
    project: Workspace, containers: Containers
) -> None:
    before = containers.traces()

    secret(project, "rm", "keyring")

    await until_async(lambda: (project.status()["problem"] or {}).get("kind") == "SecretMissing", "it is noticed")
    assert "`mcp-compose secret set keyring`" in project.run("ps").stderr
    async with project.client() as client:
        assert text(await client.call_tool("keyring__env", {"text": "TOKEN"})) == "Bearer keyring-1"
    assert containers.traces() == before


def test_what_tells_that_a_value_changed_says_nothing_on_another_machine(
    project: Workspace, containers: Containers
) -> None:
    """The label is another one under another key, and no digest of the value alone."""
    ours = label(containers, "still")
    other = Workspace(project.name, STILL="still-1")
    try:
        project.run("down")
        other.save({"still": echo(secrets=["still"])}, secrets={"still": {"environment": "STILL"}})
        other.up()
        theirs = label(containers, "still")
    finally:
        other.destroy()

    assert differing_parts(ours, theirs) >= {"secret"}
    digests = [hashlib.new(kind, b"still-1").hexdigest() for kind in ("sha256", "sha1", "md5", "blake2b")]
    assert not any(digest[:16] in ours for digest in digests)


def label(containers: Containers, server: str) -> str:
    return hash_of(containers.of(server)["Config"]["Labels"])


def differing_parts(one: str, other: str) -> set[str]:
    return set(differences(one, other))


def test_the_keyrings_own_files_cannot_be_mounted_into_a_server(workspace: Workspace, containers: Containers) -> None:
    for folder in ("data", "data/keyring", "state/keyring", "data/keyring/keyring.json"):
        workspace.save({"thief": echo(volumes=[f"{workspace.home}/{folder}:/mnt:ro"])})
        workspace.run("trust", "--all", code=None)

        done = workspace.run("up", "-d", code=2)

        assert "files that belong to `mcp-compose`" in done.stderr
    assert containers.all() == {}


async def test_a_new_header_value_reaches_the_remote_server_without_an_up(workspace: Workspace, free_port: int) -> None:
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        workspace.environ.pop(name, None)
    environ = {"PORT": str(free_port), "PATH": os.environ["PATH"]}
    remote = subprocess.Popen([sys.executable, str(workspace.directory / "programs/web.py")], env=environ)
    try:
        server = {"url": f"http://127.0.0.1:{free_port}/mcp", "headers": {"X-Key": "${secret:k}"}}
        workspace.save({"remote": server}, engine="process", secrets={"k": {"keyring": "k"}})
        secret(workspace, "set", "k", value="first")
        workspace.run("trust", "--all")
        workspace.up()
        workspace.when_ready("remote")

        async def said() -> str:
            async with workspace.client() as client:
                return text(await client.call_tool("remote__header", {"text": "x-key"}))

        assert await said() == "first"
        secret(workspace, "set", "k", value="second")
        async with asyncio.timeout(30):
            while await said() != "second":  # noqa: ASYNC110  the neighbour's view has no event
                await asyncio.sleep(0.1)
    finally:
        remote.terminate()
        remote.wait(10)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
