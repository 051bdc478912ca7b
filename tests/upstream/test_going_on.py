"""A handshake server that closes the connection before its answer is asked for the rest (SEP-1699)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.gateway.serve import bind, listen
from mcpcompose.upstream.allowance import default_allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call, Reply
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.http import HttpConnection

Part = bytes | Exception | Awaitable[Any]


def event(id_: str | None = None, data: Any = "", retry: int | None = None) -> bytes:
    lines = [f"id: {id_}"] if id_ is not None else []
    lines += [f"retry: {retry}"] if retry is not None else []
    return "\r\n".join([*lines, f"data: {data if isinstance(data, str) else json.dumps(data)}", "", ""]).encode()


def answer(id_: Any = "gw-1") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": {"right": True}}


class Poller:
    """A server whose answers are written here, one list of parts per connection."""

    def __init__(self) -> None:
        self.posts: list[list[Part]] = []
        self.gets: list[list[Part] | int] = []
        self.seen: list[tuple[str, str | None, float]] = []
        self.cancelled: list[dict[str, Any]] = []
        self.notified: list[str] = []
        self.paused: list[int] = []
        self.connection: HttpConnection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        body = (await receive()).get("body", b"")
        if scope["method"] == "POST" and b'"id"' not in body:
            self.cancelled.append(json.loads(body))
            parts: list[Part] | int = 202
        else:
            self.seen.append((scope["method"], headers.get("last-event-id"), time.monotonic()))
            source: Any = self.posts if scope["method"] == "POST" else self.gets
            parts = source.pop(0) if source else 405
        status = parts if isinstance(parts, int) else 200
        kind = [(b"content-type", b"text/event-stream")] if status == 200 else []
        await send({"type": "http.response.start", "status": status, "headers": kind})
        for part in parts if not isinstance(parts, int) else ():
            if isinstance(part, bytes):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            elif isinstance(part, Exception):
                raise part
            else:
                await part
        await send({"type": "http.response.body", "body": b""})

    def begin(self, **keys: Any) -> Call:
        call = Call("tools/call", {"name": "x"}, **keys)
        self.connection.begin(call)
        return call

    async def call(self) -> Reply:
        call = self.begin()
        async with asyncio.timeout(10):
            while call.reply is None:
                await call.news()
                call.take_notes()
                if (pause := call.take_pause()) is not None:
                    self.paused.append(pause)
        return call.reply


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    made = Poller()
    bound = bind("127.0.0.1", None)
    listening = await listen(made, bound)
    watcher = Watcher(lambda method, _params: made.notified.append(method), lambda _reason: None)
    made.connection = HttpConnection(
        "s",
        HttpEndpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"),
        watcher,
        allowance=default_allowance("s", 100_000),
    )
    try:
        yield made
    finally:
        await made.connection.close("done")
        await listening.stop(0)


def message_of(reply: Reply) -> str:
    assert reply.error is not None
    return str(json.loads(reply.error)["message"])


async def test_the_rest_is_asked_for_after_the_pause_the_server_names(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=300)]]
    poller.gets = [[event("e-2", answer())]]

    reply = await poller.call()

    assert reply.result == b'{"right": true}'
    (_, none, posted), (get, last_id, asked) = poller.seen
    assert (none, get, last_id) == (None, "GET", "e-1")
    assert asked - posted >= 0.3
    assert poller.paused == [300]


async def test_a_server_may_close_again_and_again_while_it_gets_on(poller: Poller) -> None:
    poller.posts = [[event("0", retry=1)]]
    poller.gets = [[event(str(number))] for number in range(1, 8)] + [[event("8", answer())]]

    assert (await poller.call()).result is not None
    assert [last_id for _, last_id, _ in poller.seen] == [None, *map(str, range(8))]


async def test_what_comes_on_any_of_the_connections_belongs_to_the_call(poller: Poller) -> None:
    def progress(number: int) -> dict[str, Any]:
        params = {"progressToken": "gw-1", "progress": number}
        return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}

    poller.posts = [[event("a", progress(1), retry=1)]]
    poller.gets = [[event("b", progress(2)), event("c", answer())]]
    call = poller.begin(progress_token=b'"mine"')
    async with asyncio.timeout(10):
        while call.reply is None:  # noqa: ASYNC110  notes are left where they are
            await asyncio.sleep(0.005)

    assert [json.loads(note[1])["progress"] for note in call.notes if isinstance(note, tuple)] == [1, 2]


async def test_a_server_that_gives_nothing_more_is_given_up(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=1)]]
    poller.gets = [[] for _ in range(10)]

    assert "ended its answer without a result" in message_of(await poller.call())
    assert len(poller.seen) <= 4


async def test_a_server_that_does_not_know_the_stream_any_more_says_why(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=1)]]
    poller.gets = [400]

    assert "did not go on with its answer: HTTP status 400" in message_of(await poller.call())


async def test_an_answer_that_ends_early_without_ids_is_not_asked_for(poller: Poller) -> None:
    poller.posts = [[event(data="x")]]
    poller.gets = [[event("e-2", answer())]]

    assert "ended its answer without a result" in message_of(await poller.call())
    assert len(poller.seen) == 1


async def test_a_modern_server_has_no_streams_to_go_on_with(poller: Poller) -> None:
    poller.connection.greeted(Era.MODERN, "2026-07-28")
    poller.posts = [[event("e-1", retry=1)]]
    poller.gets = [[event("e-2", answer())]]

    assert "ended its answer without a result" in message_of(await poller.call())
    assert len(poller.seen) == 1


async def test_a_connection_that_breaks_is_gone_on_with_and_nobody_is_told_to_wait(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=1), RuntimeError("the network")]]
    poller.gets = [[event("e-2", answer())]]

    assert (await poller.call()).result is not None
    assert poller.paused == []


async def test_a_call_that_is_given_up_in_the_pause_is_cancelled_at_the_server(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=60_000)]]
    call = poller.begin()
    async with asyncio.timeout(10):
        await call.news()
    call.cancel()

    async with asyncio.timeout(10):
        while not poller.cancelled:  # noqa: ASYNC110  the other side
            await asyncio.sleep(0.005)
    assert poller.cancelled[0]["params"]["requestId"] == "gw-1"
    assert len(poller.seen) == 1


async def test_a_long_pause_is_no_silence(poller: Poller) -> None:
    poller.posts = [[event("e-1", retry=300_000)]]
    call = poller.begin(idle=60.0, total=1800.0)
    async with asyncio.timeout(10):
        await call.news()

    assert call.deadline is not None
    assert call.deadline > time.monotonic() + 300
    call.cancel()


async def test_the_servers_own_stream_is_gone_on_with(poller: Poller) -> None:
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    forever = asyncio.Event()
    poller.gets = [[event("own-1", changed, retry=1)], 400, [event("own-9", changed), forever.wait()]]

    poller.connection.learned(ServerLists())
    async with asyncio.timeout(10):
        while len(poller.notified) < 2:  # noqa: ASYNC110  the other side
            await asyncio.sleep(0.005)
    forever.set()

    assert [last_id for _, last_id, _ in poller.seen] == [None, "own-1", None]
