"""What an interceptor asks the person at a client, and whether that is a yes."""

from __future__ import annotations

import asyncio
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


class OpenQuestion:
    """*text*, as it is asked: *ask* is put to the client, *answered* told what became of it within *seconds*."""

    __slots__ = ("_answered", "_timer", "ask")

    def __init__(self, text: str, seconds: float, answered: Callable[[Reply], None]) -> None:
        self.ask = Ask("elicitation/create", question(text), self._came)
        self._answered = answered
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def withdraw(self) -> None:
        """Nobody needs the answer any more."""
        self._timer.cancel()
        self.ask.withdraw()

    def _came(self, reply: Reply) -> None:
        self._timer.cancel()
        self._answered(reply)

    def _late(self) -> None:
        """Nobody answered in time: that is a no."""
        if not self.ask.done:
            self.ask.withdraw()
            self._answered(failure(REFUSED, "nobody answered in time"))
