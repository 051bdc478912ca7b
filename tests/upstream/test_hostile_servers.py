"""What a server may do to us, and what it costs: itself only."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcpcompose.errors import UpstreamError
from mcpcompose.upstream.base import Era, ServerLists, readable
from mcpcompose.upstream.body import BodyTooLarge, bounded
from mcpcompose.upstream.call import Call, Reply
from mcpcompose.upstream.handshake import Greeting, fetch_kind
from mcpcompose.upstream.listcache import ListCache
from mcpcompose.upstream.retry import Looks
from mcpcompose.upstream.wire import LineSplitter
from upstream.test_http import Place, Web, place  # noqa: F401  the fixture
from upstream.test_stream import connected

TOOLS = Greeting(Era.LEGACY, "2025-11-25", None, {"tools": {}}, None)


async def test_a_server_that_asks_and_never_reads_is_given_up_instead_of_filling_our_buffer() -> None:
    connection, stream, heard = connected()
    call = Call("tools/call", {})
    connection.begin(call)
    stream.write_backlog = 200 << 20

    stream.say(id="x", method="ping")
    written = len(stream.written)
    for _ in range(100):
        stream.say(id="x", method="ping")

    assert heard.lost == ["it does not read its input"]
    assert call.reply is not None
    assert len(stream.written) == written


async def test_requests_with_huge_ids_are_not_answered() -> None:
    _, stream, heard = connected()

    stream.say(id="x" * 100_000, method="ping")
    stream.say(id="y", method="m" * 100_000)
    await asyncio.sleep(0)

    assert len(stream.written) == 1
    assert len(json.dumps(stream.written[0])) < 1000
    assert heard.lost == []


async def test_progress_that_nobody_reads_is_kept_up_to_a_megabyte() -> None:
    connection, stream, _ = connected()
    call = Call("tools/call", {}, progress_token=b"1")
    connection.begin(call)
    await asyncio.sleep(0)
    token = stream.written[0]["params"]["_meta"]["progressToken"]

    for _ in range(50):
        stream.say(method="notifications/progress", params={"progressToken": token, "message": "x" * 100_000})

    assert sum(len(params) for _, params in call.notes) <= 1 << 20
    call.take_notes()
    stream.say(method="notifications/progress", params={"progressToken": token, "progress": 1})
    assert len(call.notes) == 1


async def test_a_thousand_calls_expire_in_no_time() -> None:
    connection, stream, _ = connected()
    calls = [Call("tools/call", {}) for _ in range(4000)]
    for call in calls:
        connection.begin(call)
    await asyncio.sleep(0)

    began = time.process_time()
    for call in reversed(calls):
        connection.expire(call)

    assert time.process_time() - began < 0.5
    await asyncio.sleep(0)
    assert connection.pending == {}
    assert sum(m["method"] == "notifications/cancelled" for m in stream.written) == 4000


def test_a_long_line_in_tiny_pieces_costs_its_own_size() -> None:
    splitter = LineSplitter(1 << 20)
    tracemalloc.start()
    for _ in range(200_000):
        splitter.feed(b"ab")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 2 << 20
    assert splitter.feed(b"c\nd") == [b"ab" * 200_000 + b"c"]
    assert splitter.feed(b"\n\n") == [b"d", b""]


class Pages:
    """A connection that answers lists with these pages."""

    def __init__(self, *pages: bytes) -> None:
        self.pages = list(pages)
        self.asked = 0

    def begin(self, call: Call) -> None:
        self.asked += 1
        call.finish(Reply(result=self.pages.pop(0)))


async def listed(*pages: bytes) -> tuple[dict[str, Any], ...]:
    connection: Any = Pages(*pages)
    return (await fetch_kind(connection, TOOLS, ServerLists(), "tools")).tools


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


async def test_a_list_of_many_megabytes_is_refused() -> None:
    page = json.dumps({"tools": [{"name": "x", "description": "d" * 3_000_000}], "nextCursor": "1"}).encode()

    with pytest.raises(UpstreamError, match="too large: at most 8 MiB"):
        await listed(page, page.replace(b'"1"', b'"2"'), page.replace(b'"1"', b'"3"'))


async def test_a_list_with_too_many_entries_is_refused() -> None:
    with pytest.raises(UpstreamError, match="too many entries: at most 10000"):
        await listed(b'{"tools":[' + b",".join([b"{}"] * 10_001) + b"]}")


async def test_a_list_that_cannot_be_read_is_an_error_and_not_an_empty_list() -> None:
    with pytest.raises(UpstreamError, match="cannot be read"):
        await listed(rb'{"tools":[{"name":"\ud800"}]}')


async def test_a_tool_that_is_nested_too_deeply_is_left_out_and_the_others_stay() -> None:
    tools = await listed(
        f'{{"tools":[{{"name":"deep","inputSchema":{nested(400)}}},{{"name":"good","inputSchema":{{}}}}]}}'.encode()
    )

    assert [tool["name"] for tool in tools] == ["good"]


def test_lists_with_numbers_beyond_64_bits_survive_the_cache(tmp_path: Path) -> None:
    cache = ListCache(tmp_path)

    cache.store("f", ServerLists(tools=({"name": "x", "default": 10**40},)), Era.LEGACY, "2025-11-25")

    stored = cache.load("f")
    assert stored is not None
    assert stored[0].tools[0]["default"] == 10**40


def test_a_server_that_says_without_end_that_its_list_changed_is_heard_ever_more_rarely() -> None:
    looks, now, count = Looks(), 0.0, 0

    assert looks.pause(now) == pytest.approx(0.05)
    while now < 60:
        now += looks.pause(now)
        count += 1

    assert count < 40
    assert looks.pause(now + 20) == pytest.approx(0.05)


def test_what_a_server_says_of_itself_reaches_no_terminal_raw() -> None:
    assert readable("a\x1b[2J\nb\u202ec") == "a\N{REPLACEMENT CHARACTER}[2J b\N{REPLACEMENT CHARACTER}c"
    assert len(readable("x" * 10_000)) < 1000


async def test_a_decompression_bomb_stops_at_the_limit_without_holding_the_loop() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    response = httpx2.Response(200, headers={"content-encoding": "deflate"}, content=None, stream=_Once(bomb))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    total = 0

    async def read() -> None:
        nonlocal total
        async for piece in bounded(response, 16 << 20):
            total += len(piece)

    with pytest.raises(BodyTooLarge):
        await read()
    watching.cancel()

    assert total <= 16 << 20
    assert longest < 0.2


class _Once(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> Any:
        yield self._content


async def test_a_session_id_that_no_header_can_carry_is_refused(place: Place) -> None:  # noqa: F811
    async def answer(web: Web, message: dict[str, Any]) -> None:
        result = {"protocolVersion": "2025-11-25", "capabilities": {}}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        head = [(b"content-type", b"application/json"), (b"mcp-session-id", "schl\u00fcssel".encode("latin-1"))]
        await web._send({"type": "http.response.start", "status": 200, "headers": head})
        await web._send({"type": "http.response.body", "body": body})

    place.answer = answer
    call = Call("initialize", {})
    place.connection.begin(call)
    await call.answer()

    assert call.reply is not None
    assert b"session id" in (call.reply.error or b"")
    await place.connection.close("done")


async def test_a_flood_of_requests_on_an_event_stream_starts_a_bounded_number_of_answers(place: Place) -> None:  # noqa: F811
    async def answer(web: Web, message: dict[str, Any]) -> None:
        if "method" not in message:
            await asyncio.sleep(5)
            return
        flood = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "ping"}).encode() for n in range(2000)]
        await web.events(*flood, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}).encode())

    place.answer = answer
    call = Call("tools/call", {"name": "x"})
    place.connection.begin(call)
    await call.answer()

    assert call.reply is not None
    assert call.reply.result is not None
    assert len(place.connection._others) <= 64
