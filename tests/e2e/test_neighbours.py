"""Another clone's, another program's things on the same engine, same project name included, are never touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.workspace import Workspace, echo

pytestmark = pytest.mark.docker


@pytest.fixture
def clone(workspace: Workspace) -> Iterator[Workspace]:
    """Another folder with the same project name, for the same user."""
    other = Workspace(name=workspace.name)
    yield other
    other.destroy()


def test_another_clone_with_the_same_project_name_is_an_error_and_stays_as_it_is(
    workspace: Workspace, containers: Containers, clone: Workspace
) -> None:
    workspace.save({"a": echo(), "b": echo()})
    workspace.up()
    workspace.when_ready()
    before = containers.traces()

    clone.save({"a": echo()})
    refused = clone.up(code=None)
    down = clone.run("down", "-v", code=None)

    assert refused.returncode != 0
    assert "--project-name" in refused.stderr
    assert down.returncode in {0, 1}
    assert containers.traces() == before
    assert clone.up("--project-name", f"{clone.name}x").returncode == 0
    clone.run("--project-name", f"{clone.name}x", "down", "-v")
    assert containers.traces() == before


def test_another_programs_container_network_and_volume_of_the_same_name_are_never_touched(
    workspace: Workspace, containers: Containers
) -> None:
    api = containers.client
    container = api.containers.create(BASE_IMAGE, name=f"{workspace.name}-a-1", command=["sleep", "60"])
    volume = api.volumes.create(f"{workspace.name}_data")
    before = container.attrs
    try:
        workspace.save({"a": echo(), "b": echo(), "c": echo(volumes=["data:/data"])})
        done = workspace.up(code=None)
        down = workspace.run("down", "-v", code=None)

        container.reload()
        assert done.returncode != 0
        assert f"{workspace.name}-a-1" in done.stderr
        assert down.returncode == 0
        assert container.attrs["Id"] == before["Id"]
        assert container.attrs["State"]["Status"] == "created"
        assert api.volumes.get(volume.name).name == volume.name
    finally:
        container.remove(force=True)
        volume.remove()


def test_a_forged_owner_label_of_another_directory_is_not_adopted(workspace: Workspace, containers: Containers) -> None:
    labels = {"io.mcpcompose.project": workspace.name, "io.mcpcompose.owner": "0123456789abcdef"}
    labels["io.mcpcompose.server"] = "a"
    api = containers.client
    foreign = api.containers.create(BASE_IMAGE, name=f"{workspace.name}-other", labels=labels, command=["true"])
    try:
        workspace.save({"b": echo()})
        workspace.up()
        workspace.when_ready("b")
        workspace.run("down", "-v")

        foreign.reload()
        assert foreign.attrs["State"]["Status"] == "created"
    finally:
        foreign.remove(force=True)
