"""Tool lists from before are served at once; calls wait for the server, lists never do."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from mcp import Client

from harness.containers import Containers
from harness.wait import until_async
from harness.workspace import Workspace, echo, text

pytestmark = pytest.mark.docker


async def test_tools_of_servers_that_still_start_are_listed_from_the_cache_and_their_calls_wait(
    workspace: Workspace, containers: Containers
) -> None:
    gate = workspace.directory / "gate"
    gate.mkdir()
    (gate / "open").touch()
    workspace.save({"a": echo(volumes=["./gate:/gate:ro"], environment={"WAIT_FOR": "/gate/open"})})
    workspace.up()
    workspace.when_ready()
    workspace.run("down")
    (gate / "open").unlink()

    starting = asyncio.create_task(asyncio.to_thread(workspace.up, code=None))
    async with await when_serving(workspace) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        state = workspace.servers()["a"]["state"]
        call = asyncio.create_task(client.call_tool("a__echo", {"text": "at last"}))
        (gate / "open").touch()
        assert text(await call) == "at last"
    await starting

    assert "a__echo" in names
    assert state == "starting"


async def when_serving(workspace: Workspace) -> AbstractAsyncContextManager[Client]:
    await until_async(workspace.gateways, "a gateway runs")
    await until_async(lambda: workspace.run("ps", code=None).returncode == 0, "a gateway answers")
    await until_async(lambda: workspace.status()["gateway"], "the endpoint is known")
    return workspace.client()
