"""A project per scenario, gone without a trace at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.containers import Containers
from harness.workspace import Workspace


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    """An empty project without an engine of its own; what it leaves running fails the test."""
    project = Workspace()
    yield project
    project.destroy()


@pytest.fixture
def containers(workspace: Workspace) -> Iterator[Containers]:
    """What the workspace's project has on the engine; after `down -v` that must be nothing."""
    view = Containers(workspace.name)
    yield view
    said = ""
    if workspace.file.exists():
        done = workspace.run("down", "-v", code=None)
        said = f"{done.stdout}\n{done.stderr}\n{workspace.log()}"
    left = view.leftovers()
    view.remove_all()
    assert not left, f"`down -v` left {left} and said\n{said}"
