from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.stage import MODERN, FakeServer, Stage, project, until
from mcpcompose.gateway.sessions import Sessions


async def test_an_unknown_session_is_not_found_and_a_missing_one_is_wrong(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()

    session.id = "guessed"
    unknown = await session.post("tools/list")
    session.id = None
    missing = await session.post("tools/list")

    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"] == "Session not found"
    assert missing.status_code == 400


async def test_a_session_belongs_to_its_client_and_endpoint(stage: Stage) -> None:
    what = project(servers={"a": {}}, clients={"other": "default"})
    await stage.serve(what, {"a": FakeServer()})
    session = await stage.session()

    session.client = "other"
    stolen = await session.post("tools/list")
    session.client, session.path = "default", "/servers/a/mcp"
    elsewhere = await session.post("tools/list")
    session.path = "/mcp"

    assert stolen.status_code == elsewhere.status_code == 404
    assert (await session.post("tools/list")).status_code == 200


async def test_delete_ends_a_session(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()

    ended = await stage.http.delete(stage.url, headers=session.headers)

    assert ended.status_code == 200
    assert (await session.post("ping")).status_code == 404


async def test_ping_is_answered_and_what_is_not_built_is_not_offered(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()

    assert (await session.post("ping")).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    for method in ("logging/setLevel", "completion/complete", "resources/subscribe", "tasks/list", "server/discover"):
        answer = await session.post(method)
        assert answer.status_code == 200
        assert answer.json()["error"]["code"] == -32601
    notified = await session.post("notifications/whatever", id_=None)
    assert (notified.status_code, notified.content) == (202, b"")


async def test_a_batch_is_answered_where_the_revision_has_them(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    batch: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a__echo"}},
    ]
    old, new = await stage.session("2025-03-26"), await stage.session("2025-11-25")

    answered = await stage.http.post(stage.url, content=json.dumps(batch), headers=old.headers)
    refused = await stage.http.post(stage.url, content=json.dumps(batch), headers=new.headers)

    assert [answer["id"] for answer in answered.json()] == [1, 2]
    assert refused.status_code == 400


async def test_a_cancelled_call_ends_with_an_error(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()
    calling = asyncio.create_task(session.post("tools/call", {"name": "a__echo"}, id_="c"))
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    await session.post("notifications/cancelled", {"requestId": "c"}, id_=None)

    assert (await calling).json()["error"]["code"] == -32800
    await until(lambda: server.seen[-1]["method"] == "notifications/cancelled")


async def test_a_handshake_client_that_goes_away_does_not_cancel(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()
    calling = asyncio.create_task(session.post("tools/call", {"name": "a__echo"}))
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await session.post("ping")

    assert stage.gateway.supervisor._slots["a"].in_flight == 1
    server.result(server.seen[-1], {})
    await until(lambda: stage.gateway.supervisor._slots["a"].in_flight == 0)


async def test_a_thousand_sessions_leave_room_for_the_next(stage: Stage) -> None:
    now = 0.0
    sessions = Sessions(most=10, idle=60, clock=lambda: now)
    opened = [sessions.open("c", "default", None, "2025-11-25") for _ in range(1000)]

    assert len(sessions) == 10
    last = opened[-1]
    assert last is not None
    assert sessions.get(last.id, "c", "default", None) is last
    now = 61.0
    assert sessions.get(last.id, "c", "default", None) is None
    assert len({session.id for session in opened if session}) == 1000


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 200, None),
        ({"mcp-method": "tools/list"}, 400, -32020),
        ({"mcp-name": "other"}, 400, -32020),
        ({"mcp-name": "=?base64?YV9fZWNobw==?="}, 200, None),
        ({"mcp-protocol-version": "2031-01-01"}, 400, -32020),
    ],
)
async def test_headers_must_say_what_the_body_says(
    stage: Stage, headers: dict[str, str], status: int, code: int | None
) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})

    response = await stage.post("tools/call", {"name": "a__echo"}, headers=headers)

    assert response.status_code == status
    assert response.json().get("error", {}).get("code") == code


