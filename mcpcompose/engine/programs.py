"""
Programs for the engine in memory: MCP servers in the same process, and servers that misbehave.

A program is called with its `Console` and returns its exit code.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcpcompose.engine.base import InstanceSpec, Values
from mcpcompose.engine.streams import KEPT_LIMIT, HeldOutput


class ProgramFailed(Exception):  # noqa: N818  the name of the thing
    """A program ended with an error; its text goes to the log."""


class MemoryStream(HeldOutput):
    """A `ByteStream` between the gateway and a program in the same process."""

    def __init__(self) -> None:
        super().__init__()
        self._input: deque[bytes] = deque()
        self._backlog = 0
        self._closed = self._input_closed = False
        self._wake = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def write(self, data: bytes) -> None:
        """Write to standard input; buffers when the instance does not read."""
        if not (self._closed or self._input_closed) and data:
            self._input.append(data)
            self._backlog += len(data)
            self._wake.set()

    def close_input(self) -> None:
        """Let the program see the end of its input, and go on reading what it still says."""
        self._input_closed = True
        self._wake.set()

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken by the other side."""
        return self._backlog

    def pause_reading(self) -> None:
        """Take no more output until `resume_reading`."""
        self._flowing.clear()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._flowing.set()

    async def close(self) -> None:
        """Close standard input and let go; the instance goes on or ends as it likes."""
        self._closed = True
        self._flowing.set()
        self._wake.set()

    async def take(self) -> bytes:
        """The program's side: the next bytes of standard input; empty at its end."""
        while not self._input and not (self._closed or self._input_closed):
            self._wake.clear()
            await self._wake.wait()
        if not self._input:
            return b""
        data = self._input.popleft()
        self._backlog -= len(data)
        return data

    async def put(self, data: bytes) -> None:
        """The program's side: write to standard output, waiting while nobody takes it."""
        await self._flowing.wait()
        if not self._closed:
            self.deliver(data)
        if len(data) >= KEPT_LIMIT:
            await asyncio.sleep(0)


@dataclass(eq=False)
class Console:
    """What a program has: its standard streams, and what it was launched with."""

    spec: InstanceSpec
    values: Values
    stream: MemoryStream
    log: Callable[[bytes], None]
    """Standard error."""
    code: int | None = None
    """The exit code when it is ended from outside."""
    _rest: bytes = b""

    async def readline(self) -> bytes:
        """The next line of standard input with its newline; empty at the end."""
        while b"\n" not in self._rest:
            if not (data := await self.stream.take()):
                line, self._rest = self._rest, b""
                return line
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    async def write(self, data: bytes) -> None:
        """Write to standard output."""
        await self.stream.put(data)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON message as a line."""
        await self.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


Program = Callable[[Console], Awaitable[int | None]]
"""An in-process server; returns its exit code (None is 0)."""

Tool = Callable[[dict[str, Any]], Any]
"""Answers a call's arguments: a text, a whole result, or an awaitable of either."""


@dataclass(frozen=True, eq=False)
class ToolServer:
    """
    An MCP server of the handshake revisions with these *tools*; its input's end ends it.

    Without *tools* it has one, `echo`, which answers its arguments as JSON text.
    """

    tools: Mapping[str, Tool] = field(default_factory=lambda: {"echo": json.dumps})
    name: str = "memory"
    version: str = "2025-11-25"
    delay: float = 0.0
    """How long the handshake takes."""

    async def __call__(self, console: Console) -> int | None:
        """Serve until the input ends."""
        async with asyncio.TaskGroup() as calls:
            while line := await console.readline():
                message = json.loads(line)
                if "id" in message and "method" in message:
                    calls.create_task(self._answer(console, message))
        return 0

    async def _answer(self, console: Console, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params") or {}
        match method:
            case "initialize":
                await asyncio.sleep(self.delay)
                result: Any = {
                    "protocolVersion": self.version,
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": self.name, "version": "1"},
                }
            case "ping":
                result = {}
            case "tools/list":
                result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]}
            case "tools/call" if params.get("name") in self.tools:
                result = await self._call(self.tools[params["name"]], params.get("arguments") or {})
            case _:
                error = {"code": -32601, "message": f"no such method or tool: {method}"}
                await console.send({"jsonrpc": "2.0", "id": message["id"], "error": error})
                return
        await console.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async def _call(self, tool: Tool, arguments: dict[str, Any]) -> Any:
        answer = tool(arguments)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, dict) else {"content": [{"type": "text", "text": str(answer)}]}


async def echo(console: Console) -> int | None:
    """Write back every line that comes."""
    while line := await console.readline():
        await console.write(line)
    return 0


async def hang(console: Console) -> int | None:
    """Read and never answer."""
    while await console.readline():
        pass
    return 0


def crash(code: int = 1, *, log: str = "") -> Program:
    """A program that ends at once."""

    async def program(console: Console) -> int | None:
        console.log(log.encode())
        return code

    return program


def garbage(data: bytes = b"Starting server...\n\xff\xfe not json\n{]\n") -> Program:
    """A program that prints what is no message, and then reads on without answering."""

    async def program(console: Console) -> int | None:
        await console.write(data)
        return await hang(console)

    return program


def flood(size: int, chunk: bytes = b"x" * 65536) -> Program:
    """A program that writes *size* bytes as fast as it may."""

    async def program(console: Console) -> int | None:
        written = 0
        while written < size:
            await console.write(chunk)
            written += len(chunk)
            await asyncio.sleep(0)
        return 0

    return program
