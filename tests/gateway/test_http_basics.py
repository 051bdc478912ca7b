from __future__ import annotations

import json

import pytest

from gateway.stage import FakeServer, Stage, project, tool


async def test_a_modern_client_lists_and_calls_under_prefixed_names(stage: Stage) -> None:
    server = FakeServer(tools=[tool("echo", annotations={"readOnlyHint": True}, x_vendor=1)])
    await stage.serve(project(servers={"one": {}}), {"one": server})

    listed = (await stage.post("tools/list")).json()["result"]
    called = await stage.post("tools/call", {"name": "one__echo", "arguments": {"a": 1}})

    assert listed["resultType"] == "complete"
    assert listed["ttlMs"] == 0
    assert listed["cacheScope"] == "private"
    assert listed["tools"] == [tool("one__echo", annotations={"readOnlyHint": True}, x_vendor=1)]
    assert called.status_code == 200
    assert called.headers["content-type"] == "application/json"
    result = called.json()["result"]
    assert result["resultType"] == "complete"
    assert json.loads(result["content"][0]["text"]) == {"a": 1}
    assert server.calls[0]["params"] == {"name": "echo", "arguments": {"a": 1}}


async def test_a_handshake_client_lists_and_calls(stage: Stage) -> None:
    await stage.serve(project(servers={"one": {}}), {"one": FakeServer()})

    session = await stage.session("2025-06-18")
    listed = (await session.post("tools/list")).json()["result"]
    called = (await session.post("tools/call", {"name": "one__echo", "arguments": {"a": 1}})).json()["result"]

    assert session.initialized["protocolVersion"] == "2025-06-18"
    assert listed == {"tools": [tool("one__echo")]}
    assert called == {"content": [{"type": "text", "text": '{"a": 1}'}]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"mcp-method": "tools/call", "mcp-name": "a__echo"}, 200),
        ({"mcp-name": "=?base64?YV9fZWNobw==?="}, 200),
        ({"mcp-method": "tools/list"}, 400),
        ({"mcp-method": "tools/call", "mcp-name": "a__other"}, 400),
        ({"mcp-name": "=?base64?b3RoZXI=?="}, 400),
    ],
)
async def test_a_handshake_client_s_mirrored_headers_say_what_the_body_says(
    stage: Stage, headers: dict[str, str], status: int
) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    session = await stage.session()
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "a__echo", "arguments": {}}}
    response = await stage.http.post(stage.url, json=body, headers=session.headers | headers)
    assert response.status_code == status
    if status == 400:
        assert response.json()["error"]["code"] == -32020
