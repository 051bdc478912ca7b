"""
`use: rules`: rules in the Common Expression Language, in order; the first that decides, decides.

A rule that speaks of the result is asked after the call, all others before. A `deny` or `ask` that has no value for a
request, because an argument is not there or is of another kind, counts as true, an `allow` as false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import (
    HINT_DEFAULTS,
    TO_CLIENT,
    Answer,
    Around,
    AskPerson,
    Exchange,
    Quiet,
    Refuse,
    Warn,
)
from mcpcompose.interceptors.expression import Expression, ExpressionError
from mcpcompose.interceptors.shown import shown
from mcpcompose.spec.interceptor import Interceptor as Spec
from mcpcompose.spec.interceptor import Rule

RESULTS: Final = frozenset({"result", "error"})
NAMES: Final = RESULTS | {
    "method", "server", "name", "tool", "arguments", "params", "client", "profile", "session", "direction",
}  # fmt: skip
"""What a rule may speak of."""
_NO_TOOL: Final = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True}
"""What is no tool call reads."""


class Rules(Quiet):
    """Judges requests and results."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        judged = [_Judged(index, one) for index, one in enumerate(spec.rules, 1)]
        self._before = [one for one in judged if not one.names & RESULTS]
        self._after = [one for one in judged if one.names & RESULTS]
        self._explicit = bool(spec.match.methods)

    def before(self, exchange: Exchange) -> Answer:
        """Judge the request. Notifications are only judged when `match.methods` names them."""
        return self._judge(self._before, exchange) if self._before and self._is_about(exchange) else None

    def after(self, exchange: Exchange) -> Answer:
        """Judge the result; a rule above that let the request through let the result through, too."""
        return self._judge(self._after, exchange) if self._after and self._is_about(exchange) else None

    def _is_about(self, exchange: Exchange) -> bool:
        return self._explicit or not exchange.method.startswith("notifications/")

    def _judge(self, rules: Sequence[_Judged], exchange: Exchange) -> Answer:
        values: dict[str, Any] | None = None
        passed, warned = exchange.own.get(_key(self)), None
        for rule in rules:
            if passed is not None and rule.number > passed:
                break
            if values is None:
                values = _values(exchange)
            if not rule.applies(values):
                continue
            decided = rule.decision(exchange)
            if isinstance(decided, Warn):
                warned = warned or decided
                continue
            if decided is None:
                exchange.own[_key(self)] = rule.number
                break
            return decided
        return warned


class _Judged:
    """One rule."""

    def __init__(self, number: int, spec: Rule) -> None:
        self.number = number
        self._message = spec.message
        told = (("deny", spec.deny), ("allow", spec.allow), ("ask", spec.ask), ("warn", spec.warn))
        self._word, text = next((word, text) for word, text in told if text is not None)
        try:
            self._expression = Expression(text, NAMES)
        except ExpressionError as error:
            raise McpComposeError(f"rule {number}: {error.message}", hint=error.hint) from error
        self.names = self._expression.names

    def applies(self, values: dict[str, Any]) -> bool:
        """Whether it is true; what has no value is on the safe side."""
        try:
            return self._expression.holds(values)
        except ExpressionError:
            return self._word != "allow"

    def decision(self, exchange: Exchange) -> Refuse | AskPerson | Warn | None:
        """What it says when it applies."""
        rule, what = f"rule-{self.number}", f"`{exchange.server}/{shown(exchange.name or exchange.method, 200)}`"
        refusal = self._message or f"a rule of this project refuses {what}: `{self._word}: {self._expression.text}`"
        if self._word == "deny":
            return Refuse(refusal, rule)
        if self._word == "ask":
            return AskPerson(f"May {what} be used? {self._message or self._expression.text}", refusal, rule)
        return Warn(self._message or self._expression.text, rule) if self._word == "warn" else None


@dataclass(frozen=True, slots=True)
class _Tool:
    """What rules are told of a tool: every hint has a value."""

    definition: Mapping[str, Any]
    defaults: Mapping[str, bool]

    def value(self) -> dict[str, Any]:
        notes = self.definition.get("annotations")
        said = {key: one for key, one in notes.items() if isinstance(one, bool)} if isinstance(notes, Mapping) else {}
        return {
            "name": self.definition.get("name", ""),
            "description": self.definition.get("description", ""),
            "annotations": {**self.defaults, **said},
        }


def _values(exchange: Exchange) -> dict[str, Any]:
    session = exchange.session
    is_call = exchange.method == "tools/call" and exchange.direction != TO_CLIENT
    tool = _Tool(exchange.tool or {}, HINT_DEFAULTS if is_call else _NO_TOOL)
    values = {
        "method": exchange.method,
        "server": exchange.server,
        "name": exchange.name or "",
        "tool": tool.value(),
        "arguments": dict(exchange.arguments),
        "params": dict(exchange.params),
        "client": exchange.client,
        "profile": exchange.profile,
        "session": {"labels": session.all_labels(), "pins": dict(session.pins)},
        "direction": exchange.direction,
    }
    if exchange.result is not None:
        values["result"] = exchange.value()
    elif exchange.error is not None:
        values["error"] = exchange.value()
    return values


def _key(rules: Rules) -> str:
    return f"rules {id(rules)}"
