"""
The load: callers that each hold one connection and one call, over hand-written HTTP/1.1 on uvloop.

Everything of a request but its id is made beforehand, so that the load's own cost stays small; it is measured too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LEGACY, MODERN = "2025-11-25", "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}
_FIRST_ID = 1_000_000_000
"""Ids of one length, so that `content-length` stays."""


class BadAnswerError(AssertionError):
    """An answer that is not the one asked for: such a figure would mean nothing."""


@dataclass(frozen=True)
class Target:
    """Where to call: a gateway's URL, its token, and the name its `echo` has there."""

    url: str
    token: str | None = None
    tool: str = "echo"


@dataclass
class Figures:
    """What one cell of the table measured; seconds and bytes."""

    calls: int = 0
    seconds: float = 0.0
    own_cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which *share* of the calls were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class Wire(asyncio.Protocol):
    """One keep-alive connection with one exchange at a time."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need: int | None = None
        self._head = b""
        self._chunked = False
        self._waiter: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        """Ready."""
        self._transport = transport

    def exchange(self, *parts: bytes) -> asyncio.Future[tuple[bytes, bytes]]:
        """Send a request; its answer's head and body."""
        if self._transport.is_closing():
            raise BadAnswerError("the connection was closed between two calls")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.writelines(parts)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._need is None and not self._chunked:
            whole = self._head + data
            head, end, data = whole.partition(b"\r\n\r\n")
            if not end:
                self._head = whole
                return
            self._begin(head)
        self._parts.append(data)
        self._have += len(data)
        tail = b"".join(self._parts[-2:])[-5:] if self._chunked else b""
        if tail == b"0\r\n\r\n" if self._chunked else self._have >= (self._need or 0):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(BadAnswerError(f"the connection was closed: {exc}"))

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def _begin(self, head: bytes) -> None:
        self._head = head
        lower = head.lower()
        self._chunked = b"transfer-encoding: chunked" in lower
        length = lower.partition(b"content-length:")[2].partition(b"\r\n")[0]
        self._need = int(length or 0)

    def _end(self) -> None:
        head, body = self._head, b"".join(self._parts)
        self._parts, self._have, self._need, self._head, self._chunked = [], 0, None, b"", False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((head, body))


class Caller:
    """One session of one client: the requests it sends, ready but for their ids."""

    def __init__(self, target: Target, *, modern: bool) -> None:
        self._target = target
        self._modern = modern
        self._number = _FIRST_ID
        self._session: bytes | None = None
        parts = urlsplit(target.url)
        self._host, self._port, self._path = parts.hostname or "127.0.0.1", parts.port or 80, parts.path
        self._last = (b"", b"")
        self._expected = b""

    async def open(self) -> Caller:
        """Connect, and shake hands where the era has that."""
        loop = asyncio.get_running_loop()
        _, self._wire = await loop.create_connection(Wire, self._host, self._port)
        if not self._modern:
            info = {"name": "benchmark", "version": "1"}
            hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info}
            head, _ = await self.ask("initialize", hello)
            found = head.lower().partition(b"mcp-session-id:")[2].partition(b"\r\n")[0].strip()
            at = head.lower().find(found) if found else -1
            self._session = head[at : at + len(found)] if found else None
            note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
            await self._wire.exchange(self._head("notifications/initialized", None, len(note)), note)
        return self

    async def ask(self, method: str, params: dict[str, Any]) -> tuple[bytes, bytes]:
        """One request that need not be quick."""
        self.prepare(method, params)
        return await self.again()

    def prepare(self, method: str, params: dict[str, Any]) -> None:
        """Make the request that `again` sends."""
        if self._modern:
            params = {**params, "_meta": _META}
        arguments = params.get("arguments") or {}
        self._expected = (arguments.get("text") or ("x" * min(arguments.get("size", 0), 100))).encode()
        before = b'{"jsonrpc":"2.0","id":'
        after = f',"method":"{method}","params":{json.dumps(params, separators=(",", ":"))}}}'.encode()
        head = self._head(method, params.get("name"), len(before) + len(str(_FIRST_ID)) + len(after))
        self._last = (head + before, after)

    async def again(self) -> tuple[bytes, bytes]:
        """Send it under the next id, and check the answer."""
        self._number += 1
        id_ = b"%d" % self._number
        head, body = await self._wire.exchange(self._last[0], id_, self._last[1])
        good = head.startswith(b"HTTP/1.1 200") and b'"result"' in body and id_ in body
        if not good or b'"isError":true' in body or self._expected not in body:
            raise BadAnswerError(f"{self._target.url} answered {head[:300]!r} {body[:300]!r}")
        return head, body

    async def end(self) -> None:
        """Give the session up, as a client should, and close."""
        if self._session is not None:
            await self._wire.exchange(self._head("", None, 0, verb="DELETE"))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _head(self, method: str, name: str | None, length: int, verb: str = "POST") -> bytes:
        version = MODERN if self._modern else LEGACY
        lines = [
            f"{verb} {self._path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {length}",
        ]
        if self._target.token is not None:
            lines.append(f"Authorization: Bearer {self._target.token}")
        if self._modern or method != "initialize":
            lines.append(f"MCP-Protocol-Version: {version}")
        if self._modern:
            lines.append(f"Mcp-Method: {method}")
            lines += [f"Mcp-Name: {name}"] if name else []
        if self._session is not None:
            lines.append(f"Mcp-Session-Id: {self._session.decode()}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def tool_call(target: Target, size: int) -> dict[str, Any]:
    """The call whose result has *size* bytes; small ones are sent and come back, larger ones are only asked for."""
    arguments: dict[str, Any] = {"text": "x" * size} if size <= 100 else {"size": size}
    return {"name": target.tool, "arguments": arguments}


@contextmanager
def _no_pauses() -> Iterator[None]:
    """A collection of the load's own garbage takes 100 ms and would be in everybody's p99."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def measure(target: Target, *, sessions: int, modern: bool, size: int, seconds: float) -> Figures:
    """As many calls as *sessions* callers get answered in *seconds*, after a short warm-up."""
    callers = [await Caller(target, modern=modern).open() for _ in range(sessions)]
    figures = Figures()
    try:
        for caller in callers:
            caller.prepare("tools/call", tool_call(target, size))
            await caller.again()
        clock, latencies = time.perf_counter, figures.latencies
        gc.collect()
        cpu, started = time.process_time(), clock()
        end = started + seconds

        async def calling(caller: Caller) -> None:
            before = clock()
            while before < end:
                _, body = await caller.again()
                now = clock()
                latencies.append(now - before)
                before = now
                if len(body) < size:
                    raise BadAnswerError(f"{len(body)} bytes where {size} were asked for")

        with _no_pauses():
            await asyncio.gather(*(calling(caller) for caller in callers))
        figures.seconds = clock() - started
        figures.own_cpu = time.process_time() - cpu
        figures.calls = len(latencies)
        for caller in callers:
            await caller.end()
    finally:
        for caller in callers:
            caller.close()
    return figures
