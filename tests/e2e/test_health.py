"""A server's health check: not ready before it passes, restarted when it fails, and `ps` says which."""

from __future__ import annotations

import asyncio

import pytest

from harness.containers import Containers
from harness.wait import until, until_async
from harness.workspace import Workspace, echo, text

pytestmark = pytest.mark.docker

FAST = {"interval": "300ms", "timeout": "5s", "retries": 2}
"""Checks often enough for a test."""


def checked(test: object, **keys: object) -> dict[str, object]:
    """A server whose folder `state` decides how it is."""
    return echo(volumes=["./state:/state:ro"], healthcheck={"test": test, **FAST}, **keys)


def of(workspace: Workspace, server: str = "a") -> dict[str, object]:
    return workspace.servers()[server]


async def test_an_unwell_server_is_restarted_and_serves_again_while_its_neighbour_is_not_touched(
    workspace: Workspace, containers: Containers
) -> None:
    state = workspace.directory / "state"
    state.mkdir()
    (state / "well").touch()
    command = "test -e /state/well || { echo 'the index is broken' >&2; exit 1; }"
    workspace.save({"a": checked(command, title="Index"), "b": echo()})
    workspace.up()
    workspace.when_ready()
    assert of(workspace)["health"] == "healthy"
    assert of(workspace, "b")["health"] is None
    assert "a (Index)" in workspace.run("ps").stdout
    before = containers.traces()
    check = containers.of("a")["Config"]["Healthcheck"]
    assert check["Test"] == ["CMD-SHELL", command]
    assert (check["Interval"], check["Retries"]) == (300_000_000, 2)

    (state / "well").unlink()

    until(lambda: "the index is broken" in str(of(workspace)["reason"]), "`ps` says what the check printed", 60)
    assert "is unhealthy" in str(of(workspace)["reason"])
    assert of(workspace)["state"] != "ready"
    (state / "well").touch()
    until(lambda: of(workspace)["state"] == "ready", "it serves again", 60)
    until(lambda: of(workspace)["health"] == "healthy", "it is well again", 60)
    after = containers.traces()
    mine, other = f"{workspace.name}-a-1", f"{workspace.name}-b-1"
    assert after[mine][0] == before[mine][0]
    assert after[mine][1] != before[mine][1]
    assert after[other] == before[other]
    assert int(str(of(workspace)["restarts"])) >= 1
    async with workspace.client() as client:
        assert text(await client.call_tool("a__echo", {"text": "again"})) == "again"


def test_a_server_with_restart_no_stays_down_once_it_is_unwell(workspace: Workspace, containers: Containers) -> None:
    (workspace.directory / "state").mkdir()
    workspace.save({"a": checked(["CMD", "test", "-e", "/state/well"], restart="no")})

    workspace.up(code=None)

    until(lambda: of(workspace)["state"] == "failed", "it is given up", 60)
    assert "is unhealthy" in str(of(workspace)["reason"])
    assert of(workspace)["health"] == "unhealthy"
    assert of(workspace)["restarts"] == 0


async def test_a_server_is_not_ready_before_its_check_passed_but_answers_calls_already(
    workspace: Workspace, containers: Containers
) -> None:
    state = workspace.directory / "state"
    state.mkdir()
    slow = checked(["CMD", "test", "-e", "/state/well"])
    slow["healthcheck"] = {**slow["healthcheck"], "start_period": "60s"}  # type: ignore[dict-item]
    workspace.save({"a": slow})

    coming_up = asyncio.create_task(asyncio.to_thread(workspace.up))
    await until_async(lambda: tools_of(workspace) == 4, "it has told its tools")
    async with workspace.client() as client:
        assert text(await client.call_tool("a__echo", {"text": "early"})) == "early"
    early = of(workspace)
    assert (early["state"], early["health"]) == ("starting", "starting")
    assert "has not passed yet" in workspace.run("ps").stdout
    assert not coming_up.done()
    (state / "well").touch()

    await coming_up
    assert (of(workspace)["state"], of(workspace)["health"]) == ("ready", "healthy")


def test_a_check_that_is_taken_out_of_the_file_is_taken_off_the_container(
    workspace: Workspace, containers: Containers
) -> None:
    (workspace.directory / "state").mkdir()
    workspace.save({"a": checked(["CMD", "true"])})
    workspace.up()
    workspace.when_ready()
    made = containers.id_of("a")

    workspace.save({"a": {**checked(["CMD", "true"]), "healthcheck": {"disable": True}}})

    until(lambda: containers.id_of("a") not in {None, made}, "the container is made anew", 60)
    workspace.when_ready()
    assert containers.of("a")["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert of(workspace)["health"] is None


def tools_of(workspace: Workspace) -> int:
    """How many tools `ps` counts; none while nothing answers."""
    return int(workspace.servers().get("a", {}).get("tools") or 0)
