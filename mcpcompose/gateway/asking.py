"""What an interceptor asks the person at a client, and whether that is a yes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mcpcompose.upstream.call import Ask, Reply, failure
from mcpcompose.upstream.wire import encode

REFUSED: Final = -32001
"""Of our own: an interceptor refused, `data` names it and its rule."""


def question(text: str) -> bytes:
    """The params of an elicitation that asks *text*, for a yes or no."""
    schema = {
        "type": "object",
        "properties": {"allow": {"type": "boolean", "title": "Allow it"}},
        "required": ["allow"],
    }
    return encode({"mode": "form", "message": text, "requestedSchema": schema})


def said_yes(reply: Reply) -> bool:
    """Whether the person accepted, and said yes."""
    try:
        said = msgspec.json.decode(reply.result or b"null")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    content = said.get("content") if isinstance(said, dict) else None
    accepted = isinstance(said, dict) and said.get("action") == "accept"
    return accepted and isinstance(content, dict) and content.get("allow") is True


def withdrawn(ask: Ask, answered: Callable[[Reply], None]) -> None:
    """Nobody answered in time: that is a no, told to *answered*."""
    if not ask.done:
        ask.withdraw()
        answered(failure(REFUSED, "nobody answered in time"))
