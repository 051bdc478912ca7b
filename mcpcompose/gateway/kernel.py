"""
Answer or route one request: the same for HTTP and stdio, both eras, and the command line's `tools call`.

What the table knows is answered at once; what a server must answer becomes a `Forwarded` call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.gateway import bridge
from mcpcompose.gateway.compiler import RoutingTable
from mcpcompose.gateway.envelope import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    Answer,
    Failure,
    Request,
    Result,
)
from mcpcompose.gateway.listeners import Listeners
from mcpcompose.gateway.table import LISTS, EndpointTable, Route
from mcpcompose.upstream.call import Call, Reply
from mcpcompose.upstream.headers import param_mismatch
from mcpcompose.upstream.supervisor import Supervisor
from mcpcompose.upstream.wire import HANDSHAKE_VERSIONS, META_SERVER, MODERN_VERSIONS, encode

_FIRST_PAGE: Final = (None, "")
"""An empty cursor is a valid one; as there is one page only, it can mean no other."""
_LONGEST_URI: Final = 64 << 10
_CAPABILITIES: Final = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True},
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, on which endpoint, in which revision; *headers* are those of a modern HTTP request."""

    client: str
    profile: str
    server: str | None
    version: str
    headers: Mapping[str, str] | None = None

    @property
    def modern(self) -> bool:
        """Whether the revision is stateless."""
        return self.version in MODERN_VERSIONS


@dataclass(slots=True)
class Forwarded:
    """A request that is with a server, or waits for one to start."""

    call: Call
    method: str
    modern: bool
    info: bytes = field(repr=False)

    def shape(self, reply: Reply) -> Answer:
        """The server's reply as this client must see it."""
        return bridge.answer(reply, self.method, modern=self.modern, info=self.info)


class Kernel:
    """Serves from *table*, which is replaced as a whole; a request keeps the one it began with."""

    def __init__(self, supervisor: Supervisor, listeners: Listeners) -> None:
        self.table = RoutingTable()
        self.listeners = listeners
        self._supervisor = supervisor

    def begin(  # noqa: PLR0911  one line per method
        self, request: Request, caller: Caller, endpoint: EndpointTable
    ) -> Answer | Forwarded:
        """Answer *request*, or send it on. Never raises."""
        method = request.method
        if method == "tools/call":
            return self._named(request, caller, endpoint, endpoint.tool_routes, "tool")
        if method in LISTS:
            return self._list(request, caller, endpoint)
        if method == "resources/read":
            return self._read(request, caller, endpoint)
        if method == "prompts/get":
            return self._named(request, caller, endpoint, endpoint.prompt_routes, "prompt")
        if method == "ping" and not caller.modern:
            return Result(b"{}")
        if method == "server/discover" and caller.modern:
            return discovered(endpoint)
        return Failure(METHOD_NOT_FOUND, f"`{method}` is not offered here")

    def status(self, endpoint: EndpointTable) -> dict[str, str]:
        """How the servers of an endpoint are."""
        return {s.server: s.state.value for s in self._supervisor.status() if s.server in endpoint.servers}

    def _list(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Answer:
        if request.params.get("cursor") not in _FIRST_PAGE:
            return Failure(INVALID_PARAMS, "this cursor was not given out here")
        return Result(endpoint.listed(request.method, modern=caller.modern))

    def _named(
        self, request: Request, caller: Caller, endpoint: EndpointTable, routes: Mapping[str, Route], what: str
    ) -> Answer | Forwarded:
        params = request.params
        name = params.get("name")
        route = routes.get(name) if isinstance(name, str) else None
        if route is None:
            return self._unknown(name, endpoint, what)
        if route.headers and caller.headers is not None:
            mismatch = param_mismatch(route.headers, params.get("arguments"), caller.headers)
            if mismatch is not None:
                return Failure(HEADER_MISMATCH, mismatch)
        return self._forward(request, caller, endpoint, route.server, {**params, "name": route.name})

    def _unknown(self, name: object, endpoint: EndpointTable, what: str) -> Failure:
        """Names of a server whose lists are not there may well exist: its state is the answer then."""
        if not isinstance(name, str):
            return Failure(INVALID_PARAMS, "`name` is not a string")
        server = endpoint.named(name)
        excuse = self._supervisor.excuse(server) if server is not None else None
        if excuse is None:
            return Failure(INVALID_PARAMS, f"unknown {what} `{name}`")
        return Failure(INTERNAL_ERROR, excuse, {"server": server, "retryable": True})

    def _read(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Answer | Forwarded:
        uri = request.params.get("uri")
        if not isinstance(uri, str) or len(uri) > _LONGEST_URI:
            return Failure(INVALID_PARAMS, f"`uri` is not a string of at most {_LONGEST_URI} characters")
        server = endpoint.owner(uri)
        if server is None:
            code = INVALID_PARAMS if caller.modern else RESOURCE_NOT_FOUND
            return Failure(code, f"there is no resource `{uri}`", {"uri": uri})
        return self._forward(request, caller, endpoint, server, request.params)

    def _forward(
        self, request: Request, caller: Caller, endpoint: EndpointTable, server: str, params: dict[str, Any]
    ) -> Forwarded:
        clean, envelope, token = bridge.without_envelope(params)
        idle, total = self._supervisor.timeouts(server)
        call = Call(
            request.method,
            clean,
            envelope=envelope if caller.modern else None,
            progress_token=token,
            idle=idle,
            total=total,
        )
        self._supervisor.submit(server, call)
        return Forwarded(call, request.method, caller.modern, endpoint.info_json)


def initialized(params: Mapping[str, Any], endpoint: EndpointTable) -> tuple[str, Result]:
    """Answer `initialize` from the table: the revision, and the result."""
    wanted = params.get("protocolVersion")
    version = wanted if isinstance(wanted, str) and wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    result: dict[str, Any] = {
        "protocolVersion": version,
        "capabilities": _CAPABILITIES,
        "serverInfo": endpoint.info,
    }
    if endpoint.instructions is not None:
        result["instructions"] = endpoint.instructions
    return version, Result(encode(result))


def discovered(endpoint: EndpointTable) -> Result:
    """Answer `server/discover` from the table."""
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": list(MODERN_VERSIONS),
        "capabilities": _CAPABILITIES,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {META_SERVER: endpoint.info},
    }
    if endpoint.instructions is not None:
        result["instructions"] = endpoint.instructions
    return Result(encode(result))


__all__ = ["Answer", "Caller", "Failure", "Forwarded", "Kernel", "Request", "Result", "discovered", "initialized"]
