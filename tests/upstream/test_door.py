"""What becomes of a conversation when the instance behind its URL ends."""

from __future__ import annotations

import asyncio
import time

from gateway.stage import until
from mcpcompose.engine.base import HttpEndpoint
from mcpcompose.engine.streams import Lifetime
from mcpcompose.spec.server import Server
from mcpcompose.upstream.allowance import default_allowance
from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.door import Door


async def test_a_call_fails_at_once_when_its_instance_ends_whatever_its_connection_says() -> None:
    left: list[None] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.append(await writer.wait_closed())

    silent = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()
    life = Lifetime()
    spec = Server.model_validate({"image": "web:1", "transport": {"http": {"port": 80}}})
    door = Door(spec, HttpEndpoint(f"http://{host}:{port}/mcp", life=life), default_allowance("a"), time.monotonic)
    lost: list[str] = []
    connections = [door.open(Watcher(lambda _method, _params: None, lost.append)) for _ in range(2)]
    calls = [Call("tools/list", {}) for _ in connections]
    for connection, call in zip(connections, calls, strict=True):
        connection.begin(call)
    await asyncio.sleep(0)

    life.end("exited with code 137")

    for call in calls:
        assert call.reply is not None
        assert b'"retryable":true' in (call.reply.error or b"")
        assert b"exited with code 137" in (call.reply.error or b"")
    assert lost == ["exited with code 137"] * 2
    for connection in connections:
        await connection.close("gone")
    await door.close()
    silent.close()
    await until(lambda: len(left) == 2)
