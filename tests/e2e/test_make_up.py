"""The README's first command on a machine without an engine, from a fresh copy of the repository."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clone import as_person, first_command, of_a_clone
from harness.wait import until_async
from harness.workspace import Workspace, text

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def fresh_copy(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The repository's files as a fresh clone would have them, without anything installed."""
    copy = tmp_path_factory.mktemp("clone") / "mcp-compose"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (repository / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, copy / name)
    return copy


@pytest.fixture
def clone(fresh_copy: Path) -> Iterator[Workspace]:
    """The fresh copy as a workspace, on a machine without an engine."""
    workspace = Workspace()
    workspace.environ = of_a_clone(workspace.base, workspace.environ)
    shutil.rmtree(workspace.directory)
    workspace.directory = fresh_copy
    workspace.name = "mcp-compose"
    yield workspace
    workspace.environ["MCP_COMPOSE_ENGINE"] = "process"
    workspace.destroy()


async def test_engine_process_make_up_serves_three_real_servers_to_a_real_client(clone: Workspace) -> None:
    output = clone.base / "output.txt"
    environ = {**clone.environ, "ENGINE": "process"}
    with output.open("w") as sink:
        make = subprocess.Popen(
            ["make", "up"],
            cwd=clone.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    clone.environ["MCP_COMPOSE_ENGINE"] = "process"
    try:
        await until_async(
            lambda: make.poll() is not None or "http://127.0.0.1:" in output.read_text(), "the endpoint", 400
        )
        assert make.poll() is None, output.read_text()
        clone.when_ready(bound=300)
        async with clone.client() as client:
            names = {tool.name.partition("__")[0] for tool in (await client.list_tools()).tools}
            assert "UTC" in text(await client.call_tool("time__get_current_time", {"timezone": "UTC"}))
            assert "42" in text(await client.call_tool("everything__get-sum", {"a": 2, "b": 40}))
            entity = {"name": "one", "entityType": "test", "observations": []}
            assert "one" in text(await client.call_tool("memory__create_entities", {"entities": [entity]}))
        token, shown = clone.token(), output.read_text()
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(60)

    assert names == {"time", "memory", "everything"}
    assert "not isolated" in shown
    assert "Ctrl-C" in shown
    assert token not in shown
    assert "Traceback" not in output.read_text()
    clone.run("down", "-v")
    await until_async(lambda: not clone.processes(), "nothing runs")


def test_make_up_without_an_engine_and_without_a_person_fails_and_explains(clone: Workspace) -> None:
    done = make_up(clone)

    assert done.returncode != 0
    assert "ENGINE=process make up" in done.stderr
    assert "NOT isolated" in done.stderr
    assert clone.gateways() == []


def test_make_up_without_an_engine_asks_a_person_and_a_no_starts_nothing(clone: Workspace) -> None:
    make_up(clone)  # so that everything is installed
    make, ours = as_person(["make", "up"], clone.directory, clone.environ)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1024)
    os.write(ours, b"n\n")

    assert make.wait(60) != 0
    os.close(ours)
    assert clone.gateways() == []


def make_up(clone: Workspace) -> subprocess.CompletedProcess[str]:
    return first_command(["make", "up"], clone.directory, clone.environ, bound=400)
