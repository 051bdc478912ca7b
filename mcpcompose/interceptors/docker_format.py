"""
The payloads and replies of Docker's MCP gateway, so that interceptors written for it run unchanged.

Its releases and its documentation differ in what they send, so ours is all of them in one: before a call
`{"method", "params"}` and the older `Params`, after it the tool's result with `request` and `response` beside its
members. Nothing as a reply lets the call through; anything else is a tool's result in the place of the server's.
Where Docker's gateway fails open (a webhook that answers 500 with nothing), this does not: that never gets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcpcompose.interceptors.base import TO_SERVER, Change, Decision, Exchange, InterceptorFailed, Respond
from mcpcompose.interceptors.contract import AFTER, CALL, Phase, encoded, refuse_twins, usable

_OURS: Final = ("request", "response")
_SHOWN: Final = 200


def asks(exchange: Exchange) -> bool:
    """Whether Docker's interceptors see it: calls of tools only."""
    return exchange.method == CALL and exchange.direction == TO_SERVER


def question(exchange: Exchange, phase: Phase) -> bytes:
    """What is told of *exchange*, on one line. Raises `InterceptorFailed`."""
    params = {key: value for key, value in exchange.params.items() if key in {"name", "arguments", "_meta"}}
    params.setdefault("arguments", {})
    request = {"method": exchange.method, "params": params, "Session": {}, "Params": params, "Extra": None}
    if phase != AFTER:
        return encoded(request)
    result = _result_of(exchange)
    return encoded({**result, "request": request, "response": result})


def answer(raw: bytes, exchange: Exchange, phase: Phase) -> Decision | None:
    """What *raw* decides. Raises `InterceptorFailed`."""
    if not raw.strip():
        return None
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any])
        refuse_twins(raw)
    except (ValueError, RecursionError) as error:  # of which msgspec's are some
        raise InterceptorFailed(f"it answered what is no tool's result: {str(error)[:_SHOWN]}") from None
    result = {key: value for key, value in found.items() if key not in _OURS}
    if "structuredContent" in result:
        result.setdefault("content", [])
    whole = usable(result, exchange)
    return Change(result=whole) if phase == AFTER else Respond(whole)


def _result_of(exchange: Exchange) -> Mapping[str, Any]:
    """The tool's result; an error of the protocol in the form of one, so that its text is looked at, too."""
    value = exchange.value()
    if exchange.result is not None and isinstance(value, dict):
        return value
    text = value.get("message") if isinstance(value, dict) else None
    return {"content": [{"type": "text", "text": text if isinstance(text, str) else ""}], "isError": True}
