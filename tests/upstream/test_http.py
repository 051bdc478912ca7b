from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.gateway.serve import bind, listen
from mcpcompose.upstream.allowance import default_allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call, Reply
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.handshake import greet
from mcpcompose.upstream.http import HttpConnection

Answer = Callable[["Web", dict[str, Any]], Awaitable[None]]


class Web:
    """One request to a hostile or friendly web server."""

    def __init__(self, scope: Any, send: Any) -> None:
        self.method: str = scope["method"]
        self.headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self._send = send

    async def answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        fields = {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [(name.encode(), value.encode()) for name, value in fields.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        await self._send({"type": "http.response.body", "body": body})

    async def result(self, message: dict[str, Any], result: Any, **headers: str) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        await self.answer(200, body, **headers)

    async def events(self, *events: bytes) -> None:
        await self.answer(200, b"".join(b"data: " + event + b"\n\n" for event in events), "text/event-stream")


class Place:
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.notified: list[str] = []
        self.lost: list[str] = []
        self.answer: Answer | None = None
        self.connection: HttpConnection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        web = Web(scope, send)
        message = json.loads(body) if body else {}
        self.seen.append((web.method, web.headers, message))
        if web.method == "POST" and "id" in message:
            assert self.answer is not None
            await self.answer(web, message)
        else:
            await web.answer(202 if web.method == "POST" else 405)

    async def call(self, method: str = "tools/call", params: dict[str, Any] | None = None, **keys: Any) -> Reply:
        call = Call(method, params or {"name": "x"}, **keys)
        self.connection.begin(call)
        async with asyncio.timeout(10):
            return await call.answer()

    async def error(self, **keys: Any) -> str:
        reply = await self.call(**keys)
        assert reply.error is not None
        return str(json.loads(reply.error)["message"])


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    bound = bind("127.0.0.1", None)
    listening = await listen(made, bound)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
    watcher = Watcher(lambda method, _params: made.notified.append(method), made.lost.append)
    endpoint = HttpEndpoint(url, {"x-team": "secret"})
    made.connection = HttpConnection("s", endpoint, watcher, allowance=default_allowance("s", 100_000))
    try:
        yield made
    finally:
        await made.connection.close("done")
        await listening.stop(0)


async def test_only_our_own_headers_go_upstream(place: Place) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        await web.result(message, {}, set_cookie="a=b; Path=/")

    place.answer = answer
    await place.call()
    await place.call()

    for _, headers, _ in place.seen:
        assert headers["x-team"] == "secret"
        assert headers["accept-encoding"] == "identity"
        assert not {"cookie", "authorization", "origin"} & set(headers)


async def test_events_before_the_result_go_to_their_call(place: Place) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        progress = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1, "message": "x"}
        await web.events(
            json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}).encode(),
            b"not json",
            json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}).encode(),
            json.dumps({"jsonrpc": "2.0", "id": "other", "result": {"wrong": True}}).encode(),
            json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"right": True}}).encode(),
        )

    place.answer = answer
    call = Call("tools/call", {"name": "x"}, progress_token=b'"mine"')
    place.connection.begin(call)
    notes: list[Any] = []
    while call.reply is None:
        await call.news(5)
        notes += call.take_notes()

    assert call.reply.result == b'{"right": true}'
    assert [json.loads(params)["progressToken"] for _, params in notes] == ["mine"]
    assert place.notified == ["notifications/tools/list_changed"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "headers", "expected"),
    [
        (302, b"", "text/html", {"location": "http://evil.example/"}, "redirects to another address"),
        (401, b"no", "text/plain", {}, "HTTP status 401: it wants credentials"),
        (404, b"no", "text/plain", {}, "HTTP status 404: is the path right?"),
        (500, b"no", "text/plain", {}, "HTTP status 500"),
        (200, b"{]", "application/json", {}, "HTTP status 200"),
        (200, b'{"jsonrpc":"2.0","id":"other","result":{}}', "application/json", {}, "HTTP status 200"),
        (200, b"x" * 200_000, "application/json", {}, "more than 100000 bytes"),
        (200, b"data: " + b"x" * 200_000, "text/event-stream", {}, "more than 100000 bytes"),
        (200, b"data: {}\n\n", "text/event-stream", {}, "without a result"),
        (200, gzip.compress(b"x" * 50_000_000), "application/json", {"content_encoding": "gzip"}, "more than 100000"),
        (200, b"not gzip at all", "application/json", {"content_encoding": "gzip"}, "broken compression"),
        (200, b"x", "application/json", {"content_encoding": "br"}, "which was not asked for"),
    ],
)
async def test_a_bad_answer_costs_only_its_call(  # noqa: PLR0917  a table's row
    place: Place, status: int, body: bytes, kind: str, headers: dict[str, str], expected: str
) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        if message["params"]["name"] == "bad":
            await web.answer(status, body, kind, **headers)
        else:
            await web.result(message, {"fine": True})

    place.answer = answer

    bad, fine = await asyncio.gather(place.error(params={"name": "bad"}), place.call())

    assert expected in bad
    assert fine.result == b'{"fine": true}'
    assert place.connection.pending == {}


