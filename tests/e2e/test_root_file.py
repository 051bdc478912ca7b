"""The README's first command with an engine: the root file's three servers, hardened, for a real client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.containers import Containers, assert_hardened
from harness.wait import until_async
from harness.workspace import Workspace, text

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(900)]

NAMES = ("time", "memory", "everything")


@pytest.fixture
def clone(repository: Path) -> Iterator[Workspace]:
    """What `make up` runs on, under a project name of its own, with the package installed already."""
    workspace = Workspace()
    view = Containers(workspace.name)
    for name in ("Makefile", "pyproject.toml", "mcp-compose.yaml"):
        shutil.copy2(repository / name, workspace.directory / name)
    shutil.copytree(repository / "scripts", workspace.directory / "scripts")
    root = workspace.file.read_text()
    assert "\nname: mcp-compose\n" in root
    workspace.file.write_text(root.replace("\nname: mcp-compose\n", f"\nname: {workspace.name}\n"))
    install(workspace.directory)
    yield workspace
    workspace.destroy()
    left = view.leftovers()
    view.remove_all()
    assert not left


def install(directory: Path) -> None:
    """As `scripts/install` leaves it behind, with this environment's package."""
    programs = directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "mcp-compose").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mcpcompose "$@"\n')
    (programs / "mcp-compose").chmod(0o755)
    wanted = (directory / "pyproject.toml").read_text()
    state = subprocess.run(["cksum"], input=wanted, capture_output=True, text=True, check=True).stdout.strip()
    (directory / ".venv" / ".installed").write_text(f"{state} {directory}")


async def test_make_up_serves_the_root_files_three_servers_from_hardened_containers(clone: Workspace) -> None:
    view = Containers(clone.name)
    output = clone.base / "output.txt"
    with output.open("w") as sink:
        make = subprocess.Popen(
            ["make", "up"],
            cwd=clone.directory,
            env={key: value for key, value in clone.environ.items() if key != "ENGINE"},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        await until_async(
            lambda: make.poll() is not None or "http://127.0.0.1:" in output.read_text(), "the endpoint", 600
        )
        assert make.poll() is None, output.read_text()
        clone.when_ready(*NAMES, bound=300)
        await use_all_three(clone)
        for name in NAMES:
            assert_hardened(view.of(name))
            assert view.of(name)["HostConfig"]["NetworkMode"] == "none"
            assert not view.of(name)["HostConfig"]["Binds"]
        token = clone.token()
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGINT)
        make.wait(60)

    assert view.networks() == set()
    assert view.running() == set()
    assert token not in output.read_text()
    assert "Traceback" not in output.read_text()


async def use_all_three(clone: Workspace) -> None:
    async with clone.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {name.partition("__")[0] for name in names} == set(NAMES)
        assert "everything__get-env" not in names
        assert "UTC" in text(await client.call_tool("time__get_current_time", {"timezone": "UTC"}))
        assert "42" in text(await client.call_tool("everything__get-sum", {"a": 2, "b": 40}))
        entity = {"name": "one", "entityType": "test", "observations": []}
        assert "one" in text(await client.call_tool("memory__create_entities", {"entities": [entity]}))
        assert "one" in text(await client.call_tool("memory__read_graph", {}))
