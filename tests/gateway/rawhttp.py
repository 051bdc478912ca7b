"""A client that sends any bytes, and reads what comes back as strictly as it can."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from gateway.stage import MODERN, Stage

ENVELOPE = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
SECONDS = 10.0


@dataclass(frozen=True)
class Answered:
    """One answer; *status* is 0 when the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    def messages(self) -> list[Any]:
        """Every JSON value in it, whether one or as events."""
        if "text/event-stream" not in self.headers.get("content-type", ""):
            return [json.loads(self.body)] if self.body else []
        data = [line[6:] for line in self.body.split(b"\r\n") if line.startswith(b"data: ")]
        return [json.loads(one) for one in data]


CLOSED = Answered(0, {}, b"")


def head_of(stage: Stage, body: bytes, *, modern: bool, session: str = "", **changes: str | None) -> bytes:
    """The head of a POST that is right; *changes* replace headers or leave them out."""
    fields: dict[str, str | None] = {
        "host": "localhost",
        "authorization": f"Bearer {stage.token()}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    if modern:
        fields |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "a__echo"}
    elif session:
        fields |= {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("POST /mcp HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def call_bytes(value: bytes, *, modern: bool, id_: bytes = b"1") -> bytes:
    """A call of the echo tool whose argument is *value*, whatever that is."""
    meta = b',"_meta":' + json.dumps(ENVELOPE).encode() if modern else b""
    params = b'{"name":"a__echo","arguments":{"value":%b}%b}' % (value, meta)
    return b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":%b}' % (id_, params)


class Wire:
    """A connection that is opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, content: bytes) -> Answered:
        """Send *content* and read one answer. A hang is a `TimeoutError`."""
        async with asyncio.timeout(SECONDS):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            try:
                writer.write(content)
                await writer.drain()
                answered = await read_answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                answered = CLOSED
            if answered is CLOSED or answered.headers.get("connection") == "close":
                await self.close()
            return answered

    async def close(self) -> None:
        """Let go."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(ConnectionError):
                await self._streams[1].wait_closed()
            self._streams = None


async def once(port: int, content: bytes) -> Answered:
    """Send *content* on a connection of its own."""
    wire = Wire(port)
    try:
        return await wire.send(content)
    finally:
        await wire.close()


async def read_answer(reader: asyncio.StreamReader) -> Answered:
    """One answer, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").strip().split("\r\n")
    version, status, *_ = status_line.split(" ")
    assert version == "HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if status == "100":
        return await read_answer(reader)
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readexactly(2) == b"\r\n"
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answered(int(status), headers, body)
