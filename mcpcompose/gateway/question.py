"""A server's question to a client, as a request of its own through the interceptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcpcompose.gateway.passage import Passage
from mcpcompose.upstream.call import CANCELLED, Ask, Call, Origin, Reply, failure
from mcpcompose.upstream.wire import encode

if TYPE_CHECKING:
    from mcpcompose.gateway.chain import Link
    from mcpcompose.gateway.governance import Governance
    from mcpcompose.interceptors.base import Exchange


class Question:
    """A server's question that passes interceptors: on its way to the client, and the answer on its way back."""

    __slots__ = ("_answered", "_ask", "_params", "_passage", "_show")

    def __init__(self, ask: Ask, show: Callable[[Ask], None]) -> None:
        self._ask = ask
        self._show = show
        self._params: dict[str, Any] = {}

    def govern(
        self, governance: Governance, chain: tuple[Link, ...], exchange: Exchange, origin: Origin | None
    ) -> None:
        """Let it go its way."""
        stand_in = Call(exchange.method, dict(exchange.params), origin=origin)
        self._params = exchange.params = stand_in.params
        self._passage = Passage(governance, chain, exchange, stand_in, self._put, self._give, self._show)
        self._answered = self._ask.taken_over(self._came, self._withdrawn)
        self._passage.begin()

    def _put(self, call: Call) -> None:
        if call.params is not self._params:
            self._ask.params = encode(call.params)
        self._show(self._ask)

    def _came(self, reply: Reply) -> None:
        """The client's answer, or the end of the call in its place."""
        if self._ask.abandoned:
            self._passage.gave_up(reply)
            self._answered(reply)
        else:
            self._passage.take(reply)

    def _give(self, reply: Reply) -> None:
        self._ask.done = True
        self._answered(reply)

    def _withdrawn(self) -> None:
        """The server does not want an answer any more."""
        self._passage.gave_up(failure(CANCELLED, "withdrawn"))
