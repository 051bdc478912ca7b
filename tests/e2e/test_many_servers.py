"""Many stdio container servers at once: each answers."""

from __future__ import annotations

import pytest

from harness.containers import Containers
from harness.workspace import Workspace, echo, text

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(1200)]


async def test_many_stdio_servers_run_at_once_and_each_answers(
    workspace: Workspace, containers: Containers, scale: int
) -> None:
    names = [f"s{number}" for number in range(10 * scale)]
    workspace.save({name: echo(cpus=0.2, mem_limit="64m", timeouts={"start": "300s"}) for name in names})
    workspace.up(bound=600)
    workspace.when_ready(bound=600)

    async with workspace.client() as client:
        for name in names:
            assert text(await client.call_tool(f"{name}__echo", {"text": name})) == name
    assert len(containers.running()) == len(names)
