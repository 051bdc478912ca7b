"""What a client gets is its profile's, and nothing without a token."""

from __future__ import annotations

import httpx2
import pytest

from harness.containers import Containers
from harness.workspace import Workspace, echo

pytestmark = pytest.mark.docker

HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def test_a_token_opens_its_own_profile_and_others_are_not_found(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(
        {"a": echo(), "b": echo(tools={"allow": ["echo", "env"], "rename": {"echo": "say"}})},
        profiles={"default": {"servers": ["a"]}, "other": {"servers": ["b"], "tools": {"b": ["ec*"]}}},
        clients={"editor": {"profile": "other"}},
    )
    workspace.up()
    workspace.when_ready()

    async with workspace.client() as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"a__echo", "a__seen", "a__env", "a__read"}
    async with workspace.client(path="/profiles/other/mcp", name="editor") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"b__say"}
    for path, token, status in (
        ("/mcp", None, 401),
        ("/mcp", "wrong", 401),
        ("/profiles/other/mcp", workspace.token(), 404),
        ("/servers/b/mcp", workspace.token(), 404),
        ("/servers/nothing/mcp", workspace.token(), 404),
    ):
        assert await knock(workspace, path, token) == status, path


async def test_a_rotated_token_replaces_the_old_one_at_once(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"a": echo()})
    workspace.up()
    workspace.when_ready()
    old = workspace.token()

    workspace.run("client", "rotate", "default")

    assert workspace.token() != old
    assert await knock(workspace, "/mcp", old) == 401


async def knock(workspace: Workspace, path: str, token: str | None) -> int:
    headers = ACCEPT | ({"Authorization": f"Bearer {token}"} if token else {})
    async with httpx2.AsyncClient() as http:
        return (await http.post(workspace.endpoint(path), json=HELLO, headers=headers)).status_code
