"""Between the eras: what an answer must look like for a client of the other one. Pure; payloads stay bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcpcompose.gateway.envelope import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_CAPABILITY,
    RESOURCE_NOT_FOUND,
    Answer,
    Failure,
    Result,
)
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Reply
from mcpcompose.upstream.wire import ENVELOPE_KEYS, META_SERVER, encode, members

_COMPLETE: Final = '"complete"'
_ESCAPED: Final = b"\\u00"
"""What, beside our members, must not be in a result that is stamped unread: they may be written with escapes."""
_CACHE_HINTS: Final = {"resources/read": {"ttlMs": msgspec.Raw(b"0"), "cacheScope": msgspec.Raw(b'"private"')}}


def answer(reply: Reply, method: str, *, modern: bool, info: bytes) -> Answer:
    """What a client of the era gets for *reply* to *method*; *info* is our `serverInfo` as JSON."""
    if reply.result is None:
        return error(reply.error or b"", method, modern=modern)
    raw = reply.result
    if not modern:
        return Result(raw) if reply.era is not Era.MODERN and raw.startswith(b"{") else _for_handshake(raw)
    return _for_modern(raw, method, info)


def error(raw: bytes, method: str, *, modern: bool) -> Answer:
    """An error keeps its code, but for a resource that is not found, and for what handshake clients cannot know."""
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not isinstance(code := fields.get("code"), int):
        return Failure(INTERNAL_ERROR, "the server answered with an error that is none")
    text, data = fields.get("message"), fields.get("data")
    if not modern and code == MISSING_CAPABILITY:
        code = INTERNAL_ERROR
    if method == "resources/read":
        if modern and code == RESOURCE_NOT_FOUND:
            code = INVALID_PARAMS
        elif not modern and code == INVALID_PARAMS and isinstance(data, dict) and "uri" in data:
            code = RESOURCE_NOT_FOUND
    return Failure(code, text if isinstance(text, str) else "", data)


def without_envelope(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None, bytes | None]:
    """The params for a server, the client's envelope, and its progress token as JSON."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return params, None, None
    envelope = {key: value for key, value in meta.items() if key in ENVELOPE_KEYS} or None
    rest = {key: value for key, value in meta.items() if key not in ENVELOPE_KEYS and key != "progressToken"}
    clean = {key: value for key, value in params.items() if key != "_meta"}
    if rest:
        clean["_meta"] = rest
    return clean, envelope, token_of(params)


def token_of(params: Mapping[str, Any]) -> bytes | None:
    """The client's progress token as JSON."""
    meta = params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return encode(token) if isinstance(token, (int, str)) and not isinstance(token, bool) else None


def _for_handshake(raw: bytes) -> Answer:
    """Of a modern server: its own members go, structured content that is no object too."""
    found = members(raw)
    if found is None:
        return Failure(INTERNAL_ERROR, "the server answered with a result that is no object")
    kind = found.pop("resultType", None)
    if kind is not None and bytes(kind) != _COMPLETE.encode():
        return Failure(INTERNAL_ERROR, "the server asks for something that this client cannot give yet")
    for key in ("ttlMs", "cacheScope"):
        found.pop(key, None)
    structured = found.get("structuredContent")
    if structured is not None and not bytes(structured).startswith(b"{"):
        del found["structuredContent"]
    return Result(encode(found))


def _for_modern(raw: bytes, method: str, info: bytes) -> Answer:
    """Stamp what every modern result carries; what the server stamped itself stays."""
    hints: Mapping[str, msgspec.Raw] = _CACHE_HINTS.get(method, {})
    unread = b'"resultType"' not in raw and b'"_meta"' not in raw and _ESCAPED not in raw
    if unread and raw.startswith(b'{"') and not hints:
        return Result(b'{"resultType":"complete","_meta":{"%b":%b},%b' % (META_SERVER.encode(), info, raw[1:]))
    found = members(raw)
    if found is None:
        return Failure(INTERNAL_ERROR, "the server answered with a result that is no object")
    if "resultType" in found and (not hints or bytes(found["resultType"]) != _COMPLETE.encode() or "ttlMs" in found):
        return Result(raw)
    stamped: dict[str, Any] = {"resultType": "complete", **found}
    for key, value in hints.items():
        stamped.setdefault(key, value)
    stamped.setdefault("_meta", {META_SERVER: msgspec.Raw(info)})
    return Result(encode(stamped))
