"""Handshake clients that lose their connection, or are told to come back, fetch the rest (`Last-Event-ID`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client

from gateway.stage import FakeServer, LegacySession, Stage, project, tool, until
from gateway.test_real_clients import free_port, listening
from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.upstream.sse import EventParser

TESTS = Path(__file__).parent.parent


class Reading:
    """One response of events, read as it comes."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.messages: list[dict[str, Any]] = []
        self.last_id: str | None = None
        self.retry: int | None = None
        self.ended = False
        self._parser = EventParser(1 << 24)
        self._chunks = response.aiter_raw()

    async def until(self, count: int) -> None:
        """Read until so many messages have come, or the end."""
        async for chunk in self._chunks:
            events = self._parser.feed(chunk)
            self.messages += [json.loads(event) for event in events if event]
            self.last_id, self.retry = self._parser.last_id, self._parser.retry
            if len(self.messages) >= count:
                return
        self.ended = True

    async def rest(self) -> None:
        """Read to the end."""
        await self.until(1 << 30)

    @property
    def methods(self) -> list[str]:
        return [message.get("method", "result") for message in self.messages]


@contextlib.asynccontextmanager
async def calling(session: LegacySession, id_: Any = 1) -> AsyncIterator[Reading]:
    params = {"name": "a__echo", "_meta": {"progressToken": "p"}}
    body = json.dumps({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
    async with session.stage.http.stream(
        "POST", session.stage.base + session.path, content=body, headers=session.headers
    ) as response:
        yield Reading(response)


@contextlib.asynccontextmanager
async def back(session: LegacySession, last_id: str | None) -> AsyncIterator[Reading]:
    headers = session.headers | {"accept": "text/event-stream"}
    if last_id is not None:
        headers["last-event-id"] = last_id
    async with session.stage.http.stream("GET", session.stage.base + session.path, headers=headers) as response:
        yield Reading(response)


async def refused(session: LegacySession, last_id: str) -> int:
    async with back(session, last_id) as reading:
        await reading.response.aread()
        return reading.response.status_code


def progress(server: FakeServer, number: int) -> None:
    call = next(message for message in reversed(server.seen) if message["method"] == "tools/call")
    params = {"progressToken": call["params"]["_meta"]["progressToken"], "progress": number}
    server.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def finish(server: FakeServer) -> None:
    call = next(message for message in reversed(server.seen) if message["method"] == "tools/call")
    server.result(call, {"content": [], "structuredContent": {"done": True}})


@pytest.fixture
async def server(stage: Stage) -> FakeServer:
    """A server that answers calls when the test says so."""
    made = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}, clients={"other": "default"}), {"a": made})
    return made


async def begun(server: FakeServer) -> None:
    await until(lambda: server.seen[-1]["method"] == "tools/call")
    progress(server, 1)


