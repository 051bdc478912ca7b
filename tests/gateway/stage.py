"""What the gateway's tests stand on: projects, servers in memory behind real byte streams, a gateway on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from mcpcompose.auth.tokens import Tokens
from mcpcompose.engine.base import Endpoint, Receiver, StreamEndpoint
from mcpcompose.errors import UpstreamError
from mcpcompose.gateway.gateway import ProjectGateway
from mcpcompose.spec.project import Client, Gateway, Profile, Project, Runners
from mcpcompose.spec.server import Server

Handler = Callable[["FakeServer", dict[str, Any]], None]
MODERN = "2026-07-28"
INFO = {"name": "stage", "version": "1"}


def project(*, servers: dict[str, Any], profiles: dict[str, Any] | None = None, **keys: Any) -> Project:
    """A project of these servers, each `{}` or keys of the file."""
    models = {name: Server.model_validate({"process": ["x"]} | value) for name, value in servers.items()}
    views = {name: Profile.model_validate(value) for name, value in (profiles or {}).items()}
    views.setdefault("default", Profile(servers=tuple(models)))
    clients = {name: Client(profile=profile) for name, profile in keys.pop("clients", {}).items()}
    defaults: dict[str, Any] = {"secrets": {}, "gateway": Gateway(), "runners": Runners()}
    whole = {**defaults, **keys}
    return Project(name="team", directory=Path("/work"), servers=models, profiles=views, clients=clients, **whole)


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **fields}


@dataclass(eq=False)
class FakeServer:
    """A server of either era on a `ByteStream`, which does as it is told."""

    tools: list[dict[str, Any]] = field(default_factory=lambda: [tool("echo")])
    prompts: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)
    modern: bool = False
    capabilities: dict[str, Any] = field(
        default_factory=lambda: {"tools": {"listChanged": True}, "prompts": {}, "resources": {}}
    )
    answers: dict[str | None, Handler | None] = field(default_factory=dict)
    """Own answers by method, None for answers to its questions; a handler that is None is silence."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    receiver: Receiver | None = None
    write_backlog: int = 0

    def listen(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            asyncio.get_running_loop().call_soon(self._take, json.loads(line))

    def put(self, data: bytes) -> None:
        """Raw bytes on its standard output."""
        if self.receiver is not None and not self.closed:
            self.receiver.data_received(data)

    def send(self, message: dict[str, Any]) -> None:
        self.put(json.dumps(message).encode() + b"\n")

    def result(self, message: dict[str, Any], result: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def die(self, reason: str = "exited with code 1") -> None:
        assert self.receiver is not None
        self.receiver.stream_ended(reason)

    def changed(self, kind: str = "tools") -> None:
        self.send({"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"})

    def _take(self, message: dict[str, Any]) -> None:
        self.seen.append(message)
        method = message.get("method")
        if method in self.answers:
            handler = self.answers[method]
            if handler is not None:
                handler(self, message)
        elif "id" in message and method is not None:
            self._answer(message, method)

    def _answer(self, message: dict[str, Any], method: str) -> None:
        capabilities = self.capabilities
        info = {"name": "fake", "version": "1"}
        lists = {
            "tools/list": ("tools", self.tools),
            "prompts/list": ("prompts", self.prompts),
            "resources/list": ("resources", self.resources),
            "resources/templates/list": ("resourceTemplates", self.templates),
        }
        if method == "initialize" and not self.modern:
            self.result(message, {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info})
        elif method == "server/discover" and self.modern:
            meta = {"io.modelcontextprotocol/serverInfo": info}
            self.result(message, {"supportedVersions": [MODERN], "capabilities": capabilities, "_meta": meta})
        elif method in lists:
            member, items = lists[method]
            self.result(message, {member: items})
        elif method in {"tools/call", "prompts/get", "resources/read"}:
            self.calls.append(message)
            text = json.dumps(message["params"].get("arguments") or {})
            result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
            if method == "resources/read":
                result = {"contents": [{"uri": message["params"]["uri"], "text": "content"}]}
            elif method == "prompts/get":
                result = {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
            self.result(message, result | ({"resultType": "complete"} if self.modern else {}))
        elif method != "subscriptions/listen":
            error = {"code": -32601, "message": f"no `{method}`"}
            self.send({"jsonrpc": "2.0", "id": message["id"], "error": error})


@dataclass
class Stage:
    """A running gateway and how to speak to it."""

    gateway: ProjectGateway
    url: str
    folder: Path
    http: httpx2.AsyncClient
    restarts: list[str] = field(default_factory=list)
    next_endpoint: Callable[[str], Awaitable[Endpoint]] | None = None

    @property
    def base(self) -> str:
        return self.url.removesuffix("/mcp")

    def token(self, client: str = "default") -> str:
        return self.gateway.tokens.token(client)

    async def serve(self, what: Project, servers: dict[str, Any], fingerprints: dict[str, str] | None = None) -> None:
        """Declare *what*, attach *servers*, wait until all have settled."""
        self.gateway.declare(what, fingerprints or {})
        for name, server in servers.items():
            await self.attach(name, server)
        assert await self.gateway.settled(10)
        self.gateway._swap_now()

    async def attach(self, name: str, server: Any) -> None:
        endpoint = server if not isinstance(server, FakeServer) else StreamEndpoint(server)
        await self.gateway.attach(name, endpoint)

    async def post(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        path: str = "/mcp",
        client: str = "default",
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx2.Response:
        """A raw modern request."""
        params = dict(params or {})
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        } | params.pop("_meta", {})
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        sent = {
            "authorization": f"Bearer {self.token(client)}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
        }
        name = params.get({"resources/read": "uri"}.get(method, "taskId" if method.startswith("tasks/") else "name"))
        if name is not None:
            sent["mcp-name"] = name
        return await self.http.post(
            self.base + path, content=content or json.dumps(body).encode(), headers=sent | (headers or {})
        )

    async def session(
        self, version: str = "2025-11-25", capabilities: dict[str, Any] | None = None, **keys: Any
    ) -> LegacySession:
        session = LegacySession(self, **keys)
        said = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": INFO}
        response = await session.post("initialize", said)
        session.id = response.headers["mcp-session-id"]
        session.initialized = response.json()["result"]
        return session


@dataclass
class LegacySession:
    """A raw client of the handshake revisions."""

    stage: Stage
    path: str = "/mcp"
    client: str = "default"
    id: str | None = None
    initialized: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        headers = {
            "authorization": f"Bearer {self.stage.token(self.client)}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        return headers if self.id is None else headers | {"mcp-session-id": self.id}

    async def post(self, method: str, params: dict[str, Any] | None = None, id_: Any = 1) -> httpx2.Response:
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id_ is not None:
            body["id"] = id_
        return await self.stage.http.post(
            self.stage.base + self.path, content=json.dumps(body).encode(), headers=self.headers
        )


@contextlib.asynccontextmanager
async def running(folder: Path, **keys: Any) -> AsyncIterator[Stage]:
    """A gateway on a free port, with nothing declared; *keys* are its own."""
    stage: Stage

    async def restart(server: str) -> Endpoint:
        stage.restarts.append(server)
        if stage.next_endpoint is None:
            raise UpstreamError("cannot be started again")
        return await stage.next_endpoint(server)

    gateway = ProjectGateway(cache=folder / "lists", tokens=Tokens(folder / "tokens.json"), restart=restart, **keys)
    url = await gateway.start(stdio_socket=folder / "stdio.sock")
    try:
        async with httpx2.AsyncClient(timeout=20) as http:
            stage = Stage(gateway, url, folder, http)
            yield stage
    finally:
        await gateway.stop(1.0)


class PipeStream:
    """A program's standard streams as a `ByteStream`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._reader: asyncio.Task[None] | None = None

    def listen(self, receiver: Receiver) -> None:
        async def read() -> None:
            assert self.process.stdout is not None
            while data := await self.process.stdout.read(65536):
                receiver.data_received(data)
            receiver.stream_ended(f"exited with code {await self.process.wait()}")

        self._reader = asyncio.create_task(read())

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    @property
    def write_backlog(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=5)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def program(*arguments: str) -> PipeStream:
    """Run Python with *arguments*."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return PipeStream(process)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  conditions of other parts
            await asyncio.sleep(0.005)
