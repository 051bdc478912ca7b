"""What interceptors make of the definitions that servers give: descriptions without hidden text, other hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.chain import Link
from mcpcompose.gateway.matching import defines
from mcpcompose.upstream.base import ServerLists

Hook = Callable[[str, str, Any], Any]
"""Server, kind, and the definition; what is to be shown in its place, None to leave it out."""
_KINDS: Final = {"tool": "tools", "prompt": "prompts", "resource": "resources", "template": "templates"}
_FAILURES: Final = (McpComposeError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Definitions:
    """Changes lists as the interceptors say; what was changed before is not made again."""

    def __init__(self) -> None:
        self._links: tuple[Link, ...] = ()
        self._known: dict[str, tuple[ServerLists, ServerLists]] = {}

    def follow(self, links: Sequence[Link]) -> None:
        """These interceptors say, from now on."""
        having = tuple(link for link in links if hasattr(link.interceptor, "item"))
        if having != self._links:
            self._links, self._known = having, {}

    def shown(self, lists: Mapping[str, ServerLists]) -> dict[str, ServerLists]:
        """*lists* as clients get them."""
        if not self._links:
            return dict(lists)
        found: dict[str, ServerLists] = {}
        for server, offered in lists.items():
            known = self._known.get(server)
            if known is None or known[0] is not offered:
                known = self._known[server] = (offered, self._of(server, offered))
            found[server] = known[1]
        self._known = {server: known for server, known in self._known.items() if server in lists}
        return found

    def _of(self, server: str, offered: ServerLists) -> ServerLists:
        changed: dict[str, Any] = {}
        for kind, attribute in _KINDS.items():
            before = getattr(offered, attribute)
            after = tuple(item for one in before if (item := self._item(server, kind, one)) is not None)
            if len(after) != len(before) or any(one is not other for one, other in zip(before, after, strict=True)):
                changed[attribute] = after
        if offered.instructions is not None:
            instructions = self._item(server, "instructions", offered.instructions)
            if instructions != offered.instructions:
                changed["instructions"] = instructions
        return replace(offered, **changed) if changed else offered

    def _item(self, server: str, kind: str, item: Any) -> Any:
        for link in self._links:
            name = item.get("name") if kind == "tool" and isinstance(item, dict) else None
            if defines(link.spec.match, server, name, item if kind == "tool" else None):
                try:
                    item = link.interceptor.item(server, kind, item)  # type: ignore[attr-defined]
                except _FAILURES as error:  # what cannot be treated is not shown
                    link.failed(error)
                    item = None
            if item is None:
                return None
        return item
