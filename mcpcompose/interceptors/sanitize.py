"""
`use: sanitize`: takes invisible and hidden text out of definitions, results and what servers ask.

What people would not see on their screen should not be what the model goes by. A name that holds such text cannot be
changed, as it would no longer be the name: what has it is left out.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mcpcompose.interceptors.base import (
    TO_CLIENT,
    Answer,
    Around,
    Change,
    Decision,
    Exchange,
    InterceptorFailed,
    Quiet,
    Refuse,
    Warn,
)
from mcpcompose.interceptors.encoding import encoded
from mcpcompose.interceptors.hidden import Counts, clean
from mcpcompose.spec.interceptor import Interceptor as Spec

_OFF_LOOP: Final = 8 << 10
_NOTIFICATIONS: Final = "notifications/"
_IDENTIFYING: Final = frozenset(
    {"name", "uri", "uriTemplate", "$ref", "pattern", "enum", "const", "default", "required"}
)
"""Members of a definition that the server must get back as it wrote them."""
_NAMES: Final = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentRequired"})
"""Members whose keys are such, too."""


class Sanitize(Quiet):
    """Cleans, refuses or reports."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        self._kinds = frozenset(spec.remove)
        self._unseen = self._kinds - {"markup"}
        self._action = spec.action or "redact"
        self._message = spec.message

    def before(self, exchange: Exchange) -> Answer:
        """What a server asks or tells the client."""
        if exchange.direction != TO_CLIENT:
            return None
        cleaned, counts = self._cleaned(exchange.params)
        return self._decided(exchange, counts, Change(params=cleaned)) if counts else None

    def after(self, exchange: Exchange) -> Answer:
        """A result or error."""
        if exchange.direction == TO_CLIENT:
            return None
        raw = exchange.result if exchange.result is not None else exchange.error
        if raw is None or not self._may_hold(raw):
            return None
        return self._read(exchange) if len(raw) <= _OFF_LOOP else self._later(exchange)

    def item(self, _server: str, kind: str, item: Any) -> Any:
        """A definition without it; None for one that must not be shown, the same object when there is nothing."""
        if kind == "instructions":
            cleaned, counts = self._cleaned(item)
        else:
            try:
                cleaned, counts = self._definition(item), {}
            except _UnfitError:
                return item if self._action == "warn" else None
            if cleaned is not item:
                counts = {"definition": 1}
        if not counts or self._action == "warn":
            return item
        return cleaned if self._action == "redact" else None

    def _may_hold(self, raw: bytes) -> bool:
        """A quick look: nearly all messages hold nothing, and need no decoding for that."""
        if not raw.isascii() or b"\\u" in raw or b"\\r" in raw or b"\\b" in raw or b"\x7f" in raw:
            return True
        return "markup" in self._kinds and (b"<" in raw or b"]:" in raw)

    async def _later(self, exchange: Exchange) -> Decision | None:
        return await asyncio.to_thread(self._read, exchange)

    def _read(self, exchange: Exchange) -> Decision | None:
        cleaned, counts = self._cleaned(exchange.value())
        if not counts:
            return None
        whole = encoded(cleaned)
        return self._decided(
            exchange, counts, Change(result=whole) if exchange.result is not None else Change(error=whole)
        )

    def _decided(self, exchange: Exchange, counts: Counts, change: Change) -> Decision:
        rule, note = next(iter(counts)), ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        if self._action == "redact":
            return Change(params=change.params, result=change.result, error=change.error, rule=rule, note=note)
        if self._action == "warn":
            return Warn(note, rule)
        what = "question" if exchange.direction == TO_CLIENT else "answer"
        said = (
            f"the {what} of server `{exchange.server}` was withheld, as it holds hidden text ({note}): tell the person"
        )
        return Refuse(self._message or said, rule)

    def _cleaned(self, value: Any) -> tuple[Any, Counts]:
        counts: Counts = {}
        try:
            return self._tree(value, counts), counts
        except RecursionError as error:
            raise InterceptorFailed("the message is too deep") from error

    def _tree(self, value: Any, counts: Counts) -> Any:
        if isinstance(value, str):
            text, found = clean(value, self._kinds)
            for kind, count in found.items():
                counts[kind] = counts.get(kind, 0) + count
            return text
        if isinstance(value, dict):
            return {self._tree(key, counts): self._tree(item, counts) for key, item in value.items()}
        return [self._tree(item, counts) for item in value] if isinstance(value, list) else value

    def _definition(self, value: Any, key: str = "", *, is_named: bool = False) -> Any:
        """*value* cleaned, itself when it is clean. Raises `_UnfitError` where it cannot be cleaned."""
        if isinstance(value, str):
            if key in _IDENTIFYING and not is_named:
                self._fit(value)
                return value
            return clean(value, self._kinds)[0]
        if isinstance(value, dict):
            for name in value:
                self._fit(name)
            inside = key in _NAMES and not is_named
            changed = {name: self._definition(item, name, is_named=inside) for name, item in value.items()}
            return changed if any(changed[name] is not item for name, item in value.items()) else value
        if isinstance(value, list):
            items = [self._definition(item, key, is_named=is_named) for item in value]
            return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
        return value

    def _fit(self, name: str) -> None:
        if clean(name, self._unseen)[1]:
            raise _UnfitError


class _UnfitError(ValueError):
    """Hidden text in a name."""