async def test_a_compressed_answer_is_read(place: Place) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"a": 1}}).encode()
        await web.answer(200, gzip.compress(body), content_encoding="gzip")

    place.answer = answer

    assert (await place.call()).result == b'{"a": 1}'


async def test_a_session_that_is_gone_is_opened_again_once_for_all(place: Place) -> None:
    sessions: list[str] = []
    executed: list[str] = []

    async def answer(web: Web, message: dict[str, Any]) -> None:
        if message["method"] == "initialize":
            sessions.append(f"s{len(sessions)}")
            result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}
            await web.result(message, result, mcp_session_id=sessions[-1])
        elif web.headers.get("mcp-session-id") != sessions[-1]:
            await web.answer(404)
        else:
            executed.append(message["id"])
            await web.result(message, {})

    place.answer = answer
    await greet(place.connection, "auto")
    sessions.append("restarted")

    replies = await asyncio.gather(*(place.call() for _ in range(5)))

    assert all(reply.result == b"{}" for reply in replies)
    assert sessions == ["s0", "restarted", "s2"]
    assert len(executed) == len(set(executed)) == 5
    posts = [(headers, message) for method, headers, message in place.seen if method == "POST"]
    assert {h.get("mcp-protocol-version") for h, m in posts if m["method"] == "tools/call"} == {"2025-06-18"}


