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
LOADED = 3
"""How many times slower a loaded machine may be; even so all of it is less than a bad server is waited for."""
ANSWER = 1.0 * LOADED
"""Seconds for `tools/list` and for a call while others fail."""
EFFECT = 0.5 * LOADED
"""Seconds from the save of a file to its effect, where no container changes."""
RESTART = 1.5 * LOADED
"""The same with what one container takes to be made and to start."""


async def test_bad_servers_cost_only_their_own_tools_and_ps_names_each_reason(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), **BAD, "fine": echo()})

    coming_up = asyncio.create_task(asyncio.to_thread(workspace.up, code=1))
    await until_async(lambda: {"good", "fine"} <= ready(workspace), "the good servers are ready")
    async with workspace.client() as client:
        while_they_fail = [await seconds_of_a_call(client, name) for name in ("good", "fine")]
        lists = [await seconds_of_a_list(client)]
        while not coming_up.done():
            while_they_fail += [await seconds_of_a_call(client, name) for name in ("good", "fine")]
            lists.append(await seconds_of_a_list(client))
        names = {tool.name for tool in (await client.list_tools()).tools}
    said = (await coming_up).stderr

    assert max(while_they_fail) < ANSWER
    assert max(lists) < ANSWER
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
            assert time.monotonic() - started < ANSWER
        assert await seconds_of_a_call(client, "good") < ANSWER


async def test_a_change_of_a_good_server_does_not_wait_for_bad_ones(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), **BAD})
    coming_up = asyncio.create_task(asyncio.to_thread(workspace.up, code=None))
    await until_async(lambda: "good" in ready(workspace), "the good server is ready")

    async with workspace.client() as client:
        workspace.save({"good": echo(tools={"rename": {"echo": "say"}}), **BAD})
        renamed = await seconds_until(client, "good__say")
        workspace.save({"good": echo(prefix="well", environment={"CHANGED": "1"}), **BAD})
        remade = await seconds_until(client, "well__env", {"text": "CHANGED"}, "1")
        silent = workspace.servers()["silent"]["state"]
    await coming_up

    assert silent == "starting"
    assert renamed < EFFECT
    assert remade < RESTART


async def seconds_until(client: Client, tool: str, arguments: dict[str, str] | None = None, answer: str = "") -> float:
    """How long it takes until *tool* is listed, and gives *answer* to *arguments* where there are some."""
    started = time.monotonic()
    async with asyncio.timeout(20):
        while tool not in {one.name for one in (await client.list_tools()).tools}:  # noqa: ASYNC110  bounded
            await asyncio.sleep(0.01)
        while arguments and text(await client.call_tool(tool, arguments)) != answer:  # noqa: ASYNC110  bounded
            await asyncio.sleep(0.01)
    return time.monotonic() - started


async def seconds_of_a_list(client: Client) -> float:
    started = time.monotonic()
    await client.list_tools()
    return time.monotonic() - started


async def seconds_of_a_call(client: Client, server: str) -> float:
    started = time.monotonic()
    assert text(await client.call_tool(f"{server}__echo", {"text": "here"})) == "here"
    return time.monotonic() - started


def ready(workspace: Workspace) -> set[str]:
    return {name for name, server in workspace.servers().items() if server["state"] == "ready"}
