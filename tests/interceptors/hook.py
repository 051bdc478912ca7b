"""A webhook on loopback that answers as it is told, down to the byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Hook:
    """*answer* gives the bytes of each answer, None for none at all; *asked* is what came."""

    answer: Callable[[dict[str, Any]], bytes | None]
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._answers(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                self.headers.append(fields)
                body = json.loads(await reader.readexactly(int(fields.get("content-length", "0"))))
                self.asked.append(body)
                answer = self.answer(body)
                if answer is None:
                    await asyncio.sleep(60)
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer[:200]:
                    break


def http(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """An answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def said(**answer: Any) -> Callable[[dict[str, Any]], bytes]:
    """Always *answer* as JSON."""
    return lambda _body: http(json.dumps(answer).encode())


@asynccontextmanager
async def hook(answer: Callable[[dict[str, Any]], bytes | None]) -> AsyncIterator[Hook]:
    made = Hook(answer)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(made.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
