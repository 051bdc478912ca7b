"""
What the measured server answers, as bytes made once: it must never be the bottleneck.

It speaks both eras (an `initialize`, or a modern envelope in every request) and remembers nothing. `TOOLS` in
the environment is how many tools it offers; `echo` is the first of them. `echo` answers its `text`, or `size` bytes.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

MODERN = "2026-07-28"
_INFO = {"name": "measured", "version": "1"}
_META_SERVER = "io.modelcontextprotocol/serverInfo"
_CAPABILITIES = {"tools": {}}


def answer(message: dict[str, Any]) -> bytes | None:
    """The whole response to *message*; None for what has none."""
    id_ = message.get("id")
    if id_ is None or "method" not in message:
        return None
    method, params = message["method"], message.get("params") or {}
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or ())
    if method == "tools/call":
        arguments = params.get("arguments") or {}
        result = _echoed(int(arguments.get("size", 0)), arguments.get("text", ""), modern)
    elif method == "initialize":
        result = _initialized(params.get("protocolVersion", "2025-06-18"))
    elif method == "tools/list":
        result = _listed(modern)
    elif method == "server/discover":
        result = _discovered()
    elif method == "ping":
        result = b"{}"
    else:
        failure = b'{"code":-32601,"message":"no such method"}'
        return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (json.dumps(id_).encode(), failure)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(id_).encode(), result)


@cache
def _initialized(version: str) -> bytes:
    return _bytes({"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _INFO})


@cache
def _discovered() -> bytes:
    return _bytes(
        {
            **_modern(),
            "supportedVersions": [MODERN],
            "capabilities": _CAPABILITIES,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {_META_SERVER: _INFO},
        }
    )


@cache
def _listed(modern: bool) -> bytes:
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "size": {"type": "integer"}}}
    names = ["echo", *(f"tool{number}" for number in range(1, int(os.environ.get("TOOLS", "1"))))]
    tools = [{"name": name, "description": f"The tool {name}", "inputSchema": schema} for name in names]
    hints = {**_modern(), "ttlMs": 0, "cacheScope": "private"} if modern else {}
    return _bytes({**hints, "tools": tools})


@cache
def _of_size(size: int, modern: bool) -> bytes:
    return _bytes({**(_modern() if modern else {}), "content": [{"type": "text", "text": "x" * size}]})


def _echoed(size: int, text: str, modern: bool) -> bytes:
    if size:
        return _of_size(size, modern)
    return _bytes({**(_modern() if modern else {}), "content": [{"type": "text", "text": text}]})


def _modern() -> dict[str, Any]:
    return {"resultType": "complete"}


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
