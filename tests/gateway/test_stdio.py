from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import MODERN, FakeServer, Stage, project, tool, until
from mcpcompose.gateway.stdio import StdioFront
from mcpcompose.spec.limits import Limits
from mcpcompose.spec.project import Gateway

META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


class Line:
    """One raw connection to the stdio socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, stage: Stage, **hello: str) -> Line:
        line = cls(*await asyncio.open_unix_connection(str(stage.folder / "stdio.sock")))
        line.send(hello)
        return line

    def send(self, message: Any) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def read(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self.reader.readline() or b"null")

    async def ask(self, method: str, params: dict[str, Any] | None = None, id_: Any = 1) -> Any:
        self.send({"jsonrpc": "2.0", "id": id_, "method": method, "params": params or {}})
        return await self.read()


async def test_a_handshake_client_works_on_the_socket(stage: Stage) -> None:
    server = FakeServer()
    await stage.serve(project(servers={"a": {}}), {"a": server})
    line = await Line.open(stage, token=stage.token())

    hello = await line.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    line.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    listed = await line.ask("tools/list", id_="x")
    called = await line.ask("tools/call", {"name": "a__echo"})
    server.tools.append(tool("more"))
    server.changed()

    assert hello["result"]["protocolVersion"] == "2025-06-18"
    assert listed == {"jsonrpc": "2.0", "id": "x", "result": {"tools": [tool("a__echo")]}}
    assert "result" in called
    assert (await line.read())["method"] == "notifications/tools/list_changed"
    line.writer.close()
    await until(lambda: len(stage.gateway.listeners) == 0)


async def test_a_modern_client_works_on_the_socket(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    line = await Line.open(stage, profile="default")

    discovered = await line.ask("server/discover", {"_meta": META})
    called = await line.ask("tools/call", {"name": "a__echo", "_meta": META})
    bare = await line.ask("tools/list")
    unknown = await line.ask("tools/list", {"_meta": META | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}})
    acknowledged = await line.ask("subscriptions/listen", {"_meta": META, "notifications": {"toolsListChanged": True}})

    assert discovered["result"]["supportedVersions"] == [MODERN]
    assert called["result"]["resultType"] == "complete"
    assert bare["error"]["code"] == -32602
    assert unknown["error"]["code"] == -32022
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    line.writer.close()


@pytest.mark.parametrize("hello", [{"token": "wrong"}, {"profile": "nothing"}, {"profile": ["x"]}])
async def test_a_stranger_gets_an_error_and_the_door(stage: Stage, hello: Any) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    line = await Line.open(stage, **hello)

    assert "error" in await line.read()
    assert await line.read() is None
    line.writer.close()
    await line.writer.wait_closed()
    line.writer.close()


async def test_the_socket_is_the_users_own(stage: Stage) -> None:
    assert stat.S_IMODE((stage.folder / "stdio.sock").stat().st_mode) == 0o600


async def test_what_is_in_flight_is_cancelled_when_the_client_goes(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    line = await Line.open(stage, token=stage.token())
    await line.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    line.send({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "a__echo"}})
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    line.writer.close()

    await until(lambda: server.seen[-1]["method"] == "notifications/cancelled")


async def test_what_was_asked_before_a_client_closed_its_side_is_answered(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    line = await Line.open(stage, token=stage.token())
    await line.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    line.send({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "a__echo"}})
    line.writer.write_eof()
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    server.result(server.seen[-1], {"content": []})

    assert await line.read() == {"jsonrpc": "2.0", "id": 5, "result": {"content": []}}
    assert await line.read() is None
    line.writer.close()


async def test_a_call_ends_soon_when_its_shim_is_killed(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    process = await shim_process(stage)
    assert process.stdin is not None
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a__echo"}}
    process.stdin.write(json.dumps(hello).encode() + b"\n" + json.dumps(call).encode() + b"\n")
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    process._transport.close()  # type: ignore[attr-defined]  # kills it

    await until(lambda: server.seen[-1]["method"] == "notifications/cancelled", 5)


async def shim_process(stage: Stage) -> asyncio.subprocess.Process:
    code = (
        "import asyncio, sys, json, pathlib\n"
        "from mcpcompose.gateway.shim import shim\n"
        "assert not {'msgspec', 'pydantic', 'typer', 'uvicorn'} & set(sys.modules)\n"
        "sys.exit(asyncio.run(shim(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))))\n"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        str(stage.folder / "stdio.sock"),
        json.dumps({"token": stage.token()}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        limit=1024,
    )


async def test_the_shim_carries_both_ways_and_ends_with_its_client(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    process = await shim_process(stage)
    assert process.stdin is not None
    assert process.stdout is not None
    big = {"text": "x" * 300_000}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a__echo", "arguments": big}}
    process.stdin.write(json.dumps(request).encode() + b"\n" + json.dumps(call).encode() + b"\n")

    first = json.loads(await process.stdout.readline())
    rest = b""
    while not rest.endswith(b"\n"):
        rest += await process.stdout.read(65536)
    process.stdin.close()
    code_at_end = await asyncio.wait_for(process.wait(), 10)

    assert first["id"] == 1
    assert json.loads(json.loads(rest)["result"]["content"][0]["text"]) == big
    assert code_at_end == 0


async def test_the_shim_ends_when_its_client_closes_its_side_without_reading(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    process = await shim_process(stage)
    assert process.stdin is not None
    big = {"text": "x" * 2_000_000}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a__echo", "arguments": big}}
    process.stdin.write(json.dumps(request).encode() + b"\n" + json.dumps(call).encode() + b"\n")
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot.in_flight == 0 and len(stage.gateway._stdio._connections) == 1)
    await process.stdin.drain()

    process.stdin.close()

    # asyncio waits for its pipes, so look at the process itself
    await until(lambda: not alive(process.pid), 15)
    await until(lambda: len(stage.gateway._stdio._connections) == 0)
    assert process.stdout is not None
    while await process.stdout.read(65536):
        pass
    await process.wait()


async def test_the_shim_ends_when_the_gateway_goes_or_its_client_dies(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    initialize = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n'
    gone, killed = await shim_process(stage), await shim_process(stage)
    for process in (gone, killed):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(initialize)
        assert b"jsonrpc" in await process.stdout.read(100)

    killed.kill()
    await killed.wait()
    await until(lambda: len(stage.gateway._stdio._connections) == 1)
    await stage.gateway._stdio.stop(0.1)

    assert await asyncio.wait_for(gone.wait(), 10) == 1
    assert caplog.records == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


async def test_a_line_over_the_limit_is_refused_and_costs_no_other(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    front = StdioFront(stage.gateway.kernel, stage.gateway.tokens)
    front.configure(Gateway(limits=Limits(body=10_000)))
    await front.start(stage.folder / "small.sock")
    line = Line(*await asyncio.open_unix_connection(str(stage.folder / "small.sock")))
    line.send({"profile": "default"})
    text = "the message is too large: at most 10000 bytes (`gateway.limits.body`)"
    refused = {"code": -32600, "message": text}

    for size in (10_001, 200_000):
        answer = await line.ask("tools/list", {"_meta": META, "text": "x" * size})
        listed = await line.ask("tools/list", {"_meta": META})
        assert answer == {"jsonrpc": "2.0", "id": None, "error": refused}
        assert [t["name"] for t in listed["result"]["tools"]] == ["a__echo"]

    line.writer.write(b"x" * 200_000)
    line.writer.write_eof()
    assert (await line.read())["error"] == refused
    assert await line.read() is None
    line.writer.close()
    await front.stop(0)


async def test_where_the_system_cannot_name_the_other_process_the_mode_of_the_socket_protects(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("socket.SO_PEERCRED")
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    line = await Line.open(stage, profile="default")

    assert "result" in await line.ask("tools/list", {"_meta": META})
    assert stat.S_IMODE((stage.folder / "stdio.sock").stat().st_mode) == 0o600
    line.writer.close()


@pytest.mark.parametrize(("before", "after"), [(10_000, 300_000), (300_000, 10_000)])
async def test_another_limit_in_the_file_holds_for_a_client_that_is_connected(
    stage: Stage, before: int, after: int
) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})
    front = StdioFront(stage.gateway.kernel, stage.gateway.tokens)
    front.configure(Gateway(limits=Limits(body=before)))
    await front.start(stage.folder / "other.sock")
    line = Line(*await asyncio.open_unix_connection(str(stage.folder / "other.sock")))
    line.send({"profile": "default"})

    first = await line.ask("tools/list", {"_meta": META, "text": "x" * 100_000})
    front.configure(Gateway(limits=Limits(body=after)))
    second = await line.ask("tools/list", {"_meta": META, "text": "x" * 100_000})

    assert ("result" in first, "result" in second) == (before > after, after > before)
    line.writer.close()
    await front.stop(0)


async def test_a_client_that_greets_again_begins_anew(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    line = await Line.open(stage, token=stage.token())
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}}
    await line.ask("initialize", hello)
    line.send({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "a__echo"}})
    await until(lambda: server.seen[-1].get("method") == "tools/call")
    [before] = stage.gateway.kernel.peers._peers

    told = [await line.ask("initialize", hello, id_=8), await line.read()]

    assert {message["id"]: "result" in message for message in told} == {7: False, 8: True}
    [after] = stage.gateway.kernel.peers._peers
    assert after != before
    line.writer.close()
    await until(lambda: not stage.gateway.kernel.peers._peers)
