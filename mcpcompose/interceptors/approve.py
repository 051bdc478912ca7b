"""
`use: approve`: asks the person before tools that destroy something, or before whatever `match` is about.

A hint that a tool does not give counts as its default: a tool that says nothing of itself destroys.
"""

from __future__ import annotations

import json
from typing import Final

from mcpcompose.interceptors.base import TO_CLIENT, Answer, Around, AskPerson, Exchange, Quiet
from mcpcompose.interceptors.session_pin import JUDGED
from mcpcompose.interceptors.shown import shown
from mcpcompose.spec.interceptor import Interceptor as Spec

_LONGEST: Final = 600
_MOST: Final = 10_000
_NOTIFICATIONS: Final = "notifications/"
_ASKS: Final = {
    "elicitation/create": "ask you something",
    "sampling/createMessage": "ask your model something",
    "roots/list": "see which folders are open",
}
"""What a server wants of the client, by method."""


class Approve(Quiet):
    """Asks each time, or once for each tool and session."""

    def __init__(self, spec: Spec, around: Around) -> None:
        match = spec.match
        self._all = bool(match.tools or match.annotations or match.methods)
        """Whether `match` says which; else those that destroy."""
        self._asks = bool(match.methods)
        """Whether it may be about what servers ask, too."""
        self._notes = any(glob.startswith(_NOTIFICATIONS) for glob in match.methods)
        """Whether it is about notifications: nothing waits for an answer about them, so they are dropped."""
        self._remembers = spec.remember == "session"
        self._message = spec.message
        self._redactor = around.redactor
        self._allowed: set[tuple[str, str, str]] = set()

    def before(self, exchange: Exchange) -> Answer:
        """Ask, unless it was allowed for this session."""
        if not self._is_about(exchange):
            return None
        key = (exchange.session.id, exchange.server, f"{exchange.method} {exchange.name}")
        if key in self._allowed:
            return None
        what = f"`{exchange.server}/{shown(exchange.name or exchange.method, 200)}`"
        refusal = f"the person did not allow {what}: do not try it again in another way, ask what to do instead"
        question = self._question(exchange, what)
        if not self._remembers or not exchange.has_token:  # who shares a session does not share its answers
            return AskPerson(question, refusal, "asked")
        return AskPerson(question, refusal, "asked", accepted=lambda: self._remember(key))

    def _is_about(self, exchange: Exchange) -> bool:
        if exchange.method.startswith(_NOTIFICATIONS):
            return self._notes
        if exchange.direction == TO_CLIENT:
            return self._asks
        return self._all or (exchange.method in JUDGED and destroys(exchange))

    def _remember(self, key: tuple[str, str, str]) -> None:
        if len(self._allowed) >= _MOST:
            self._allowed.clear()
        self._allowed.add(key)

    def _question(self, exchange: Exchange, what: str) -> str:
        """On one line each, so that no argument can look like a sentence of ours."""
        held = " It is not asked again in this session." if self._remembers and exchange.has_token else ""
        if exchange.direction == TO_CLIENT:
            wants = _ASKS.get(exchange.method, f"send `{shown(exchange.method, 200)}`")
            text, word, told = f"May the server `{exchange.server}` {wants}?{held}", "What it sends", exchange.params
        else:
            text, word, told = f"May {what} be used?{held}", "Arguments", exchange.arguments
        if told:
            written = json.dumps(self._redactor.tree(told), ensure_ascii=False, default=str)
            text += f"\n{word}: {shown(written, _LONGEST)}"
        return f"{text}\n{self._message}" if self._message else text


def destroys(exchange: Exchange) -> bool:
    """Whether a tool call may destroy something, by the tool's hints; a tool that only reads does not."""
    return exchange.method == "tools/call" and exchange.hint("destructiveHint") and not exchange.hint("readOnlyHint")
