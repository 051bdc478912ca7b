"""What one server asks its clients and has no answer to yet: elicitation, sampling, roots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mcpcompose.upstream.call import INTERNAL_ERROR, METHOD_NOT_FOUND, Ask, Call, Reply, failure
from mcpcompose.upstream.wire import LONGEST_ID, cancelled_id, response

_MOST: Final = 256
"""Questions of a server that may be open at once."""


class Questions:
    """
    The open questions of one connection; *send* takes an answer as bytes.

    *asked* is told of those that belong to no call; None when there is nobody else to answer them.
    """

    def __init__(self, send: Callable[[bytes], None], asked: Callable[[Ask], None] | None) -> None:
        self._send = send
        self._asked = asked
        self._open: dict[int | str | float, Ask] = {}

    def take(self, id_: str | float, method: str, params: bytes, call: Call | None, now: float) -> None:
        """Put a question to the client of *call*; a `ping` is answered here, what nobody can answer is refused."""
        if isinstance(id_, str) and len(id_) > LONGEST_ID:
            return
        if method == "ping":
            self._send(response(id_, Reply(result=b"{}")))
            return
        ask = Ask(method, params, lambda reply: self._answer(id_, reply))
        if len(self._open) >= _MOST:
            ask.answer(failure(INTERNAL_ERROR, "too many questions are open"))
        elif call is not None and call.origin is not None:
            self._open[id_] = ask
            call.asked(ask, now)
        elif self._asked is not None:
            self._open[id_] = ask
            self._asked(ask)
        else:
            ask.answer(failure(METHOD_NOT_FOUND, f"`{method[:100]}` is not offered to servers that clients share"))

    def withdraw(self, params: bytes) -> None:
        """The server takes one of its questions back; nobody else is told of one that is not open."""
        id_ = cancelled_id(params)
        ask = self._open.pop(id_, None) if id_ is not None else None
        if ask is not None:
            ask.withdraw()

    def close(self) -> None:
        """Nobody is there any more to whom an answer could go."""
        asks, self._open = self._open, {}
        for ask in asks.values():
            ask.withdraw()

    def _answer(self, id_: str | float, reply: Reply) -> None:
        if self._open.pop(id_, None) is not None or reply.error is not None:
            self._send(response(id_, reply))
