"""Whatever ends, and however soon: every call gets an answer, and no question stays open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.gateway.serve import bind, listen
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Ask, Call, Origin, Reply, failure
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.http import HttpConnection
from mcpcompose.upstream.questions import Questions
from upstream.test_own_instances import Place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.supervisor.close()


async def test_a_call_whose_conversation_ends_in_the_step_in_which_it_began_is_answered(place: Place) -> None:
    await place.serve(scope="session")
    call = place.call("mine")

    place.supervisor.failed("a", "the engine is gone")

    async with asyncio.timeout(5):
        reply = await call.answer()
    assert b"retryable" in (reply.error or b"")


def test_a_question_that_comes_for_a_call_that_is_over_is_answered_and_forgotten() -> None:
    sent: list[bytes] = []
    questions = Questions(sent.append, None)
    call = Call("tools/call", {}, origin=Origin("me"))
    call.finish(failure(-32800, "cancelled"))

    for number in range(300):
        questions.take(number, "elicitation/create", b"{}", call, 0.0)

    assert len(sent) == 300
    assert all(b"call is over" in answer for answer in sent)


async def test_a_call_that_waits_for_the_tool_list_to_be_read_again_ends_with_the_connection() -> None:
    async def lacks_a_header(_scope: Any, receive: Any, send: Any) -> None:
        asked = json.loads((await receive())["body"])
        error = {"code": -32020, "message": "a header is missing"}
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    bound = bind("127.0.0.1", None)
    listening = await listen(lacks_a_header, bound)
    again = asyncio.Event()
    watcher = Watcher(lambda _method, _params: again.set(), lambda _reason: None)
    connection = HttpConnection("s", HttpEndpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"), watcher)
    connection.greeted(Era.MODERN, "2026-07-28")
    call = Call("tools/call", {"name": "x"})
    try:
        connection.begin(call)
        async with asyncio.timeout(5):
            await again.wait()
            await connection.close("detached")
            reply = await call.answer()
    finally:
        await listening.stop(0)

    assert b"went away during the call" in (reply.error or b"")


async def test_a_question_beside_the_call_of_a_client_without_a_session_is_that_calls() -> None:
    called, answered = asyncio.Event(), asyncio.Event()
    told: list[Any] = []

    async def asks_on_its_own_stream(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        message = json.loads(body) if body else {}
        if "result" in message:
            told.append(message)
            answered.set()
        result: Any = {"jsonrpc": "2.0", "id": message.get("id"), "result": {"content": []}}
        if scope["method"] == "GET":
            await called.wait()
            result = {"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": {"message": "?"}}
        elif message.get("method") == "tools/call":
            called.set()
            await answered.wait()
        kind = b"text/event-stream" if scope["method"] == "GET" else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        content = json.dumps(result).encode()
        await send(
            {"type": "http.response.body", "body": b"data: " + content + b"\n\n" if b"event" in kind else content}
        )

    bound = bind("127.0.0.1", None)
    listening = await listen(asks_on_its_own_stream, bound)
    endpoint = HttpEndpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp")
    origin = Origin("me", modern=True, capabilities={"elicitation": {}})
    watcher = Watcher(lambda _method, _params: None, lambda _reason: None)
    connection = HttpConnection("s", endpoint, watcher, origin=origin)
    call = Call("tools/call", {"name": "x"}, origin=origin)
    try:
        connection.hear()
        connection.begin(call)
        async with asyncio.timeout(5):
            await call.news()
            [ask] = [note for note in call.take_notes() if isinstance(note, Ask)]
            ask.answer(Reply(result=b'{"action":"decline"}'))
            reply = await call.answer()
    finally:
        await connection.close("done")
        await listening.stop(0)

    assert reply.result is not None
    assert told == [{"jsonrpc": "2.0", "id": "ask", "result": {"action": "decline"}}]
