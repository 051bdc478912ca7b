"""HTTP/1.1 as it is on the wire, whatever the application does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.rawhttp import Wire, once
from gateway.stage import until
from mcpcompose.gateway.serve import Bounds, Listening, bind, listen

GET = b"GET /x?y=1 HTTP/1.1\r\nhost: h\r\n\r\n"
Start = dict[str, Any]


@asynccontextmanager
async def serving(app: Callable[..., Any], **bounds: Any) -> AsyncIterator[tuple[int, Listening]]:
    bound = bind("127.0.0.1", None)
    listening = await listen(app, bound, bounds=Bounds(**bounds))
    try:
        yield bound.getsockname()[1], listening
    finally:
        await listening.stop(0)


def start(status: int = 200, **headers: str) -> Start:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": lines}


def body(content: bytes = b"", *, more: bool = False) -> Start:
    return {"type": "http.response.body", "body": content, "more_body": more}


def answering(*messages: Start) -> Callable[..., Any]:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def echo(scope: Any, receive: Any, send: Any) -> None:
    content, event = b"", {"more_body": True}
    while event["more_body"]:
        event = await receive()
        content += event["body"]
    text = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {scope['http_version']} ".encode()
    await send(start())
    await send(body(text + content))


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (GET, b"GET /x y=1 1.1 "),
        (b"GET /a%20b?c=%20 HTTP/1.1\r\nhost: h\r\n\r\n", b"GET /a b c=%20 1.1 "),
        (b"GET http://h/x HTTP/1.1\r\nhost: h\r\n\r\n", b"GET /x  1.1 "),
        (b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc", b"POST /x  1.1 abc"),
        (
            b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            b"POST /x  1.1 abc",
        ),
        (b"GET /x HTTP/1.0\r\n\r\n", b"GET /x  1.0 "),
    ],
)
async def test_the_application_sees_the_request_and_the_client_its_answer(request_: bytes, wanted: bytes) -> None:
    async with serving(echo) as (port, _):
        answered = await once(port, request_)

    assert (answered.status, answered.body) == (200, wanted)


async def test_a_large_body_is_handed_on_in_pieces_and_whole() -> None:
    content = bytes(range(256)) * 20_000
    async with serving(echo) as (port, _):
        answered = await once(port, b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))

    assert answered.body.endswith(content)


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving(echo) as (port, listening):
        wire = Wire(port)
        for _ in range(3):
            assert (await wire.send(GET)).status == 200
        assert len(listening.connections) == 1
        closing = await wire.send(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")

        assert closing.headers["connection"] == "close"
        await until(lambda: not listening.connections)


@pytest.mark.parametrize(
    ("messages", "status", "content"),
    [
        ([start(200, content_length="2"), body(b"ok")], 200, b"ok"),
        ([start(200, content_length="2"), body(b"o", more=True), body(b"k")], 200, b"ok"),
        ([start(200), body(b"o", more=True), body(b"", more=True), body(b"k")], 200, b"ok"),
        ([start(204), body()], 204, b""),
        ([start(299), body(b"x")], 299, b"x"),
        ([], 500, b'{"error":"internal error of the gateway"}'),
        ([body(b"x")], 500, b'{"error":"internal error of the gateway"}'),
        ([start(200, x="a\r\nset-cookie: b"), body(b"x")], 0, b""),
        ([start(200, content_length="1"), body(b"xx")], 0, b""),
        ([start(200, content_length="3"), body(b"xx")], 0, b""),
        ([start(200, content_length="3")], 0, b""),
    ],
)
async def test_what_an_application_sends_is_sent_or_the_connection_ends(
    messages: list[Start], status: int, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with serving(answering(*messages)) as (port, _):
        answered = await once(port, GET)

    assert (answered.status, answered.body) == (status, content)


async def test_head_gets_the_head_alone() -> None:
    async with serving(answering(start(200, content_length="5"), body(b"hello"))) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert answer.endswith(b"content-length: 5\r\nconnection: close\r\n\r\n")


async def test_what_is_left_of_a_request_that_was_answered_early_is_dropped_and_the_connection_goes_on() -> None:
    async with serving(answering(start(200, content_length="2"), body(b"no"))) as (port, _):
        wire = Wire(port)
        first = await wire.send(b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n" + b"x" * 1000)
        second = await wire.send(b"x" * 299_000 + GET)
        await wire.close()

    assert (first.body, second.body) == (b"no", b"no")


async def test_who_never_sends_the_rest_of_a_request_that_was_answered_is_cut_off() -> None:
    async with serving(answering(start(200, content_length="2"), body(b"no")), receiving=0.1) as (port, listening):
        wire = Wire(port)
        await wire.send(b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n" + b"x" * 1000)

        await until(lambda: not listening.connections)
        await wire.close()


async def test_a_second_request_before_the_answer_ends_the_connection_and_the_first() -> None:
    ended = asyncio.Event()

    async def waits(scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    async with serving(waits) as (port, _):
        assert (await once(port, GET + GET)).status == 0
        async with asyncio.timeout(5):
            await ended.wait()


async def test_requests_that_are_late_when_the_server_stops_are_told_so() -> None:
    async def waits(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    async with serving(waits) as (port, listening):
        waiting = asyncio.create_task(once(port, GET))
        await until(lambda: len(listening.connections) == 1)
        await until(lambda: bool(listening._served.tasks))
        await listening.stop(0.05)
        answered = await waiting

    assert (answered.status, answered.body) == (503, b'{"error":"the gateway ends"}')
