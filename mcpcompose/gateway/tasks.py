"""
Tasks of the extension `io.modelcontextprotocol/tasks` (SEP-2663) among several servers: ids that say where they belong.

A client gets `<server>.<digits>` for a server's own id; the digits are signed and good for that client alone, so that
nothing has to be kept and nobody can reach another's task through us.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

from mcpcompose.upstream.wire import encode, members

METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
NOTIFICATION: Final = "notifications/tasks"
_SIGNATURE: Final = 16
"""Bytes."""
_LONGEST: Final = 4096


class TaskIds:
    """Signs with *key* (32 bytes or more)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def exposed(self, server: str, client: str, id_: str) -> str:
        """What *client* gets for the task *id_* of *server*."""
        own = id_.encode("utf-8", "surrogatepass")
        return f"{server}.{base64.urlsafe_b64encode(self._signature(server, client, own) + own).decode().rstrip('=')}"

    def opened(self, exposed: object, client: str) -> tuple[str, str] | None:
        """The server and its own id; None when *exposed* was not given to *client* here."""
        if not isinstance(exposed, str) or len(exposed) > _LONGEST:
            return None
        server, _, digits = exposed.partition(".")
        try:
            content = base64.b64decode(digits + "=" * (-len(digits) % 4), altchars=b"-_", validate=True)
            own = content[_SIGNATURE:]
            id_ = own.decode("utf-8", "surrogatepass")
        except (binascii.Error, ValueError):
            return None
        signature = content[:_SIGNATURE]
        return (server, id_) if hmac.compare_digest(signature, self._signature(server, client, own)) else None

    def _signature(self, server: str, client: str, own: bytes) -> bytes:
        content = b"task\0" + encode([server, client]) + b"\0" + own
        return hmac.new(self._key, content, hashlib.sha256).digest()[:_SIGNATURE]


def task_id(params: bytes) -> str | None:
    """Which task a notification or a result is about."""
    found = members(params) if b'"taskId"' in params else None
    try:
        return msgspec.json.decode(found["taskId"], type=str) if found is not None and "taskId" in found else None
    except msgspec.MsgspecError:
        return None


def with_task_id(raw: bytes, id_: str) -> bytes:
    """The same with another id."""
    found: dict[str, Any] = dict(members(raw) or {})
    found["taskId"] = id_
    return encode(found)
