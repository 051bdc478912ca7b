"""
The HTTP front: who asks, for what, in which era.

In this order: Host and Origin, the bearer token, the path, the body. Everything is decided on `scope["path"]`.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Final

from mcpcompose.auth.tokens import DEFAULT_PROFILE, Tokens
from mcpcompose.gateway.envelope import INTERNAL_ERROR
from mcpcompose.gateway.kernel import Kernel
from mcpcompose.gateway.legacy import LegacyLeg, NoSession
from mcpcompose.gateway.modern import ModernLeg
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.gateway.wire_http import (
    Receive,
    Refused,
    Scope,
    Send,
    Visit,
    accepts,
    read_body,
    read_headers,
    refuse,
    respond,
)
from mcpcompose.spec.project import Gateway
from mcpcompose.upstream.headers import PROTOCOL_VERSION
from mcpcompose.upstream.wire import HANDSHAKE_VERSIONS, encode

_log: Final = logging.getLogger(__name__)

_BROKEN: Final = encode(
    {"jsonrpc": "2.0", "id": None, "error": {"code": INTERNAL_ERROR, "message": "internal error of the gateway"}}
)
_PROFILE: Final = re.compile(r"/profiles/([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/mcp")
_SERVER: Final = re.compile(r"/servers/([a-z][a-z0-9-]{0,23})/mcp")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_METHODS: Final = (b"allow", b"GET, POST, DELETE")


class HttpFront:
    """The ASGI application of one project."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._legacy = LegacyLeg(kernel)
        self._modern = ModernLeg(kernel)
        self._auth = True
        self._limit = 16 << 20
        self._hosts: frozenset[str] = frozenset()
        self._origins: frozenset[str] = frozenset()

    def configure(self, gateway: Gateway) -> None:
        """Whether a token is needed, how large a body may be, and who else than loopback may ask."""
        self._auth = gateway.auth != "none"
        self._limit = gateway.limits.body
        self._hosts = frozenset(gateway.allowed_hosts)
        self._origins = frozenset(gateway.allowed_origins)
        self._legacy.sessions.follow(gateway.limits.sessions, gateway.timeouts.session)
        self._legacy.sessions.events.most = gateway.limits.replay

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._legacy.sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except NoSession as refused:
            await respond(send, refused.status, refused.body)
        except Refused as refused:
            await refuse(send, refused)
        except Exception:  # noqa: BLE001
            # One of the three edges: a request that breaks must not take the connection's others with it.
            _log.exception("request failed")
            await respond(send, 500, _BROKEN)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, twice = read_headers(scope)
        if twice is not None and not twice.startswith("mcp-"):
            raise Refused(400, f"the {twice} header comes more than once")
        self._check_origin(headers)
        path = scope["path"]
        if path == "/health":
            await self._health(send, headers)
            return
        client, profile = self._authenticate(headers)
        visit = Visit(scope, send, headers, twice, self._endpoint(path, profile), client)
        method = scope["method"]
        if method == "POST":
            await self._post(visit, receive)
        elif method not in {"GET", "DELETE"}:
            raise Refused(405, f"`{method}` is not offered here", _METHODS)
        elif _is_modern(headers):
            raise Refused(405, "this revision has POST only", (b"allow", b"POST"))
        elif method == "GET":
            await self._legacy.get(visit)
        else:
            await self._legacy.delete(visit)

    async def _post(self, visit: Visit, receive: Receive) -> None:
        headers = visit.headers
        kind = headers.get("content-type", "")
        if kind != "application/json" and kind.partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "the body must be application/json")
        if not any(accepts(headers)):
            raise Refused(406, "answers are application/json or text/event-stream")
        body = await read_body(receive, headers, self._limit)
        if _is_modern(headers):
            await self._modern.serve(visit, body)
        else:
            await self._legacy.post(visit, body)

    def _authenticate(self, headers: dict[str, str]) -> tuple[str, str | None]:
        """The client, and the profile it is bound to (None: any)."""
        if not self._auth:
            return "anonymous", None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        found = self._tokens.check(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Refused(401, "a bearer token of this project is needed", (b"www-authenticate", b"Bearer"))
        return found

    def _endpoint(self, path: str, bound: str | None) -> EndpointTable:
        """What is not for this client is not there."""
        profile, server = bound or DEFAULT_PROFILE, None
        if path == "/mcp":
            pass
        elif match := _PROFILE.fullmatch(path):
            if bound not in {None, match[1]}:
                raise Refused(404, "not found")
            profile = match[1]
        elif match := _SERVER.fullmatch(path):
            server = match[1]
        else:
            raise Refused(404, "not found")
        endpoint = self._kernel.table.endpoint(profile, server)
        if endpoint is None:
            raise Refused(404, "not found")
        return endpoint

    def _check_origin(self, headers: dict[str, str]) -> None:
        """Only loopback names, and what the file allows: a web page whose own name leads here gets nothing."""
        host = headers.get("host", "")
        if not _is_loopback(host) and not self._is_allowed(host):
            raise Refused(421, "this host is not served here (`gateway.allowed_hosts`)")
        origin = headers.get("origin")
        if origin is None or origin.lower() in self._origins:
            return
        scheme, separator, host = origin.partition("://")
        if scheme not in {"http", "https"} or not separator or not _is_loopback(host):
            raise Refused(403, "this origin is not allowed (`gateway.allowed_origins`)")

    def _is_allowed(self, host: str) -> bool:
        name, port = _split(host)
        return port is not None and (host.lower() in self._hosts or name in self._hosts)

    async def _health(self, send: Send, headers: dict[str, str]) -> None:
        """That it lives; how the servers are only to those who may use them."""
        answer: dict[str, object] = {"status": "ok"}
        if "authorization" in headers or not self._auth:
            _, profile = self._authenticate(headers)
            endpoint = self._kernel.table.endpoint(profile or DEFAULT_PROFILE)
            if endpoint is not None:
                answer["servers"] = self._kernel.status(endpoint)
        await respond(send, 200, encode(answer))


@lru_cache(maxsize=16)
def _is_loopback(host: str) -> bool:
    name, port = _split(host)
    return name in _LOOPBACK and port is not None


def _split(host: str) -> tuple[str, str | None]:
    """The name, and the port: empty when there is none, None when it is no number."""
    name, colon, port = host.lower().rpartition(":") if not host.endswith("]") else (host.lower(), "", "")
    return (name, port if port.isascii() and port.isdigit() else None) if colon else (host.lower(), "")


def _is_modern(headers: dict[str, str]) -> bool:
    """No version header, or a handshake revision: the handshake leg. Anything else is told so by the other."""
    version = headers.get(PROTOCOL_VERSION)
    return version is not None and version not in HANDSHAKE_VERSIONS
