"""Servers that are reached over HTTP, replaced and lost under a gateway that keeps serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.stage import Stage, project, tool, until
from mcpcompose.engine.base import Endpoint, HttpEndpoint
from mcpcompose.gateway.serve import Listening, bind, listen


class WebServer:
    """A small MCP server with sessions, behind a real HTTP server."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.endpoint: HttpEndpoint
        self._listening: Listening

    async def start(self) -> None:
        bound = bind("127.0.0.1", None)
        self._listening = await listen(self, bound)
        self.endpoint = HttpEndpoint(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp")

    async def stop(self) -> None:
        await self._listening.stop(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        message = json.loads(body) if scope["method"] == "POST" else {}
        if "id" not in message:
            await self._send(send, 202 if message else 405, b"")
            return
        result = await self._result(message)
        await self._send(send, 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())

    async def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        method = message["method"]
        if method == "initialize":
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "web"}}
        if method == "tools/list":
            return {"tools": [tool("echo")]}
        self.called.append(message["params"]["arguments"]["n"])
        await self.gate.wait()
        return {"content": [{"type": "text", "text": message["params"]["arguments"]["n"]}]}

    async def _send(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"mcp-session-id", b"s")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def webs() -> AsyncIterator[list[WebServer]]:
    made = [WebServer(), WebServer()]
    for web in made:
        await web.start()
    yield made
    for web in made:
        web.gate.set()
        with contextlib.suppress(OSError):
            await web.stop()


async def call(stage: Stage, number: str) -> Any:
    response = await stage.post("tools/call", {"name": "a__echo", "arguments": {"n": number}})
    return response.json()


async def test_calls_around_a_replacement_are_neither_lost_nor_carried_out_twice(
    stage: Stage, webs: list[WebServer]
) -> None:
    old, new = webs
    await stage.serve(project(servers={"a": {}}), {"a": old.endpoint})
    old.gate.clear()
    before = [asyncio.create_task(call(stage, f"before-{n}")) for n in range(5)]
    await until(lambda: len(old.called) == 5)

    detaching = asyncio.create_task(stage.gateway.detach("a"))
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot._leaving)
    during = [asyncio.create_task(call(stage, f"during-{n}")) for n in range(5)]
    await until(lambda: len(slot._parked) == 5)
    assert not detaching.done()
    old.gate.set()
    await detaching
    stage.gateway.starting("a")
    await stage.attach("a", new.endpoint)
    answers = await asyncio.gather(*before, *during)

    texts = [answer["result"]["content"][0]["text"] for answer in answers]
    assert texts == [f"before-{n}" for n in range(5)] + [f"during-{n}" for n in range(5)]
    assert sorted(old.called) == texts[:5]
    assert sorted(new.called) == texts[5:]


async def test_no_call_is_lost_or_carried_out_twice_while_instances_are_replaced_again_and_again(
    stage: Stage, webs: list[WebServer]
) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": webs[0].endpoint})
    answers: list[str] = []

    async def client(worker: int) -> None:
        for number in range(20):
            answer = await call(stage, f"{worker}.{number}")
            answers.append(answer["result"]["content"][0]["text"])

    async def replace() -> None:
        for number in range(1, 7):
            await stage.gateway.detach("a")
            await stage.attach("a", webs[number % 2].endpoint)
            await asyncio.sleep(0.03)

    await asyncio.gather(replace(), *(client(worker) for worker in range(8)))

    carried_out = [n for web in webs for n in web.called]
    assert len(answers) == len(set(answers)) == 160
    assert sorted(carried_out) == sorted(answers)


async def test_an_idle_server_that_ends_is_started_again(
    stage: Stage, webs: list[WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpcompose.upstream.http.LOOK", 0.02)
    first, second = webs

    async def again(_server: str) -> Endpoint:
        return second.endpoint

    stage.next_endpoint = again
    await stage.serve(project(servers={"a": {}}), {"a": first.endpoint})

    await first.stop()

    await until(lambda: stage.restarts == ["a"])
    await until(lambda: stage.gateway.status()[0].state == "ready")
    assert (await call(stage, "later"))["result"]["content"][0]["text"] == "later"