async def test_the_rest_of_a_call_is_fetched_after_the_connection_was_lost(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(session) as first:
            await first.until(1)
    progress(server, 2)
    finish(server)
    await until(lambda: not stage.gateway.supervisor._slots["a"].in_flight)

    async with asyncio.timeout(10), back(session, first.last_id) as second:
        await second.rest()

    assert first.methods == ["notifications/progress"]
    assert second.methods == ["notifications/progress", "result"]
    assert second.messages[0]["params"] == {"progressToken": "p", "progress": 2}
    assert second.messages[1]["result"]["structuredContent"] == {"done": True}
    assert second.response.headers["mcp-session-id"] == session.id


async def test_a_call_goes_on_over_the_connection_that_asks_for_its_rest(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(session) as first:
            await first.until(1)
            async with back(session, "1-0") as second:
                await second.until(1)
                progress(server, 2)
                await second.until(2)
                finish(server)
                await second.rest()
            await first.rest()

    assert first.methods == ["notifications/progress"]
    assert second.methods == ["notifications/progress", "notifications/progress", "result"]
    assert (await session.post("ping")).status_code == 200


async def test_a_call_answered_without_a_stream_leaves_nothing(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    session = await stage.session()

    answer = await session.post("tools/call", {"name": "a__echo"})

    assert answer.headers["content-type"] == "application/json"
    assert await refused(session, "1-0") == 400


async def test_older_clients_get_ids_and_no_event_without_data(stage: Stage, server: FakeServer) -> None:
    session = await stage.session("2025-06-18")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(session) as first:
            await first.until(1)
    finish(server)

    async with asyncio.timeout(10), back(session, first.last_id) as second:
        await second.rest()

    assert (first.last_id, first.retry) == ("1-1", None)
    assert second.methods == ["result"]


@pytest.mark.parametrize("bad", ["x", "1-0", "1-9", "99-1", "-", "1-0; 1-1", "9" * 300, "../1-0", "%00"])
async def test_an_id_that_was_not_given_out_is_refused(stage: Stage, server: FakeServer, bad: str) -> None:
    session = await stage.session()

    assert await refused(session, bad) == 400
    assert (await session.post("ping")).status_code == 200


async def test_nobody_gets_at_the_events_of_another_session(stage: Stage, server: FakeServer) -> None:
    victim, neighbour, thief = await stage.session(), await stage.session(), await stage.session(client="other")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(victim) as first:
            await first.until(1)
            assert first.last_id is not None
            finish(server)
            await first.rest()

    assert await refused(neighbour, first.last_id) == 400
    assert await refused(thief, first.last_id) == 400
    thief.id = victim.id
    assert await refused(thief, first.last_id) == 404
    victim.path = "/servers/a/mcp"
    assert await refused(victim, first.last_id) == 404


async def test_guessing_ids_finds_nothing_and_leaves_nothing(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()

    for number in range(200):
        assert await refused(session, f"{number + 1}-{number}") == 400
    front: Any = stage.gateway._front
    assert [len(one.log) for one in front._legacy.sessions._sessions.values()] == [0]


async def test_the_answer_to_a_cancelled_call_is_fetched_too(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(session, "c") as first:
            await first.until(1)
    await session.post("notifications/cancelled", {"requestId": "c"}, id_=None)

    async with asyncio.timeout(10), back(session, first.last_id) as second:
        await second.rest()

    assert second.messages[0]["id"] == "c"
    assert second.messages[0]["error"]["code"] == -32800


async def test_a_session_that_ends_ends_its_streams(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(begun(server))
        async with calling(session) as first:
            await first.until(1)
            await stage.http.delete(stage.url, headers=session.headers)
            await first.rest()

    assert first.messages[-1]["error"]["code"] == -32800
    assert await refused(session, "1-0") == 404


async def test_a_change_is_told_to_a_client_that_listens_again(stage: Stage, server: FakeServer) -> None:
    session = await stage.session()
    async with asyncio.timeout(10):
        async with back(session, None) as reading:
            server.tools = [tool("echo"), tool("new")]
            server.changed()
            await reading.until(1)
        assert reading.methods == ["notifications/tools/list_changed"]
        await until(lambda: not stage.gateway.kernel.listeners)
        server.tools = [tool("echo")]
        server.changed()
        await until(lambda: len(stage.gateway.kernel.table.lists["a"].tools) == 1)

        async with back(session, reading.last_id) as again:
            await again.until(1)
        async with back(session, "0-0") as replayed:
            await replayed.until(2)

    assert again.methods == ["notifications/tools/list_changed"]
    assert again.last_id == "0-2"
    assert replayed.methods == ["notifications/tools/list_changed"] * 2


# --- real clients and servers ---------------------------------------------------------------------------------------


class Line:
    """The network between a client and the gateway: a proxy whose connections can be cut."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.opened = 0

    @contextlib.asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[int]:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
            writer.close()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.opened += 1
            theirs, ours = await asyncio.open_connection("127.0.0.1", port)
            self.writers += [writer, ours]
            await asyncio.gather(pump(reader, ours), pump(theirs, writer))

        proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with proxy:
            yield proxy.sockets[0].getsockname()[1]
            self.cut()

    def cut(self) -> None:
        writers, self.writers = self.writers, []
        for writer in writers:
            writer.transport.abort()


async def test_the_sdk_client_gets_its_answer_though_the_network_was_cut(stage: Stage, server: FakeServer) -> None:
    line, heard = Line(), []

    async def told(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)
        if done == 1:
            line.cut()
            asyncio.get_running_loop().call_later(0.2, progress, server, 2)
            asyncio.get_running_loop().call_later(0.3, finish, server)

    port = httpx2.URL(stage.url).port
    assert port is not None
    headers = {"authorization": f"Bearer {stage.token()}"}
    async with asyncio.timeout(30), line.to(port) as front, httpx2.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{front}/mcp", http_client=http)
        async with mcp.Client(transport, mode="legacy") as client, asyncio.TaskGroup() as group:
            group.create_task(begun(server))
            result = await client.call_tool("a__echo", {}, progress_callback=told)

    assert result.structured_content == {"done": True}
    assert heard == [1, 2]


@pytest.fixture
async def polling(stage: Stage) -> AsyncIterator[Stage]:
    """The SDK's server with an event store, whose tool closes its stream before it answers."""
    port, quiet = free_port(), asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "conformance.everything", "--http", str(port), "--era", "legacy"),
        env=os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        stdout=quiet,
        stderr=quiet,
    )
    try:
        await listening(port)
        await stage.serve(project(servers={"a": {}}), {"a": HttpEndpoint(f"http://127.0.0.1:{port}/mcp")})
        yield stage
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("path", ["/mcp", "/servers/a/mcp"])
async def test_a_server_that_tells_its_client_to_come_back_tells_ours(polling: Stage, path: str) -> None:
    session = await polling.session(path=path)
    name = "a__test_reconnection" if path == "/mcp" else "test_reconnection"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}})
    async with asyncio.timeout(20):
        async with polling.http.stream("POST", polling.base + path, content=body, headers=session.headers) as response:
            first = Reading(response)
            await first.rest()
        async with back(session, first.last_id) as second:
            await second.rest()

    assert first.retry == 100
    assert "result" not in first.methods
    assert second.messages[-1]["id"] == 1
    assert second.messages[-1]["result"]["content"][0]["text"] == "Reconnection test completed"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdk_client_polls_a_server_through_the_gateway(polling: Stage, mode: str) -> None:
    headers = {"authorization": f"Bearer {polling.token()}"}
    async with asyncio.timeout(30), httpx2.AsyncClient(headers=headers, timeout=20) as http:
        transport = streamable_http_client(polling.url, http_client=http)
        async with mcp.Client(transport, mode=mode) as client:
            result = await client.call_tool("a__test_reconnection", {})

    assert result.content[0].text == "Reconnection test completed"
