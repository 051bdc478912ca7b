from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from gateway.stage import MODERN, FakeServer, Stage, project, tool, until
from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.serve import bind
from mcpcompose.spec.project import Gateway, Limits


async def raw(stage: Stage, request: bytes, *, until_closed: bool = True) -> bytes:
    """Bytes in, bytes out, over a plain socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await (reader.read() if until_closed else reader.read(65536))
    writer.close()
    return answer


def head(stage: Stage, body: bytes, **headers: str | None) -> bytes:
    fields: dict[str, str | None] = {
        "Host": f"127.0.0.1:{stage.gateway.port}",
        "Authorization": f"Bearer {stage.token()}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return ("POST /mcp HTTP/1.1\r\n" + "".join(lines) + "\r\n").encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_bug_in_one_request_answers_500_as_json_rpc_and_gives_nothing_away(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    stage.gateway.kernel.table = None  # type: ignore[assignment]  # what no code path does: every request fails on it

    answer = await raw(stage, head(stage, INITIALIZE))

    assert status(answer) == 500
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == {
        "code": -32603,
        "message": "internal error of the gateway",
    }


INITIALIZE = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}'
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "localhost:80@evil.example"}, 421),
        ({"Host": None}, 421),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic abc"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Accept": "text/html"}, 406),
    ],
)
async def test_who_comes_in(stage: Stage, headers: dict[str, Any], expected: int) -> None:
    await stage.serve(project(servers={}), {})

    assert status(await raw(stage, head(stage, INITIALIZE, **headers))) == expected


async def test_a_second_host_header_is_refused(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    request = head(stage, INITIALIZE).replace(b"Content-Type", b"Host: evil.example\r\nContent-Type", 1)

    assert status(await raw(stage, request)) == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":{"b":1,"b":2}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 63 + b"]" * 63 + b"}}",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b"\xef\xbb\xbf" + INITIALIZE,
        b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}',
        b"",
    ],
)
async def test_what_parsers_disagree_on_is_refused(stage: Stage, body: bytes) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()

    for headers in ({"MCP_Session_Id": session.id}, {"MCP_Protocol_Version": MODERN, "Mcp_Method": "ping"}):
        answer = await raw(stage, head(stage, body, **headers))

        assert status(answer) == 400
        assert b'"code":-32700' in answer


async def test_sixty_four_levels_are_read(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 62 + b"]" * 62 + b"}}"

    assert status(await raw(stage, head(stage, body, MCP_Session_Id=session.id))) == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", -32600),
        (b"1", -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
    ],
)
async def test_what_is_no_message_gets_an_error(stage: Stage, body: bytes, code: int) -> None:
    await stage.serve(project(servers={}), {})
    session = await stage.session()

    answer = await raw(stage, head(stage, body, MCP_Session_Id=session.id))

    assert status(answer) == 400
    assert b'"code":%d' % code in answer


async def test_a_body_over_the_limit_is_refused_declared_or_chunked(stage: Stage) -> None:
    await stage.serve(project(servers={}, gateway=Gateway(limits=Limits(body=1000))), {})
    declared = head(stage, b"x" * 2000)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    chunked = head(stage, b"", Content_Length=None, Transfer_Encoding="chunked") + chunk * 4 + b"0\r\n\r\n"

    assert status(await raw(stage, declared)) == 413
    assert status(await raw(stage, chunked, until_closed=False)) == 413


async def test_a_body_in_small_slow_pieces_is_read(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(head(stage, b"", Content_Length=None, Transfer_Encoding="chunked"))

    for at in range(0, len(INITIALIZE), 7):
        piece = INITIALIZE[at : at + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")

    assert status(await reader.read()) == 200
    writer.close()


@pytest.mark.parametrize(
    ("path", "client", "expected"),
    [
        ("/mcp", "writer", ["b__echo"]),
        ("/profiles/narrow/mcp", "writer", ["b__echo"]),
        ("/servers/b/mcp", "writer", ["echo"]),
        ("/profiles/default/mcp", "writer", None),
        ("/servers/a/mcp", "writer", None),
        ("/servers/nothing/mcp", "writer", None),
        ("/mcp/", "writer", None),
        ("/", "writer", None),
        ("/profiles/narrow/mcp", "default", None),
        ("/servers/a/mcp", "default", ["echo"]),
        ("/mcp", "default", ["a__echo", "b__echo", "b__drop"]),
        ("/servers/%61/mcp", "writer", None),
        ("/servers/b%2Fmcp/mcp", "writer", None),
    ],
)
async def test_a_client_sees_its_own_profile_and_nothing_else(
    stage: Stage, path: str, client: str, expected: list[str] | None
) -> None:
    narrow = {"servers": ("b",), "tools": {"b": ("e*",)}}
    what = project(servers={"a": {}, "b": {}}, profiles={"narrow": narrow}, clients={"writer": "narrow"})
    await stage.serve(what, {"a": FakeServer(), "b": FakeServer(tools=[tool("echo"), tool("drop")])})

    response = await stage.post("tools/list", path=path, client=client)

    if expected is None:
        assert response.status_code == 404
    else:
        assert [t["name"] for t in response.json()["result"]["tools"]] == expected


@pytest.mark.parametrize("name", ["b__drop", "drop", "b__secret", "secret", "a__echo", "nothing", "", None, 1])
async def test_what_is_not_allowed_cannot_be_called_by_any_path(stage: Stage, name: Any) -> None:
    narrow = {"servers": ("b",), "tools": {"b": ("e*",)}}
    what = project(
        servers={"a": {}, "b": {"tools": {"deny": ["secret"]}}},
        profiles={"narrow": narrow},
        clients={"writer": "narrow"},
    )
    a, b = FakeServer(), FakeServer(tools=[tool("echo"), tool("drop"), tool("secret")])
    await stage.serve(what, {"a": a, "b": b})
    session = await stage.session(client="writer")

    answers = [
        await session.post("tools/call", {"name": name}),
        await stage.post("tools/call", {"name": name}, client="writer", headers={"mcp-name": str(name)}),
        await stage.post(
            "tools/call", {"name": name}, client="writer", path="/servers/b/mcp", headers={"mcp-name": str(name)}
        ),
    ]

    assert all("error" in answer.json() for answer in answers)
    assert a.calls == b.calls == []


async def test_a_bare_name_is_taken_when_it_is_unique(stage: Stage) -> None:
    a, b = FakeServer(tools=[tool("echo"), tool("only")]), FakeServer()
    await stage.serve(project(servers={"a": {}, "b": {}}), {"a": a, "b": b})

    only = await stage.post("tools/call", {"name": "only"})
    echo = await stage.post("tools/call", {"name": "echo"})

    assert "result" in only.json()
    assert echo.json()["error"]["code"] == -32602


async def test_health_says_nothing_without_a_token(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})

    without = await stage.http.get(stage.base + "/health")
    known = await stage.http.get(stage.base + "/health", headers={"authorization": f"Bearer {stage.token()}"})

    assert without.json() == {"status": "ok"}
    assert known.json() == {"status": "ok", "servers": {"a": "ready"}}


async def test_a_rotated_token_opens_nothing_any_more(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    old = stage.token()
    assert (await stage.post("tools/list")).status_code == 200

    stage.gateway.tokens.rotate()

    response = await stage.post("tools/list", headers={"authorization": f"Bearer {old}"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


async def test_without_auth_whoever_reaches_the_port_is_served(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}, gateway=Gateway(auth="none")), {"a": FakeServer()})

    response = await stage.post("tools/call", {"name": "a__echo"}, headers={"authorization": ""})

    assert response.status_code == 200


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(McpComposeError, match=f"port `{port}` on `127.0.0.1` is taken"):
            bind("127.0.0.1", port)


async def test_headers_without_end_are_cut_off(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(b"GET /health HTTP/1.1\r\n")

    async def flood() -> None:
        for number in range(10_000):
            writer.write(b"x-%d: %b\r\n" % (number, b"y" * 1000))
            await writer.drain()
        await reader.readexactly(1)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await flood()
    writer.close()


async def test_a_client_that_goes_away_leaves_no_call_behind(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": meta}}
    headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/call", "Mcp_Name": "a__echo"}
    _, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(head(stage, json.dumps(body).encode(), Connection="keep-alive", **headers))
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot.in_flight == 1)

    writer.close()

    await until(lambda: slot.in_flight == 0)
    await until(lambda: server.seen[-1].get("method") == "notifications/cancelled")


async def test_blanks_around_a_header_are_no_part_of_it(stage: Stage) -> None:
    await stage.serve(project(servers={"s": {}}), {"s": FakeServer()})

    answer = await raw(stage, head(stage, INITIALIZE, Authorization=f" \t Bearer {stage.token()} \t "))

    assert status(answer) == 200
