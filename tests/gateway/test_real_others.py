"""Completion, log levels, resources to hear of, in all four cells: SDK clients and the conformance suite's server."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import mcp
import mcp_types as types
import pytest

from gateway.stage import Stage, program, project, until
from gateway.test_real_clients import client_of, free_port
from gateway.test_real_clients import listening as accepting
from mcpcompose.engine.base import HttpEndpoint, StreamEndpoint

TESTS = str(Path(__file__).parent.parent)
WATCHED = "test://watched-resource"
MODES = ["legacy", "2026-07-28"]


def everything(*arguments: str) -> tuple[str, str]:
    """How Python runs the server."""
    code = f"import sys, runpy; sys.path.insert(0, {TESTS!r}); sys.argv[1:] = {list(arguments)!r}; "
    return "-c", code + "runpy.run_module('conformance.everything', run_name='__main__')"


@pytest.fixture(params=["stdio legacy", "stdio modern", "http legacy", "http modern"])
async def served(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """The server as `x`, of one era, over either transport."""
    transport, era = request.param.split()
    what = project(servers={"x": {"era": era}})
    if transport == "stdio":
        await stage.serve(what, {"x": StreamEndpoint(await program(*everything("--era", era)))})
        yield stage
        return
    port = free_port()
    server = await program(*everything("--era", era, "--http", str(port)))
    try:
        await accepting(port)
        await stage.serve(what, {"x": HttpEndpoint(f"http://127.0.0.1:{port}/mcp")})
        yield stage
    finally:
        server.process.kill()
        await server.process.wait()


@contextlib.contextmanager
def deprecated() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


async def set_level(client: mcp.Client, level: Any) -> None:
    with deprecated():
        await client.set_logging_level(level)


@pytest.mark.parametrize("mode", MODES)
async def test_completion_keeps_its_context_and_finds_its_server(served: Stage, mode: str) -> None:
    made, http = client_of(served, mode)
    async with http, made as client:
        prompt = types.PromptReference(type="ref/prompt", name="x__test_prompt_with_arguments")
        done = await client.complete(prompt, {"name": "arg1", "value": "par"}, {"arg2": "y"})

    assert isinstance(done.completion.values, list)


@pytest.mark.parametrize("mode", MODES)
async def test_a_change_of_a_resource_reaches_the_sdk_client(served: Stage, mode: str) -> None:
    changed: list[str] = []

    async def on_message(message: Any) -> None:
        root = getattr(message, "root", message)
        if isinstance(root, types.ResourceUpdatedNotification):
            changed.append(str(root.params.uri))

    made, http = client_of(served, mode, message_handler=on_message)
    async with http, made as client:
        if mode == "legacy":
            with deprecated():
                await client.subscribe_resource(WATCHED)
            await until(lambda: len(served.gateway.listeners) > 0)
            await client.call_tool("x__test_trigger_resource_update", {"uri": WATCHED})
            await until(lambda: changed == [WATCHED])
        else:
            async with client.listen(resource_subscriptions=[WATCHED]) as heard:
                assert heard.honored.resource_subscriptions == [WATCHED]
                await client.call_tool("x__test_trigger_resource_update", {"uri": WATCHED})
                event = await asyncio.wait_for(anext(heard), 10)
                assert WATCHED in repr(event)


@pytest.mark.parametrize("mode", MODES)
async def test_log_messages_reach_who_wants_them(served: Stage, mode: str) -> None:
    logged: list[str] = []

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.level)

    made, http = client_of(served, mode, logging_callback=on_log)
    meta: Any = {"io.modelcontextprotocol/logLevel": "info"} if mode != "legacy" else None
    async with http, made as client:
        if mode == "legacy":
            await set_level(client, "info")
        await client.call_tool("x__test_tool_with_logging", {}, meta=meta)
        await until(lambda: len(logged) == 3)
        if mode == "legacy":
            await set_level(client, "error")
        await client.call_tool("x__test_tool_with_logging", {})

    assert logged == ["info"] * 3


async def test_the_sdk_reads_our_pages_to_the_end(stage: Stage) -> None:
    what = project(servers={"x": {}})
    limits = what.gateway.limits.model_copy(update={"page": 3})
    what = what.model_copy(update={"gateway": what.gateway.model_copy(update={"limits": limits})})
    await stage.serve(what, {"x": StreamEndpoint(await program(*everything()))})
    for mode in MODES:
        made, http = client_of(stage, mode)
        names: list[str] = []
        async with http, made as client:
            page = await client.list_tools()
            names += [tool.name for tool in page.tools]
            while page.next_cursor is not None:
                page = await client.list_tools(cursor=page.next_cursor)
                names += [tool.name for tool in page.tools]

        assert len(names) == len(set(names)) > 10
