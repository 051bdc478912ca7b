"""`kill -9` of the gateway at any moment, then `up`: the same end state, no stray, and `down` leaves nothing."""

from __future__ import annotations

import contextlib
import random
import subprocess

import psutil
import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import COMMAND, Workspace, echo, program, text

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(3000)]

NAMES = ("a", "b", "web")
SEED = 20260728


def servers(version: int) -> dict[str, dict[str, object]]:
    return {
        "a": echo(environment={"VERSION": str(version)}),
        "b": echo(depends_on=["a"]),
        "web": program("web.py", transport={"http": {"port": 8000}}, environment={"VERSION": str(version)}),
    }


def test_after_a_kill_at_any_moment_up_reaches_the_same_end_state(
    workspace: Workspace, containers: Containers, scale: int
) -> None:
    moments = random.Random(SEED)
    for run in range(5 * scale):
        workspace.save(servers(run))
        delay = moments.uniform(0, 2.5)
        started = start(workspace)
        kill_after(workspace, started, delay)

        workspace.up()
        workspace.when_ready(*NAMES)

        assert containers.running() == {f"{workspace.name}-{name}-1" for name in NAMES}, (run, delay)
        assert set(containers.all()) == containers.running(), (run, delay)
        assert containers.networks() == {f"{workspace.name}-web"}, (run, delay)
        assert len(workspace.gateways()) == 1, (run, delay)

    workspace.run("down")
    assert containers.leftovers() == set()
    until(lambda: not workspace.processes(), "nothing runs")


async def test_stdio_servers_are_restarted_in_place_and_http_ones_kept_after_a_kill(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(servers(1))
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
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(delay)  # the moment of the kill is what this test varies
    for process in workspace.processes():
        if psutil.pid_exists(process.pid):
            process.kill()
    started.wait(10)
    until(lambda: not workspace.processes(), "everything is dead")
