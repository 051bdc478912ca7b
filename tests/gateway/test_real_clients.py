from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client

from gateway.stage import FakeServer, Stage, program, project, tool, until
from mcpcompose.engine.base import HttpEndpoint, StreamEndpoint

SERVER = str(Path(__file__).parent / "servers" / "everyday.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@pytest.fixture(params=["stdio", "http", "sse"])
async def served(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """The SDK's server as `day`, over either transport, and in the era it negotiates."""
    what = project(servers={"day": {}})
    if request.param == "stdio":
        await stage.serve(what, {"day": StreamEndpoint(await program(SERVER))})
        yield stage
        return
    port, sse = free_port(), request.param == "sse"
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, str(port), request.param, stdout=quiet, stderr=quiet
    )
    try:
        if sse:  # such servers are remote: one that is not there is not waited for
            await listening(port)
        endpoint = HttpEndpoint(f"http://127.0.0.1:{port}/{'sse' if sse else 'mcp'}", sse=sse)
        await stage.serve(what, {"day": endpoint})
        yield stage
    finally:
        process.kill()
        await process.wait()


def client_of(stage: Stage, mode: str, path: str = "/mcp", **keys: Any) -> tuple[mcp.Client, httpx2.AsyncClient]:
    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {stage.token()}"}, timeout=20)
    return mcp.Client(streamable_http_client(stage.base + path, http_client=http), mode=mode, **keys), http


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_the_sdk_client_uses_the_sdk_server_through_the_gateway(served: Stage, mode: str) -> None:
    progress: list[tuple[float, str | None]] = []

    async def on_progress(done: float, _total: float | None, text: str | None) -> None:
        progress.append((done, text))

    made, http = client_of(served, mode)
    async with http, made as client:
        tools = await client.list_tools()
        prompts = await client.list_prompts()
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
        added = await client.call_tool("day__add", {"a": 2, "b": 3})
        slow = await client.call_tool("day__slow", {"steps": 3}, progress_callback=on_progress)
        greeting = await client.get_prompt("day__greet", {"name": "Ada"})
        memo = await client.read_resource("memo://today")
        entry = await client.read_resource("memo://monday/entry")
        version, instructions = client.protocol_version, client.instructions or ""

    assert [t.name for t in tools.tools] == ["day__add", "day__slow", "day__forever"]
    assert [p.name for p in prompts.prompts] == ["day__greet"]
    assert [str(r.uri) for r in resources.resources] == ["memo://today"]
    assert [t.uri_template for t in templates.resource_templates] == ["memo://{day}/entry"]
    assert added.structured_content == {"result": 5}
    assert slow.content[0].text == "done"
    assert [done for done, _ in progress] == [1, 2, 3]
    assert greeting.messages[0].content.text == "Say hello to Ada"
    assert memo.contents[0].text == "buy milk"
    assert entry.contents[0].text == "memo of monday"
    assert ("Ask me anything." in instructions) is (mode != "2026-07-28")  # a pinned client does not discover
    assert version == ("2025-11-25" if mode == "legacy" else "2026-07-28")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_each_of_the_four_cells_works_over_a_byte_stream(stage: Stage, mode: str, era: str) -> None:
    await stage.serve(project(servers={"day": {"era": era}}), {"day": StreamEndpoint(await program(SERVER))})
    assert [s.era for s in stage.gateway.status()] == [era]

    made, http = client_of(stage, mode)
    async with http, made as client:
        added = await client.call_tool("day__add", {"a": 2, "b": 3})
        memo = await client.read_resource("memo://today")

    assert added.structured_content == {"result": 5}
    assert memo.contents[0].text == "buy milk"


async def test_a_call_that_the_sdk_client_gives_up_is_cancelled_at_the_server(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"one": {}}), {"one": server})
    made, http = client_of(stage, "2026-07-28")

    async with http, made as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.call_tool("one__echo", {})
        await until(lambda: any(m.get("method") == "notifications/cancelled" for m in server.seen))


async def test_the_sdk_client_hears_that_tools_changed_on_its_get_stream(stage: Stage) -> None:
    server = FakeServer()
    await stage.serve(project(servers={"one": {}}), {"one": server})
    heard: list[Any] = []

    async def on_message(message: Any) -> None:
        heard.append(message)

    made, http = client_of(stage, "legacy", message_handler=on_message)
    async with http, made as client:
        await until(lambda: len(stage.gateway.listeners) == 1)
        server.tools.append(tool("more"))
        server.changed()
        await until(lambda: bool(heard))
        names = [t.name for t in (await client.list_tools()).tools]

    assert names == ["one__echo", "one__more"]
    assert len(heard) == 1


async def test_the_sdk_client_hears_that_tools_changed_on_its_subscription(stage: Stage) -> None:
    server = FakeServer()
    await stage.serve(project(servers={"one": {}}), {"one": server})
    made, http = client_of(stage, "2026-07-28")

    async with http, made as client, client.listen(tools_list_changed=True) as subscription:
        server.tools.append(tool("more"))
        server.changed()
        async with asyncio.timeout(5):
            event = await anext(aiter(subscription))
        names = [t.name for t in (await client.list_tools()).tools]

    assert type(event).__name__ == "ToolsListChanged"
    assert names == ["one__echo", "one__more"]


async def test_an_http_server_that_dies_is_started_again(stage: Stage) -> None:
    port = free_port()
    processes: list[asyncio.subprocess.Process] = []

    async def launch(_server: str = "day") -> HttpEndpoint:
        quiet = asyncio.subprocess.DEVNULL
        command = (sys.executable, SERVER, str(port))
        processes.append(await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet))
        return HttpEndpoint(f"http://127.0.0.1:{port}/mcp")

    stage.next_endpoint = launch
    try:
        await stage.serve(project(servers={"day": {}}), {"day": await launch()})
        processes[0].kill()
        await processes[0].wait()

        failed = await stage.post("tools/call", {"name": "day__add", "arguments": {"a": 1, "b": 2}})
        await until(lambda: stage.restarts == ["day"])
        await until(lambda: stage.gateway.status()[0].state == "ready")
        mended = await stage.post("tools/call", {"name": "day__add", "arguments": {"a": 1, "b": 2}})
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert failed.json()["error"]["data"]["retryable"] is True
    assert mended.json()["result"]["structuredContent"] == {"result": 3}
