"""Bad servers cost only their own tools, and `ps` says why."""

from __future__ import annotations

import asyncio
import time

import pytest
from mcp import Client, MCPError

from harness.containers import Containers
from harness.wait import until_async
from harness.workspace import Workspace, echo, program, text

pytestmark = pytest.mark.docker

BAD = {
    "silent": program("silent.py", timeouts={"start": "8s"}),
    "exits": program("exits.py", timeouts={"start": "2s"}),
    "garbage": program("garbage.py", timeouts={"start": "2s"}),
    "missing": {"image": "mcp-compose-test/there-is-no-such-image:1", "pull_policy": "never"},
}
REASONS = {
    "silent": "did not answer its handshake within 8 s",
    "exits": "exited with code 1",
    "garbage": "did not answer its handshake within 2 s; its standard output began with `Welcome to the server!`",
    "missing": (
        "No such image: mcp-compose-test/there-is-no-such-image:1; "
        "check the image's name; `docker login` if its registry is private"
    ),
}
BOUND = 5.0
"""Seconds that a call may take while others fail: on a loaded machine, and less than a bad server is waited for."""


async def test_bad_servers_cost_only_their_own_tools_and_ps_names_each_reason(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), **BAD, "fine": echo()})

    coming_up = asyncio.create_task(asyncio.to_thread(workspace.up, code=1))
    await until_async(lambda: {"good", "fine"} <= ready(workspace), "the good servers are ready")
    async with workspace.client() as client:
        while_they_fail = [await seconds_of_a_call(client, name) for name in ("good", "fine")]
        while not coming_up.done():
            while_they_fail += [await seconds_of_a_call(client, name) for name in ("good", "fine")]
        names = {tool.name for tool in (await client.list_tools()).tools}
    said = (await coming_up).stderr

    assert max(while_they_fail) < BOUND
    assert {name.partition("__")[0] for name in names} == {"good", "fine"}
    assert ready(workspace) == {"good", "fine"}
    servers, shown = workspace.servers(), workspace.run("ps").stdout
    for name, reason in REASONS.items():
        assert str(servers[name]["reason"]).endswith(reason)
        assert f"server `{name}` does not serve: {servers[name]['reason']}" in said
        assert name in shown


async def test_a_call_to_a_bad_server_is_answered_with_an_error_and_soon(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), **BAD})
    workspace.up(code=1)

    async with workspace.client() as client:
        for name in BAD:
            started = time.monotonic()
            with pytest.raises(MCPError, match=f"server `{name}` "):
                await client.call_tool(f"{name}__echo", {"text": "there?"})
            assert time.monotonic() - started < BOUND
        assert await seconds_of_a_call(client, "good") < BOUND


async def seconds_of_a_call(client: Client, server: str) -> float:
    started = time.monotonic()
    assert text(await client.call_tool(f"{server}__echo", {"text": "here"})) == "here"
    return time.monotonic() - started


def ready(workspace: Workspace) -> set[str]:
    return {name for name, server in workspace.servers().items() if server["state"] == "ready"}
