"""Take secret values out of what is written down, without looking twice at texts that come again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mcpcompose.audit.record import members
from mcpcompose.redact import MASK, Redactor

_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 256
_LONGEST: Final = 512
LARGEST_VALUES: Final = 64 << 10
"""The most bytes of arguments, or of a result, that are written down where values are."""
_DEEPEST: Final = 64
LONGEST_TEXT: Final = 400
"""Characters of an error's or a decision's text."""
_TELLING: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key", "authorization",
    "credential", "private_key", "privatekey", "private-key", "cookie",
)  # fmt: skip
"""Words in the names of arguments whose values are never written."""


class Names(dict[str, str]):
    """Names as they are written, by what they are; made when they are first asked for, the usual ones kept."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def __missing__(self, name: str) -> str:
        """*name* without what the redactor hides, and cut after 512 characters."""
        found = self._redactor.text(name)[:_LONGEST]
        if len(name) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[name] = found
        return found


class Cleaning:
    """Texts without what *redactor* hides. `look` before each record: what became known since is hidden, too."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known = -1
        self.names = Names(redactor)
        self._requests: dict[tuple[str | bool | None, ...], str] = {}

    def look(self) -> None:
        """Forget what was made before the last secret became known."""
        if self._known != self._redactor.known:
            self._known = self._redactor.known
            self.names.clear()
            self._requests.clear()

    def request(  # noqa: PLR0917  what many records have in common
        self, client: str, profile: str, session: str, server: str, method: str, name: str | None, direction: str,
        modern: bool,
    ) -> str:  # fmt: skip
        """What such a request is, as members of its record; made once for those that come again and again."""
        key = (client, profile, session, server, method, name, direction, modern)
        found = self._requests.get(key)
        if found is None:
            names = self.names
            record: dict[str, Any] = {
                "client": names[client],
                "profile": names[profile],
                "session": session,
                "server": names[server],
                "method": names[method],
            }
            if name is not None:
                record["name"] = names[name]
            if modern:
                record["modern"] = True
            if direction != "to_server":
                record["direction"] = direction
            found = members(record)
            if len(found) <= _LONGEST_REMEMBERED * 4:
                if len(self._requests) >= _REMEMBERED:
                    self._requests.clear()
                self._requests[key] = found
        return found

    def text(self, text: str) -> str:
        """A text, to be written."""
        return self._redactor.text(text)

    def decision(self, decision: Mapping[str, Any]) -> dict[str, Any]:
        """What an interceptor decided, to be written; its texts are cut after 400 characters."""
        return {
            key: self.text(value)[:LONGEST_TEXT] if isinstance(value, str) else value for key, value in decision.items()
        }

    def tree(self, value: Any, depth: int = 0) -> Any:
        """A JSON value, to be written; what is named like a secret is left out whatever it is."""
        if isinstance(value, str):
            return self.text(value)
        if depth > _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            return {
                self.text(key): MASK if _tells(key) and _holds(item) else self.tree(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.tree(item, depth + 1) for item in value]
        return value

    def result(self, result: bytes) -> Any:
        """The JSON of a result, to be written; only its size when it is large or no JSON."""
        if len(result) <= LARGEST_VALUES:
            try:
                return self.tree(msgspec.json.decode(result))
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                return None
        return None


def _tells(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in _TELLING)


def _holds(value: Any) -> bool:
    """Whether a value can be a secret: not a number such as `max_tokens`, and no truth value."""
    return value is not None and not isinstance(value, (int, float))
