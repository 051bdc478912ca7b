"""`kill -9` of the gateway at any moment, then `up`: the same end state, no stray, and `down` leaves nothing."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys

import psutil
import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import COMMAND, Workspace, echo, program, text

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(3000)]

NAMES = ("a", "b", "web")
SEED = 20260728


def servers(version: int) -> dict[str, dict[str, object]]:
    """Of each kind one: stdio, HTTP on a network of its own, and a process that does not end when it is asked to."""
    changing = {"VERSION": str(version)}
    return {
        "a": echo(environment=changing, volumes=["kept:/kept"]),
        "b": echo(depends_on=["a"]),
        "web": program("web.py", transport={"http": {"port": 8000}}, environment=changing),
        "own": {"process": [sys.executable, "-u", "programs/stubborn.py"], "stop_grace_period": "1s"},
    }


def test_after_a_kill_at_any_moment_up_reaches_the_same_end_state(
    workspace: Workspace, containers: Containers, scale: int
) -> None:
    moments = random.Random(SEED)
    workspace.save(servers(0))
    workspace.run("trust", "--all")
    for run in range(5 * scale):
        if run % 2:
            workspace.run("down")  # the next kill meets a gateway that starts from nothing, the others one that changes
        workspace.save(servers(run))
        delay = moments.uniform(0, 2.5)
        kill_after(workspace, start(workspace), delay)

        workspace.up()
        workspace.when_ready(*NAMES, "own")

        assert containers.running() == {f"{workspace.name}-{name}-1" for name in NAMES}, (run, delay)
        assert set(containers.all()) == containers.running(), (run, delay)
        assert containers.networks() == {f"{workspace.name}-web"}, (run, delay)
        assert len(workspace.gateways()) == 1, (run, delay)
        assert len(stubborn(workspace)) == 1, (run, delay)

    workspace.run("down")
    assert containers.leftovers() == containers.volumes() == {f"{workspace.name}_kept"}
    until(lambda: not workspace.processes(), "nothing runs")


async def test_stdio_servers_are_restarted_in_place_and_http_ones_kept_after_a_kill(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(servers(1))
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready(*NAMES)
    before = containers.traces()

    workspace.gateway().kill()
    until(lambda: not workspace.gateways(), "the gateway is dead")
    workspace.up()
    workspace.when_ready(*NAMES)

    after = containers.traces()
    assert {name: trace[0] for name, trace in after.items()} == {name: trace[0] for name, trace in before.items()}
    assert after[f"{workspace.name}-web-1"] == before[f"{workspace.name}-web-1"]
    async with workspace.client() as client:
        assert text(await client.call_tool("a__echo", {"text": "back"})) == "back"


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """`up` in the foreground: that process is the gateway, or hands the file to the one that runs."""
    return subprocess.Popen(
        [*COMMAND, "up"],
        cwd=workspace.directory,
        env=workspace.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(workspace: Workspace, started: subprocess.Popen[bytes], delay: float) -> None:
    """Kill the gateway and nothing else, *delay* seconds after *started*; what it launched is on its own."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(delay)  # the moment of the kill is what this test varies
    for process in workspace.gateways():
        process.kill()
    # An `up` whose gateway died before it could hand over becomes the gateway itself, and would stay.
    started.kill()
    started.wait(60)
    until(lambda: not workspace.gateways(), "the gateway is dead")


def stubborn(workspace: Workspace) -> list[psutil.Process]:
    return [process for process in workspace.processes() if "programs/stubborn.py" in process.cmdline()]
