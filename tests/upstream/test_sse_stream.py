"""Servers of the 2024-11-05 transport: events of one GET, messages by POST."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.gateway.serve import ON_DISCONNECT, bind, listen
from mcpcompose.upstream.allowance import default_allowance
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Ask, Call, Note, Origin, Reply
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.handshake import fetch_lists, greet
from mcpcompose.upstream.http_client import http_client
from mcpcompose.upstream.sse_stream import SseStream
from mcpcompose.upstream.stream import StreamConnection

SERVER = str(Path(__file__).parent.parent / "gateway" / "servers" / "everyday.py")
Take = Callable[["Old", dict[str, Any]], Awaitable[int]]


class Old:
    """A server of the old transport that does as it is told."""

    def __init__(self) -> None:
        self.first = b"event: endpoint\r\ndata: /messages?session_id=1\r\n\r\n"
        self.status = 200
        self.kind = "text/event-stream"
        self.take: Take = Old.answered
        self.seen: list[dict[str, Any]] = []
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.closed = asyncio.Event()
        self.events: asyncio.Queue[bytes] = asyncio.Queue()

    async def answered(self, message: dict[str, Any]) -> int:
        if "id" in message:
            self.say(id=message["id"], result={"echo": message["params"].get("name")})
        return 202

    def say(self, **message: Any) -> None:
        self.events.put_nowait(b"event: message\r\ndata: " + json.dumps(message).encode() + b"\r\n\r\n")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append((scope["method"], {k.decode(): v.decode() for k, v in scope["headers"]}))
        if scope["method"] == "GET":
            scope[ON_DISCONNECT] = self.closed.set
            await self._stream(send)
            return
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        message = json.loads(body)
        self.seen.append(message)
        status = await self.take(self, message)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"Accepted"})

    async def _stream(self, send: Any) -> None:
        headers = [(b"content-type", self.kind.encode()), (b"location", b"/other")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.first, "more_body": True})
        while event := await self.events.get():
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Side:
    """A connection to it, and what it was told."""

    def __init__(self, url: str, *, own: bool = False) -> None:
        self.lost: list[str] = []
        self.over = asyncio.Event()
        self.http = http_client({"x-key": "secret"}, connect=10.0, remote=True)
        self.stream = SseStream("s", url, self.http, limit=100_000)
        watcher = Watcher(lambda _method, _params: None, self._lost)
        self.connection = StreamConnection(
            "s", self.stream, watcher, allowance=default_allowance("s", 100_000), own=own
        )

    async def call(self, name: str = "x", **keys: Any) -> Reply:
        call = Call("tools/call", {"name": name}, **keys)
        self.connection.begin(call)
        async with asyncio.timeout(10):
            return await call.answer()

    async def end(self) -> str:
        async with asyncio.timeout(10):
            await self.over.wait()
        return self.lost[0]

    async def close(self) -> None:
        await self.connection.close("done")
        await self.http.aclose()

    def _lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.over.set()


@contextlib.asynccontextmanager
async def served(app: Any, *, own: bool = False) -> AsyncIterator[Side]:
    bound = bind("127.0.0.1", None)
    listening = await listen(app, bound)
    side = Side(f"http://127.0.0.1:{bound.getsockname()[1]}/sse", own=own)
    try:
        yield side
    finally:
        await side.close()
        await listening.stop(0)


async def test_a_call_goes_out_by_post_and_its_answer_comes_as_an_event() -> None:
    old = Old()
    async with served(old) as side:
        reply = await side.call("one")

    assert reply.result is not None
    assert json.loads(reply.result) == {"echo": "one"}
    assert {headers["x-key"] for _, headers in old.headers} == {"secret"}
    assert {headers["accept-encoding"] for _, headers in old.headers} == {"identity"}


async def test_messages_are_posted_in_the_order_in_which_they_were_written() -> None:
    old = Old()
    async with served(old) as side:
        for number in range(20):
            side.connection.notify(f"notifications/{number}")
        await side.call()

    assert [m["method"] for m in old.seen] == [*(f"notifications/{n}" for n in range(20)), "tools/call"]


async def test_a_server_that_acknowledges_late_delays_neither_answers_nor_other_calls() -> None:
    old, gate = Old(), asyncio.Event()

    async def take(old: Old, message: dict[str, Any]) -> int:
        await Old.answered(old, message)
        if message["params"]["name"] == "slow":
            await gate.wait()
        return 202

    old.take = take
    async with served(old) as side:
        slow = await side.call("slow")
        other = await side.call("other")
        assert side.stream.write_backlog > 0
        gate.set()

    assert slow.result is not None
    assert other.result is not None


async def test_answers_of_several_lines_are_read() -> None:
    old = Old()

    async def take(old: Old, message: dict[str, Any]) -> int:
        text = json.dumps({"id": message["id"], "result": {"a": "b"}}, indent=2)
        old.events.put_nowait("".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n")
        return 202

    old.take = take
    async with served(old) as side:
        reply = await side.call()

    assert reply.result is not None
    assert json.loads(reply.result) == {"a": "b"}


@pytest.mark.parametrize("status", [400, 413, 500, 302])
async def test_a_refused_message_costs_its_call_only(status: int) -> None:
    old = Old()

    async def take(old: Old, message: dict[str, Any]) -> int:
        return status if message["params"]["name"] == "bad" else await Old.answered(old, message)

    old.take = take
    async with served(old) as side:
        bad, good = await side.call("bad"), await side.call("good")

    assert bad.error is not None
    assert json.loads(bad.error)["message"].startswith(f"server `s` refused a message with HTTP status {status}")
    assert json.loads(bad.error)["data"] == {"server": "s", "retryable": True}
    assert good.result is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        b"http://evil.example/messages",
        b"https://127.0.0.1/messages",
        b"//evil.example/messages",
        b"http://127.0.0.1:1/messages",
        b"file:///etc/passwd",
        b"http://user@127.0.0.1/",
        b"/\xff",
        b"/" + b"x" * 9000,
        b"http://[/",
    ],
)
async def test_an_endpoint_elsewhere_gets_nothing(endpoint: bytes) -> None:
    old = Old()
    old.first = b"event: endpoint\ndata: " + endpoint + b"\n\n"
    async with served(old) as side:
        reply = await side.call()

        assert "named an endpoint" in await side.end()
    assert reply.error is not None
    assert old.seen == []


async def test_a_second_endpoint_is_not_followed() -> None:
    old = Old()
    old.first += b"event: endpoint\ndata: http://evil.example/\n\nevent: other\ndata: x\n\n: ping\n\n"
    async with served(old) as side:
        assert (await side.call()).result is not None
        assert side.connection.garbage == 0


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (404, "text/plain", "answered with HTTP status 404: is the path right?"),
        (401, "text/plain", "answered with HTTP status 401: it wants credentials, see `headers`"),
        (307, "text/plain", "redirects to another address, which is not followed"),
        (200, "application/json", "sends `application/json`, no events: does it need `transport: sse`?"),
    ],
)
async def test_a_place_that_sends_no_events_is_said_to(status: int, kind: str, expected: str) -> None:
    old = Old()
    old.status, old.kind = status, kind
    async with served(old) as side:
        assert await side.end() == expected


async def test_the_end_of_the_stream_ends_calls_at_once() -> None:
    old = Old()

    async def take(old: Old, _message: dict[str, Any]) -> int:
        old.events.put_nowait(b"")
        return 202

    old.take = take
    async with served(old) as side:
        reply = await side.call()

        assert await side.end() == "ended its stream of events"
    assert reply.error is not None
    assert "ended its stream of events" in json.loads(reply.error)["message"]


async def test_a_server_that_forgot_the_session_is_lost() -> None:
    old = Old()

    async def take(_old: Old, _message: dict[str, Any]) -> int:
        return 404

    old.take = take
    async with served(old) as side:
        reply = await side.call()

        assert await side.end() == "knows its session no more (HTTP status 404)"
    assert reply.error is not None


async def test_a_server_that_is_not_there_is_lost() -> None:
    bound = bind("127.0.0.1", None)
    port = bound.getsockname()[1]
    bound.close()
    side = Side(f"http://127.0.0.1:{port}/sse")
    try:
        assert (await side.end()).startswith("cannot be reached")
    finally:
        await side.close()


async def test_an_event_without_end_ends_the_stream_and_not_our_memory() -> None:
    old = Old()
    old.first += b"data: "
    async with served(old) as side:
        for _ in range(3):
            old.events.put_nowait(b"x" * 50_000)

        assert "more than 100000 bytes" in await side.end()


async def test_a_server_that_takes_nothing_makes_a_backlog_and_then_fails_calls() -> None:
    old = Old()
    old.first = b": no endpoint yet\n\n"
    async with served(old) as side:
        side.stream.write(b"x" * (65 << 20) + b"\n")
        reply = await side.call()

    assert reply.error is not None
    assert "does not read its input" in json.loads(reply.error)["message"]


async def test_closing_ends_the_stream_at_the_server() -> None:
    old = Old()
    async with served(old) as side:
        await side.call()
        await side.connection.close("done")

        async with asyncio.timeout(5):
            await old.closed.wait()
        assert not [t for t in asyncio.all_tasks() if t.get_name() == "sse of s"]


@pytest.fixture
async def sdk_url() -> AsyncIterator[str]:
    """The SDK's own server of the old transport."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, SERVER, str(port), "sse", stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(20):
            while not await listens(port):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/sse"
    finally:
        process.kill()
        await process.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_sdks_own_server_is_greeted_listed_and_called(sdk_url: str) -> None:
    side = Side(sdk_url)
    try:
        async with asyncio.timeout(20):
            greeting = await greet(side.connection, "legacy", None)
            lists = await fetch_lists(side.connection, greeting, seconds=10)
        call = Call("tools/call", {"name": "slow", "arguments": {}}, progress_token=b'"mine"')
        side.connection.begin(call)
        notes: list[Note] = []
        async with asyncio.timeout(10):
            while call.reply is None or call.notes:
                await call.news(5)
                notes += call.take_notes()
    finally:
        await side.close()

    assert greeting.era is Era.LEGACY
    assert [tool["name"] for tool in lists.tools] == ["add", "slow", "forever"]
    assert call.reply.result is not None
    assert json.loads(call.reply.result)["structuredContent"] == {"result": "done"}
    progress = [json.loads(note[1]) for note in notes if isinstance(note, tuple)]
    assert [(p["progressToken"], p["message"]) for p in progress] == [("mine", f"step {n}") for n in (1, 2, 3)]


async def test_a_question_of_the_server_is_answered_by_post() -> None:
    old = Old()

    async def take(old: Old, message: dict[str, Any]) -> int:
        if message.get("method") == "tools/call":
            old.say(id="q", method="elicitation/create", params={"message": "Name?"})
        elif message.get("id") == "q":
            old.say(id="gw-1", result=message["result"])
        return 202

    old.take = take
    async with served(old, own=True) as side:
        call = Call("tools/call", {"name": "x"}, origin=Origin("c", "session", capabilities={"elicitation": {}}))
        side.connection.begin(call)
        async with asyncio.timeout(10):
            await call.news()
            (ask,) = call.take_notes()
            assert isinstance(ask, Ask)
            ask.answer(Reply(result=b'{"action":"accept","content":{}}'))
            reply = await call.answer()

    assert reply.result is not None
    assert json.loads(reply.result) == {"action": "accept", "content": {}}