async def test_a_header_that_comes_twice_is_a_mismatch(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": meta}}
    headers = [
        ("authorization", f"Bearer {stage.token()}"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "a__echo"),
        ("mcp-name", "a__echo"),
    ]

    response = await stage.http.post(stage.url, content=json.dumps(body), headers=headers)

    assert response.json()["error"]["code"] == -32020


@pytest.mark.parametrize(
    ("method", "status", "code"),
    [
        ("nothing/here", 404, -32601),
        ("initialize", 404, -32601),
        ("ping", 404, -32601),
        ("tools/call", 400, -32602),
        ("server/discover", 200, None),
    ],
)
async def test_errors_have_the_status_of_the_modern_wire(
    stage: Stage, method: str, status: int, code: int | None
) -> None:
    await stage.serve(project(servers={}), {})

    response = await stage.post(method)

    assert response.status_code == status
    assert response.json().get("error", {}).get("code") == code


async def test_a_resource_that_is_not_there_has_each_eras_code(stage: Stage) -> None:
    def missing(server: FakeServer, message: dict[str, Any]) -> None:
        error = {"code": -32002, "message": "no", "data": {"uri": message["params"]["uri"]}}
        server.send({"jsonrpc": "2.0", "id": message["id"], "error": error})

    server = FakeServer(answers={"resources/read": missing})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()

    modern = await stage.post("resources/read", {"uri": "x://y"})
    legacy = await session.post("resources/read", {"uri": "x://y"})

    assert (modern.status_code, modern.json()["error"]["code"]) == (400, -32602)
    assert (legacy.status_code, legacy.json()["error"]["code"]) == (200, -32002)


async def test_progress_comes_before_the_result_on_the_same_stream(stage: Stage) -> None:
    def work(server: FakeServer, message: dict[str, Any]) -> None:
        token = message["params"]["_meta"]["progressToken"]
        for step in (1, 2):
            params = {"progressToken": token, "progress": step}
            server.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        server.result(message, {"content": []})

    await stage.serve(project(servers={"a": {}}), {"a": FakeServer(answers={"tools/call": work})})
    session = await stage.session()

    for response in (
        await stage.post("tools/call", {"name": "a__echo", "_meta": {"progressToken": "p"}}),
        await session.post("tools/call", {"name": "a__echo", "_meta": {"progressToken": "p"}}),
    ):
        assert response.headers["content-type"] == "text/event-stream"
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data:")]
        events = [json.loads(line) for line in lines if line]
        assert [e.get("params", {}).get("progress") for e in events] == [1, 2, None]
        assert events[0]["params"]["progressToken"] == "p"
        assert "result" in events[2]


async def test_a_client_that_takes_no_events_gets_plain_json(stage: Stage) -> None:
    def work(server: FakeServer, message: dict[str, Any]) -> None:
        params = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1}
        server.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        server.result(message, {"content": []})

    await stage.serve(project(servers={"a": {}}), {"a": FakeServer(answers={"tools/call": work})})

    response = await stage.post(
        "tools/call", {"name": "a__echo", "_meta": {"progressToken": "p"}}, headers={"accept": "application/json"}
    )

    assert response.headers["content-type"] == "application/json"
    assert "result" in response.json()


async def test_a_result_passes_byte_for_byte_between_handshake_ends(stage: Stage) -> None:
    raw = '{"content" : [ {"type":"new","x":1.10,"u":"\\u00e9"} ],"_meta":{"v/k":null}}'

    def work(server: FakeServer, message: dict[str, Any]) -> None:
        server.put(f'{{"jsonrpc":"2.0","id":"{message["id"]}","result":{raw}}}\n'.encode())

    await stage.serve(project(servers={"a": {}}), {"a": FakeServer(answers={"tools/call": work})})
    session = await stage.session()

    response = await session.post("tools/call", {"name": "a__echo"}, id_="ü")

    assert response.content == f'{{"jsonrpc":"2.0","id":"ü","result":{raw}}}'.encode()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, text/event-stream", "application/json"),
        ("text/event-stream, application/json", "text/event-stream"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, */*", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("*/*", "application/json"),
    ],
)
async def test_a_client_that_names_events_first_gets_events(stage: Stage, accept: str, kind: str) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})

    listed = await stage.post("tools/list", headers={"accept": accept})

    assert listed.headers["content-type"] == kind
    text = listed.text if kind == "application/json" else listed.text.partition("data: ")[2]
    assert json.loads(text)["result"]["tools"][0]["name"] == "a__echo"
