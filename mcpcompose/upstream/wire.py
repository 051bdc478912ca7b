"""
JSON-RPC towards servers: reading the envelope without the payload, lines out of a byte stream.

The payload stays the bytes that came (`msgspec.Raw`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcpcompose.upstream.base import Era

if TYPE_CHECKING:
    from mcpcompose.upstream.call import Call, Origin, Reply

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS: Final = ("2026-07-28",)
META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT: Final = "io.modelcontextprotocol/clientInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
META_SERVER: Final = "io.modelcontextprotocol/serverInfo"
CHANGES: Final = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)
"""Notifications that concern a server, not a call, wherever they come."""
ENVELOPE_KEYS: Final = frozenset({META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL})


_ROUND: Final = frozenset({"inputResponses", "requestState"})
"""Members of a repeated request that a legacy server does not know."""
_NAMELESS: Final = {"name": "unknown", "version": "0"}
"""What a client is called that does not say it."""
LONGEST_ID: Final = 1024
"""Characters of the id of a server's request; longer ones are not answered."""
DEEPEST: Final = 64
"""Levels of what is read and written again."""


class Message(msgspec.Struct, gc=False):
    """A message of a server; absent members are empty."""

    id: int | str | float | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Progress(msgspec.Struct, gc=False):
    """The one member of a progress notification that we read."""

    progressToken: int | str | None = None  # noqa: N815  the protocol's name


class Cancelled(msgspec.Struct, gc=False):
    """The one member of a cancellation that we read."""

    requestId: int | str | None = None  # noqa: N815  the protocol's name


_read_cancelled: Final = msgspec.json.Decoder(Cancelled).decode
_read_message: Final = msgspec.json.Decoder(Message).decode
_read_progress: Final = msgspec.json.Decoder(Progress).decode
_read_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_write: Final = msgspec.json.Encoder().encode


def read_message(data: bytes) -> Message | None:
    """The message in *data*, or None when it is none (not JSON, not an object, not UTF-8)."""
    try:
        if not data.isascii():
            data.decode()
        return _read_message(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def progress_token(params: bytes) -> int | str | None:
    """Whose progress it is."""
    try:
        return _read_progress(params).progressToken
    except msgspec.MsgspecError:
        return None


def with_progress_token(params: bytes, token: bytes) -> bytes:
    """The same notification with the client's own token; everything else is kept."""
    try:
        members: dict[str, Any] = dict(_read_members(params))
    except msgspec.MsgspecError:
        return params
    members["progressToken"] = msgspec.Raw(token)
    return _write(members)


def members(data: bytes) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object, their values unread."""
    try:
        return _read_members(data)
    except (msgspec.MsgspecError, RecursionError):
        return None


def encode(value: Any) -> bytes:
    """JSON as compact UTF-8. Raises `ValueError` for what JSON cannot say (NaN, lone surrogates)."""
    try:
        return _write(value)
    except OverflowError:  # integers beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"`{type(value).__name__}` is not JSON")


def request_params(call: Call, token: str, era: Era, version: str) -> dict[str, Any]:
    """The params of *call* for a server of *era*: our progress token, and the envelope where there is one."""
    params = call.params
    if era is Era.LEGACY:
        if call.origin is not None and call.origin.modern and not _ROUND.isdisjoint(params):
            params = {key: value for key, value in params.items() if key not in _ROUND}
        if call.progress_token is None:
            return params
    meta = dict(params.get("_meta") or {})
    if call.progress_token is not None:
        meta["progressToken"] = token
    if era is Era.MODERN:
        meta |= _our_envelope() | (call.envelope or {}) | {META_VERSION: version}
    return {**params, "_meta": meta}


def _our_envelope() -> dict[str, Any]:
    return {META_CAPABILITIES: {}, META_CLIENT: own_info()}


def modern_envelope(origin: Origin) -> dict[str, Any]:
    """What a handshake client said of itself, as every modern request says it."""
    capabilities = {key: value for key, value in origin.capabilities.items() if key != "tasks"}
    if "roots" in capabilities:
        capabilities["roots"] = {}
    envelope: dict[str, Any] = {META_CAPABILITIES: capabilities}
    if origin.info is not None:
        envelope[META_CLIENT] = _valid_info(origin.info)
    if origin.level is not None:
        envelope[META_LOG_LEVEL] = origin.level
    return envelope


def initialize_params(origin: Origin | None) -> dict[str, Any]:
    """The handshake in the name of *origin*; without one, of our own, which can do nothing."""
    return {
        "protocolVersion": HANDSHAKE_VERSIONS[-1],
        "capabilities": dict(origin.capabilities) if origin is not None else {},
        "clientInfo": _valid_info(origin.info) if origin is not None and origin.info is not None else own_info(),
    }


_TEXTS: Final = ("title", "description", "websiteUrl")


def _valid_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a client calls itself, as a server can expect it: strict ones refuse a member of the wrong type."""
    valid = {key: value for key, value in info.items() if key not in _TEXTS or isinstance(value, str)}
    for key, value in _NAMELESS.items():
        if not isinstance(valid.get(key), str):
            valid[key] = value
    icons = valid.get("icons", [])
    if not (isinstance(icons, list) and all(isinstance(i, dict) and isinstance(i.get("src"), str) for i in icons)):
        del valid["icons"]
    return valid


def request(id_: str, method: str, params: dict[str, Any]) -> bytes:
    """One request as bytes."""
    return encode({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})


def response(id_: str | float, reply: Reply) -> bytes:
    """Our answer to a server's request, its payload as the bytes that are there."""
    if reply.result is not None:
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (encode(id_), reply.result)
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (encode(id_), reply.error or b'{"code":-32603,"message":""}')


def cancelled_id(params: bytes) -> int | str | None:
    """Which request a `notifications/cancelled` is about."""
    try:
        return _read_cancelled(params).requestId
    except msgspec.MsgspecError:
        return None


def notification(method: str, params: dict[str, Any] | None = None) -> bytes:
    """One notification as bytes."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return encode(message)


@cache
def own_info() -> dict[str, Any]:
    """What we call ourselves towards clients and servers; the version is `0` when the package is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  it is slow to import

    try:
        return {"name": "mcp-compose", "version": version("mcpcompose")}
    except PackageNotFoundError:
        return {"name": "mcp-compose", "version": "0"}


def deeper(value: Any, levels: int) -> bool:
    """Whether containers are nested more than *levels* deep; no recursion, so that nothing can exhaust it."""
    layer = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        children = (child for node in layer for child in (node.values() if isinstance(node, dict) else node))
        layer = [child for child in children if isinstance(child, (dict, list))]
        if not layer:
            return False
    return True


class LineSplitter:
    """Lines out of chunks; a long line is gathered in one buffer, however small the chunks."""

    __slots__ = ("_part", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._part = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes, without their ends. Raises `ValueError` for a line over the limit."""
        lines = data.split(b"\n")
        if self._part or len(lines) == 1:
            self._keep(lines[0])
            if len(lines) == 1:
                return []
            lines[0] = bytes(self._part)
            self._part = bytearray()
        rest = lines.pop()
        if rest:
            self._keep(rest)
        if len(data) > self.limit and any(len(line) > self.limit for line in lines):
            raise ValueError(f"a line of more than {self.limit} bytes")
        return lines

    def _keep(self, part: bytes) -> None:
        if len(self._part) + len(part) > self.limit:
            self._part = bytearray()
            raise ValueError(f"a line of more than {self.limit} bytes")
        self._part += part
