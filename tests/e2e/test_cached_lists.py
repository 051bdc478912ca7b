"""Tool lists from before are served at once; calls wait for the server, lists never do."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from mcp import Client

from harness.containers import BASE_IMAGE, Containers
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


@pytest.fixture
def moving(workspace: Workspace, containers: Containers) -> Iterator[str]:
    """An image's name that stands for the base image, until it is given to another one."""
    reference = f"mcp-compose-test/moving:{containers.project}"
    images = containers.client.images
    images.get(BASE_IMAGE).tag(reference)
    try:
        yield reference
    finally:
        workspace.run("down", "-v", code=None)
        images.remove(reference, force=True)


async def test_lists_of_an_image_that_was_replaced_meanwhile_go_as_soon_as_the_engine_has_said_so(
    workspace: Workspace, containers: Containers, moving: str
) -> None:
    gate = workspace.directory / "gate"
    gate.mkdir()
    (gate / "open").touch()
    keys = {"volumes": ["./gate:/gate:ro"], "environment": {"WAIT_FOR": "/gate/open"}}
    workspace.save({"a": {**echo(**keys), "image": moving}, "b": echo(**keys)})
    workspace.up()
    workspace.when_ready()
    workspace.run("down")
    (gate / "open").unlink()
    dockerfile = io.BytesIO(f"FROM {BASE_IMAGE}\nLABEL moved={containers.project}\n".encode())
    await asyncio.to_thread(containers.client.images.build, fileobj=dockerfile, tag=moving, rm=True)

    starting = asyncio.create_task(asyncio.to_thread(workspace.up, code=None))
    async with await when_serving(workspace) as client:
        await until_async(lambda: workspace.servers()["a"]["state"] == "starting", "its instance is being made")
        believed = {tool.name for tool in (await client.list_tools()).tools}
        (gate / "open").touch()
        workspace.when_ready()
        listed = {tool.name for tool in (await client.list_tools()).tools}
    assert (await starting).returncode == 0

    assert not [name for name in believed if name.startswith("a__")]
    assert {"a__echo", "b__echo"} <= listed
    assert "b__echo" in believed


async def when_serving(workspace: Workspace) -> AbstractAsyncContextManager[Client]:
    await until_async(workspace.gateways, "a gateway runs")
    await until_async(lambda: workspace.run("ps", code=None).returncode == 0, "a gateway answers")
    await until_async(lambda: workspace.status()["gateway"], "the endpoint is known")
    return workspace.client()
