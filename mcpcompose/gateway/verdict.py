"""What a decision of an interceptor means: what the client gets, and what is written down. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpcompose.gateway.asking import REFUSED
from mcpcompose.upstream.call import INTERNAL_ERROR, Reply, failure
from mcpcompose.upstream.wire import encode

_FIXED: Final = ("name", "uri", "ref", "taskId", "task")
"""Members of the params that say where a request goes."""


def is_same_way(before: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether *params* go where *before* went: an interceptor cannot send a request elsewhere."""
    return all(params.get(key) == before.get(key) and (key in params) == (key in before) for key in _FIXED)


def refusal(method: str, label: str, message: str, rule: str | None) -> Reply:
    """What the client gets: a tool's result that the model reads, else an error."""
    if method == "tools/call":
        return Reply(result=encode({"content": [{"type": "text", "text": message}], "isError": True}))
    return failure(REFUSED, message, {"interceptor": label, **({"rule": rule} if rule else {})})


def written(label: str, what: str, rule: str | None, text: str | None) -> dict[str, Any]:
    """What the audit log says of it."""
    note = {"interceptor": label, "decision": what, "rule": rule, "note": text}
    return {key: value for key, value in note.items() if value is not None}


def broken(error: Exception) -> Reply:
    """What the client gets when the request could not go on."""
    return failure(INTERNAL_ERROR, "the request could not go on", {"reason": str(error)[:200]})