async def test_a_modern_server_is_found_and_gets_recomputed_headers(place: Place) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        if message["method"] == "initialize":
            error = {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
            await web.answer(400, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())
        elif message["method"] == "server/discover":
            await web.result(message, {"supportedVersions": ["2026-07-28"], "capabilities": {}})
        else:
            await web.result(message, {})

    place.answer = answer
    greeting = await greet(place.connection, "auto")
    schema = {"type": "object", "properties": {"q": {"type": "string", "x-mcp-header": "Query"}}}
    place.connection.learned(ServerLists(tools=({"name": "süß", "inputSchema": schema},)))
    await place.call(params={"name": "süß", "arguments": {"q": " a"}})

    assert greeting.era is Era.MODERN
    _, headers, message = place.seen[-1]
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "=?base64?c8O8w58=?="
    assert headers["mcp-param-query"] == "=?base64?IGE=?="
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert "mcp-session-id" not in headers
    assert message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


async def test_a_server_that_is_not_there_says_so(place: Place) -> None:
    watcher = Watcher(lambda method, _params: place.notified.append(method), place.lost.append)
    connection = HttpConnection("s", HttpEndpoint("http://127.0.0.1:1/mcp"), watcher)
    call = Call("tools/call", {})
    connection.begin(call)

    reply = await call.answer()
    await connection.close("done")

    assert "cannot be reached" in json.loads(reply.error or b"{}")["message"]
    assert connection.unreachable


async def test_a_cancelled_call_closes_its_exchange_and_tells_a_legacy_server(place: Place) -> None:
    gone = asyncio.Event()

    async def answer(_web: Web, _message: dict[str, Any]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await gone.wait()

    place.answer = answer
    call = Call("tools/call", {"name": "x"})
    place.connection.begin(call)
    while not place.seen:  # noqa: ASYNC110  a condition of the other side
        await asyncio.sleep(0.005)

    call.cancel()

    async with asyncio.timeout(5):
        while place.seen[-1][2].get("method") != "notifications/cancelled":  # noqa: ASYNC110  the same
            await asyncio.sleep(0.005)
    assert place.seen[-1][2]["params"]["requestId"] == "gw-1"
    gone.set()


async def test_one_call_that_cannot_connect_costs_no_other_until_nothing_answers_any_more(place: Place) -> None:
    gone = asyncio.Event()

    async def answer(web: Web, message: dict[str, Any]) -> None:
        if message["method"] == "initialize":
            await web.result(message, {"protocolVersion": "2025-06-18", "capabilities": {}})
            return
        await gone.wait()
        await web.result(message, {"fine": True})

    place.answer = answer
    await greet(place.connection, "legacy")
    place.connection.learned(ServerLists())
    waiting = asyncio.create_task(place.call())
    while len(place.connection.pending) != 1:  # noqa: ASYNC110  a condition of the other side
        await asyncio.sleep(0.005)

    place.connection._break("gw-0", "broke the exchange off")
    assert place.connection._checking is not None
    await place.connection._checking
    gone.set()

    assert (await waiting).result == b'{"fine": true}'
    assert place.lost == []


class Sessions:
    """Answers like a server with sessions, which can be ended, and opened again or not."""

    def __init__(self) -> None:
        self.number = 0
        self.status = 200

    def end(self, status: int = 200) -> None:
        self.number += 1
        self.status = status

    async def __call__(self, web: Web, message: dict[str, Any]) -> None:
        current = f"s{self.number}"
        if message["method"] == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}
            if self.status == 200:
                await web.result(message, result, mcp_session_id=current)
            else:
                await web.answer(self.status, b"not now", "text/plain")
        elif "mcp-session-id" not in web.headers:
            await web.answer(400)
        elif web.headers["mcp-session-id"] != current:
            await web.answer(404)
        else:
            await web.result(message, {})


async def test_a_session_that_cannot_be_opened_again_loses_the_connection_and_the_next_call_tries_again(
    place: Place,
) -> None:
    place.answer = sessions = Sessions()
    await greet(place.connection, "legacy")
    sessions.end(status=503)

    error = await place.error()
    sessions.status = 200
    again = await place.call()

    assert error == "server `s` ended its session and opened no other: server `s` answered with HTTP status 503"
    assert place.lost == ["ended its session and opened no other: server `s` answered with HTTP status 503"]
    assert again.result == b"{}"


async def test_a_new_session_listens_again_and_its_lists_are_read_again(place: Place) -> None:
    def streams() -> list[str | None]:
        return [headers.get("mcp-session-id") for method, headers, _ in place.seen if method == "GET"]

    place.answer = sessions = Sessions()
    await greet(place.connection, "legacy")
    place.connection.learned(ServerLists())
    async with asyncio.timeout(5):
        while streams() != ["s0"]:  # noqa: ASYNC110  a condition of the other side
            await asyncio.sleep(0.005)
    sessions.end()

    assert (await place.call()).result == b"{}"
    async with asyncio.timeout(5):
        while streams() != ["s0", "s1"]:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.005)
    assert "notifications/tools/list_changed" in place.notified
    assert place.lost == []


@pytest.mark.parametrize("era", [Era.LEGACY, Era.MODERN])
async def test_a_server_that_ends_while_nobody_asks_it_anything_is_lost(era: Era) -> None:
    lost: list[str] = []
    made = Place()
    bound = bind("127.0.0.1", None)
    listening = await listen(made, bound)
    endpoint = HttpEndpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp")
    connection = HttpConnection(
        "s", endpoint, Watcher(lambda method, _params: made.notified.append(method), lost.append), look=0.02
    )
    connection.greeted(era, "2025-06-18")
    connection.learned(ServerLists())

    await listening.stop(0)

    async with asyncio.timeout(10):
        while not lost:  # noqa: ASYNC110  a condition of the other side
            await asyncio.sleep(0.005)
    await connection.close("done")
    assert "cannot be reached" in lost[0]


async def test_a_call_refused_for_missing_headers_is_sent_again_once_its_tool_is_known(place: Place) -> None:
    async def answer(web: Web, message: dict[str, Any]) -> None:
        if web.headers.get("mcp-param-region") == "eu":
            await web.result(message, {"resultType": "complete"})
        else:
            error = {"code": -32020, "message": "the Mcp-Param-Region header is missing"}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
            await web.answer(400, body)

    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    known = ServerLists(tools=({"name": "x", "inputSchema": schema},))
    place.answer = answer
    place.connection.greeted(Era.MODERN, "2026-07-28")
    call = asyncio.create_task(place.call(params={"name": "x", "arguments": {"region": "eu"}}))
    async with asyncio.timeout(5):
        while "notifications/tools/list_changed" not in place.notified:  # noqa: ASYNC110  of the other side
            await asyncio.sleep(0.005)
    place.connection.learned(known)

    assert (await call).result == b'{"resultType": "complete"}'
    assert len(place.seen) == 2
