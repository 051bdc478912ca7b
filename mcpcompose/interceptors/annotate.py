"""
`use: annotate`: gives tools hints in place of their own, and puts a note in front of results.

The hints are what clients see, and what `match`, rules and other interceptors go by.
"""

from __future__ import annotations

from typing import Any

from mcpcompose.interceptors.base import TO_CLIENT, Answer, Around, Change, Exchange, Quiet
from mcpcompose.interceptors.encoding import encoded
from mcpcompose.spec.interceptor import Interceptor as Spec


class Annotate(Quiet):
    """Says what a person knows about tools and the server does not."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        self._hints = dict(spec.annotations)
        self._note = spec.note

    def item(self, _server: str, kind: str, item: Any) -> Any:
        """A tool's definition with our hints."""
        if kind != "tool" or not self._hints:
            return item
        own = item.get("annotations")
        hints = {**own, **self._hints} if isinstance(own, dict) else dict(self._hints)
        return item if hints == own else {**item, "annotations": hints}

    def after(self, exchange: Exchange) -> Answer:
        """A result of a tool, prompt or resource with our note in front; errors are as they are."""
        if self._note is None or exchange.result is None or exchange.direction == TO_CLIENT:
            return None
        value = exchange.value()
        noted = _noted(value, self._note, exchange) if isinstance(value, dict) else None
        return Change(result=encoded(noted), rule="note") if noted is not None else None


def _noted(value: dict[str, Any], note: str, exchange: Exchange) -> dict[str, Any] | None:
    text = {"type": "text", "text": note}
    match exchange.method, value:
        case (("tools/call" | "tasks/result" | "tasks/get"), {"content": list(content)}):
            return {**value, "content": [text, *content]}
        case "prompts/get", {"messages": list(messages)}:
            return {**value, "messages": [{"role": "user", "content": text}, *messages]}
        case "resources/read", {"contents": list(contents)}:
            uri = exchange.exposed or exchange.name or ""
            return {**value, "contents": [{"uri": uri, "mimeType": "text/plain", "text": note}, *contents]}
        case _:
            return None
