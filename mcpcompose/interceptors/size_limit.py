"""
`use: size-limit`: so many bytes of arguments and results.

Arguments that are too large are refused. A result is refused, or its texts are cut until it fits; what cannot be cut
(structured content, binary) is refused then, too: half of it would be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from mcpcompose.interceptors.base import TO_CLIENT, Answer, Around, Change, Exchange, Quiet, Refuse
from mcpcompose.interceptors.encoding import encoded
from mcpcompose.spec.interceptor import Interceptor as Spec

_NOTE: Final = "\n[mcp-compose cut this off: {} of {} bytes are left out]"
_NOTIFICATIONS: Final = "notifications/"


class SizeLimit(Quiet):
    """Measures what passes, as JSON."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        self._arguments = spec.arguments
        self._result = spec.result
        self._cuts = spec.action == "truncate"
        self._message = spec.message

    def before(self, exchange: Exchange) -> Answer:
        """Arguments of a tool or prompt; of other requests all parameters."""
        if self._arguments is None:
            return None
        measured = exchange.params.get("arguments", exchange.params)
        size = len(encoded(measured))
        if size <= self._arguments:
            return None
        asked = "arguments" if exchange.direction != TO_CLIENT else "question"
        return Refuse(
            self._message or f"the {asked} have {size} bytes, more than the {self._arguments} that are allowed: send "
            "less, or in several parts", "arguments",
        )  # fmt: skip

    def after(self, exchange: Exchange) -> Answer:
        """The result, or the error."""
        if self._result is None or exchange.method.startswith(_NOTIFICATIONS):
            return None
        raw = exchange.result if exchange.result is not None else exchange.error
        if raw is None or len(raw) <= self._result:
            return None
        if self._cuts and exchange.result is not None:
            changed = cut(exchange.value(), self._result)
            if changed is not None:
                note = f"{len(raw)} bytes cut to {len(changed)}"
                return Change(result=changed, rule="result", note=note)
        return Refuse(
            self._message or f"the result has {len(raw)} bytes, more than the {self._result} that are allowed: ask for "
            "less, for example a page or a part", "result",
        )  # fmt: skip


def cut(value: Any, limit: int) -> bytes | None:
    """*value* as JSON with its texts cut from the last on, until it has at most *limit* bytes; None when it cannot."""
    if not isinstance(value, dict) or "structuredContent" in value:
        return None
    value = _copied(value)
    places = list(_texts(value))
    over = len(encoded(value)) - limit
    for text, put in reversed(places):
        if over <= 0:
            break
        put(_shorter(text, over))
        over = len(encoded(value)) - limit
    return encoded(value) if over <= 0 else None


def _shorter(text: str, over: int) -> str:
    """*text* with at least *over* bytes of JSON less, if it has them, and a note of what is missing."""
    size = len(encoded(text))
    note = _NOTE.format(size, size)  # as long as it can get
    kept = size - over - len(encoded(note))
    if kept <= 0:
        note = _NOTE.format(size - 2, size - 2)
        return note.strip() if size - len(encoded(note)) >= over else ""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encoded(text[:middle])) <= kept else (low, middle - 1)
    return text[:low] + _NOTE.format(size - len(encoded(text[:low])), size - 2)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _texts(value: dict[str, Any]) -> Iterator[tuple[str, Callable[[str], None]]]:
    """The texts that a model reads in a result of a tool, prompt or resource, and how to put others there."""
    for block in value.get("content") or ():
        yield from _block(block)
    for message in value.get("messages") or ():
        yield from _block(message.get("content") if isinstance(message, dict) else None)
    for content in value.get("contents") or ():
        yield from _text(content)


def _block(block: Any) -> Iterator[tuple[str, Callable[[str], None]]]:
    if isinstance(block, list):
        for one in block:
            yield from _block(one)
    elif isinstance(block, dict):
        yield from _text(block)
        yield from _text(block.get("resource"))


def _text(holder: Any) -> Iterator[tuple[str, Callable[[str], None]]]:
    if isinstance(holder, dict) and isinstance(text := holder.get("text"), str):

        def put(shorter: str) -> None:
            holder["text"] = shorter

        yield text, put
