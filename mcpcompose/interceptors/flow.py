"""
`use: flow`: what was read from private or untrusted sources does not reach public sinks.

Reading labels the session, before the request goes out: whatever the server says from then on may reach the model.
Labels stay until the session ends. What the file says about a tool counts in place of the tool's own hints.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from mcpcompose.interceptors.base import TO_CLIENT, Answer, Around, AskPerson, Exchange, Quiet, Refuse
from mcpcompose.interceptors.session_pin import JUDGED
from mcpcompose.interceptors.shown import shown
from mcpcompose.spec.interceptor import Flowing, FlowRule
from mcpcompose.spec.interceptor import Interceptor as Spec

PRIVATE: Final = "private"
UNTRUSTED: Final = "untrusted"
PUBLIC: Final = "public"
_DEFAULT: Final = (FlowRule(after=(PRIVATE,), to=PUBLIC), FlowRule(after=(UNTRUSTED,), to=PUBLIC))
_CALL: Final = "tools/call"
_SAMPLING: Final = "sampling/createMessage"
"""A server's question that the model reads, and whose answer the server reads."""


class Flow(Quiet):
    """Labels sessions at sources, and closes sinks to labelled sessions."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        self._sources = spec.sources
        self._sinks = spec.sinks
        self._forbidden = spec.forbid or _DEFAULT
        self._asks = spec.action == "ask"
        self._message = spec.message

    def before(self, exchange: Exchange) -> Answer:
        """Close the sink, or label the session."""
        is_known = exchange.method in JUDGED if exchange.direction != TO_CLIENT else exchange.method == _SAMPLING
        if not is_known:
            return None
        sources, sinks = self._labels(exchange)
        if sinks:
            closed = self._closed(exchange, sinks)
            if closed is not None:
                return self._decided(exchange, *closed, sources)
        self._read(exchange, sources)
        return None

    def _labels(self, exchange: Exchange) -> tuple[frozenset[str], frozenset[str]]:
        """What is read there, and who reads what is written there."""
        sources, of_source = _named(self._sources, exchange)
        sinks, of_sink = _named(self._sinks, exchange)
        if of_source or of_sink or exchange.method != _CALL:
            return sources, sinks
        return _hinted(exchange)

    def _closed(self, exchange: Exchange, sinks: frozenset[str]) -> tuple[FlowRule, str] | None:
        """The rule that closes it, and where the session read what it may not carry there."""
        for rule in self._forbidden:
            if rule.to not in sinks:
                continue
            read = {label: exchange.session.has(label) for label in rule.after}
            if all(where is not None for where in read.values()):
                return rule, " and ".join(f"`{label}` content from {where}" for label, where in read.items())
        return None

    def _decided(self, exchange: Exchange, rule: FlowRule, read: str, sources: frozenset[str]) -> Answer:
        name, what = f"{'+'.join(rule.after)}-to-{rule.to}", _what(exchange)
        refusal = self._message or (
            f"this session has read {read}, so {what}, where others can read what is written, is closed (`{rule.to}`). "
            f"Tell the person what you wanted to do; a new session begins with "
            f"`{exchange.session.reset_command}`"
        )
        if not self._asks:
            return Refuse(refusal, name)
        question = f"This session has read {read}. May {what} be used, this once? It is `{rule.to}`."
        return AskPerson(question, refusal, name, accepted=lambda: self._read(exchange, sources))

    @staticmethod
    def _read(exchange: Exchange, sources: frozenset[str]) -> None:
        for label in sorted(sources):
            exchange.session.label(label, _what(exchange))


def _named(flowings: tuple[Flowing, ...], exchange: Exchange) -> tuple[frozenset[str], bool]:
    """The labels that the file gives, and whether it says anything about this."""
    fitting = [spec for spec in flowings if _fits(spec, exchange)]
    return frozenset(label for spec in fitting for label in spec.labels), bool(fitting)


def _fits(spec: Flowing, exchange: Exchange) -> bool:
    if spec.server and not any(fnmatchcase(exchange.server, glob) for glob in spec.server):
        return False
    if not spec.tools:
        return True
    name = exchange.name
    return exchange.method == _CALL and name is not None and any(fnmatchcase(name, glob) for glob in spec.tools)


def _hinted(exchange: Exchange) -> tuple[frozenset[str], frozenset[str]]:
    """
    What a tool says of itself, when it says so: a hint that is not there means nothing here.

    A tool that touches an open world brings in what anybody wrote, and, unless it only reads, writes for anybody.
    """
    notes = exchange.tool.get("annotations") if exchange.tool is not None else None
    if not isinstance(notes, Mapping) or notes.get("openWorldHint") is not True:
        return frozenset(), frozenset()
    return frozenset({UNTRUSTED}), frozenset() if notes.get("readOnlyHint") is True else frozenset({PUBLIC})


def _what(exchange: Exchange) -> str:
    return f"`{exchange.server}/{shown(exchange.name or exchange.method, 200)}`"
