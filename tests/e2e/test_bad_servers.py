"""Bad servers cost only their own tools, and `ps` says why."""

from __future__ import annotations

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import Workspace, echo, program, text

pytestmark = pytest.mark.docker

BAD = {
    "silent": program("silent.py", timeouts={"start": "2s"}),
    "exits": program("exits.py", timeouts={"start": "2s"}),
    "garbage": program("garbage.py", timeouts={"start": "2s"}),
    "missing": {"image": "mcp-compose-test/there-is-no-such-image:1", "pull_policy": "never"},
}


async def test_bad_servers_cost_only_their_own_tools_and_ps_names_each_reason(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), **BAD, "fine": echo()})

    workspace.up(code=None)
    workspace.when_ready("good", "fine")
    async with workspace.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert text(await client.call_tool("good__echo", {"text": "here"})) == "here"
        assert text(await client.call_tool("fine__echo", {"text": "too"})) == "too"
    until(lambda: all(reason(workspace, name) for name in BAD), "every bad server has its reason")

    assert {name.partition("__")[0] for name in names} == {"good", "fine"}
    assert "answer" in reason(workspace, "silent")
    assert "exit" in reason(workspace, "exits")
    assert "image" in reason(workspace, "missing").lower()
    shown = workspace.run("ps").stdout
    for name in BAD:
        assert name in shown


async def test_a_call_to_a_bad_server_is_answered_with_an_error_and_soon(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"good": echo(), "exits": BAD["exits"]})
    workspace.up(code=None)
    workspace.when_ready("good")

    done = workspace.run("tools", "call", "exits__anything", code=None, bound=30)

    assert done.returncode != 0
    assert "exits" in done.stderr


def reason(workspace: Workspace, server: str) -> str:
    return workspace.servers()[server].get("reason") or ""
