"""
`use: session-pin`: the first repository (or other key) that a session touches is the only one.

The key is made of arguments and compared as it is. What cannot be told apart for certain is refused: a missing part,
one that is no plain text, a second argument that only differs in case, a text that could change what a path means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import (
    TO_CLIENT,
    Answer,
    Around,
    AskPerson,
    Exchange,
    InterceptorFailed,
    Quiet,
    Refuse,
)
from mcpcompose.interceptors.sessions import TooMany
from mcpcompose.interceptors.shown import shown
from mcpcompose.spec.interceptor import Interceptor as Spec

JUDGED: Final = frozenset({"tools/call", "prompts/get", "resources/read", "resources/subscribe", "completion/complete"})
"""Requests that reach something; the rest of the protocol is about these, or about nothing in particular."""
_PART: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_LONGEST: Final = 256


class SessionPin(Quiet):
    """Pins the session to the key of its first request, and refuses or asks about others."""

    def __init__(self, spec: Spec, around: Around) -> None:
        self._key = Key(spec.key or "")
        self._asks = spec.action == "ask"
        self._message = spec.message
        self._unpinned = spec.unpinned
        self._redactor = around.redactor
        self._pin = spec.pinned_as

    def before(self, exchange: Exchange) -> Answer:
        """Pin or compare. Nothing goes to the server before the pin is written down."""
        if exchange.direction == TO_CLIENT or exchange.method not in JUDGED:
            return None
        try:
            wanted = self._key.of(exchange.arguments)
        except Unclear as unclear:
            if exchange.name is not None and any(fnmatchcase(exchange.name, glob) for glob in self._unpinned):
                return None
            return self._unclear(exchange, str(unclear))
        try:
            pinned = exchange.session.pin(self._pin, wanted)
        except TooMany as error:
            raise InterceptorFailed("the session has too many pins") from error
        return None if pinned == wanted else self._other(exchange, pinned, wanted)

    def _other(self, exchange: Exchange, pinned: str, wanted: str) -> Answer:
        bound, other, what = self._said(pinned), self._said(wanted), _what(exchange)
        refusal = self._message or (
            f"this session is bound to `{bound}`, so {what} on `{other}` is refused. Go on with `{bound}` only; for "
            f"anything else the person has to end this session (`{exchange.session.reset_command}`)"
        )
        if self._asks:
            question = f"This session works on `{bound}`. May {what} be used on `{other}`, this once?"
            return AskPerson(question, refusal, "other-key")
        return Refuse(refusal, "other-key")

    def _unclear(self, exchange: Exchange, why: str) -> Answer:
        pinned = exchange.session.pinned(self._pin)
        bound = f" This session is bound to `{self._said(pinned)}`." if pinned is not None else ""
        refusal = self._message or (
            f"{_what(exchange)} is refused, as it cannot be told what it works on: {why}.{bound} Use a tool that "
            f"names {self._key.names()}"
        )
        if self._asks:
            return AskPerson(f"It cannot be told what {_what(exchange)} works on: {why}.{bound} Allow it?", refusal,
                             "no-key")  # fmt: skip
        return Refuse(refusal, "no-key")

    def _said(self, text: str) -> str:
        return self._redactor.text(shown(text))


class Unclear(ValueError):  # noqa: N818  reads as what it is
    """It cannot be told for certain which key the arguments name; says why, without values."""


class Key:
    """What is pinned, as the file says it: names of arguments in braces, and text between them."""

    def __init__(self, template: str) -> None:
        self._pieces = _PART.split(template)
        self._separators = {c for text in self._pieces[::2] for c in text}
        if len(self._pieces) == 1:
            raise McpComposeError("`key` names no argument", hint='such as "{owner}/{repo}"')

    def names(self) -> str:
        """The arguments, for people."""
        return " and ".join(f"`{name}`" for name in self._pieces[1::2])

    def of(self, arguments: Mapping[str, Any]) -> str:
        """The key that *arguments* name. Raises `Unclear`."""
        found = list(self._pieces)
        for at in range(1, len(found), 2):
            found[at] = self._part(found[at], arguments)
        return "".join(found)

    def _part(self, name: str, arguments: Mapping[str, Any]) -> str:
        value: Any = arguments
        parts = name.split(".")
        if len(parts) > 1 and name in arguments:
            if parts[0] in arguments:
                raise Unclear(f"there are two arguments that read `{name}`")
            parts = [name]
        for part in parts:
            if not isinstance(value, Mapping) or part not in value:
                raise Unclear(f"there is no argument `{name}`")
            alike = [other for other in value if other != part and _folded(str(other)) == _folded(part)]
            if alike:
                raise Unclear(f"there are two arguments that read `{part}`")
            value = value[part]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise Unclear(f"the argument `{name}` is no plain text")
        if len(value) > _LONGEST:
            raise Unclear(f"the argument `{name}` is too long")
        if not self._is_plain(value):
            raise Unclear(f"the argument `{name}` has characters that a name does not have")
        return value

    def _is_plain(self, value: str) -> bool:
        """Whether *value* is one thing wherever a server puts it: into a path, a query, a command. `#general` is."""
        if (
            value != value.strip()
            or not self._separators.isdisjoint(value)
            or not _ODD.isdisjoint(value.removeprefix("#"))
        ):
            return False
        if any(part in {"", ".", ".."} for part in value.split("/")):
            return False
        return all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in value)


_ODD: Final = frozenset("\\%?#&;\u2044\u2215\uff0f\uff3c\uff0e\u2024")
"""With these, a text in a URL means something else than it says; the last ones look like `/`, a backslash and `.`."""


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("_", "").replace("-", "")


def _what(exchange: Exchange) -> str:
    name = shown(exchange.name or exchange.method)[:_LONGEST]
    return f"`{exchange.server}/{name}`"
