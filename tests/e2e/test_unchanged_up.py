"""`up` again with nothing changed: an empty plan, and no container touched."""

from __future__ import annotations

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import Workspace, echo

pytestmark = pytest.mark.docker


@pytest.mark.timeout(240)
def test_up_again_with_twenty_servers_plans_nothing_and_touches_no_container(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({f"s{number}": echo(cpus=0.5) for number in range(20)})
    workspace.up(bound=200)
    workspace.when_ready(bound=120)
    before = containers.traces()

    plan = workspace.run("plan")
    again = workspace.up()

    assert len(before) == 20
    assert "everything is up to date" in plan.stdout
    assert "everything is up to date" in again.stdout
    assert containers.traces() == before


def test_a_changed_server_is_replaced_and_its_neighbours_are_not_touched(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": echo(), "b": echo()})
    workspace.up()
    workspace.when_ready()
    before = containers.traces()

    workspace.save({"a": echo(), "b": echo(environment={"VERSION": "2"})})
    workspace.up()
    workspace.when_ready()

    after = containers.traces()
    assert after[f"{workspace.name}-a-1"] == before[f"{workspace.name}-a-1"]
    assert after[f"{workspace.name}-b-1"][0] != before[f"{workspace.name}-b-1"][0]


def test_down_keeps_named_volumes_and_down_v_leaves_nothing(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"a": echo(volumes=["data:/data"])})
    workspace.up()
    workspace.when_ready()

    workspace.run("down")
    kept = containers.volumes()
    workspace.run("down", "-v")

    assert kept == {f"{workspace.name}_data"}
    assert containers.leftovers() == set()
    until(lambda: not workspace.processes(), "nothing runs")
