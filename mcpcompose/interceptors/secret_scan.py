"""
`secret-scan`: secrets in arguments, results, prompts, resources, errors, questions and notifications.

By the project's own values (certain), and by the rules of `scanning` (what vendors publish about their tokens).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
import re2

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import Answer, Around, Change, Decision, Exchange, InterceptorFailed, Refuse, Warn
from mcpcompose.interceptors.scanning.json_text import Place, inside, located, replaced
from mcpcompose.interceptors.scanning.scanner import KNOWN, Finding, Scanner
from mcpcompose.redact import MASK
from mcpcompose.spec.interceptor import Excepted
from mcpcompose.spec.interceptor import Interceptor as Spec

AT_ONCE: Final = 32 * 1024
"""Bytes up to which a message is scanned where it is; larger ones in a thread."""
LONGEST_NOTE: Final = 256 * 1024
"""Bytes up to which a notification, which nobody can wait for, is scanned; larger ones are not passed on."""
_NOTIFICATION: Final = "notifications/"
_NAMED: Final = 8
"""Findings that are named one by one."""
_BREAKS: Final = re.compile(rb"\\[nrt]|\s")
_encode: Final = msgspec.json.Encoder().encode
_WAYS: Final = frozenset({"name", "uri", "ref", "taskId", "task"})
"""Members of the params that say where a request goes; nothing may change them."""
_PROTOCOL: Final = frozenset(
    b"content text type structuredContent isError _meta resource resources uri mimeType blob data messages role user "
    b"assistant description arguments name contents annotations image audio resource_link progressToken title value "
    b"values prompts tools code message inputSchema action accept decline cancel uriTemplate".split()
)
"""Words of the protocol; a secret that is one of them is hidden in texts, but not where it is such a word."""


class SecretScan:
    """Redacts what it finds, refuses the request, or writes it into the audit log."""

    def __init__(self, spec: Spec, around: Around) -> None:
        self._action = spec.action or "redact"
        self._scanner = Scanner(entropy=spec.entropy, known=around.redactor)
        self._excepted = tuple(_Exception(one) for one in spec.allow)

    def before(self, exchange: Exchange) -> Answer:
        """Scan what the request brings."""
        raw = _encode(exchange.params)
        if self._scanner.is_quiet(raw):
            return None
        if len(raw) <= AT_ONCE:
            return self._asked(raw, exchange)
        if exchange.method.startswith(_NOTIFICATION):
            if len(raw) > LONGEST_NOTE:
                return Refuse("a notification that is too large to be looked through was not passed on", "size")
            return self._asked(raw, exchange)
        return asyncio.to_thread(self._asked, raw, exchange)

    def after(self, exchange: Exchange) -> Answer:
        """Scan what came back."""
        raw = exchange.result if exchange.result is not None else exchange.error
        if raw is None or self._scanner.is_quiet(raw):
            return None
        if len(raw) <= AT_ONCE:
            return self._answered(raw, exchange)
        return asyncio.to_thread(self._answered, raw, exchange)

    def item(self, server: str, kind: str, item: Any) -> Any:  # noqa: ARG002
        """A definition as clients may see it: without known secrets, and left out when its name or URI has one."""
        raw = msgspec.json.encode(item)
        found = [one for one in self._scanner.scan(raw) if one.rule == KNOWN]
        if not found:
            return item
        hidden = _Hidden(raw, found, (), server, "")
        if self._action == "warn":
            return item
        clean = msgspec.json.decode(hidden.clean())
        if self._action == "block" or (isinstance(item, Mapping) and _way(item) != _way(clean)):
            return None
        return clean

    async def close(self) -> None:
        """Nothing is held."""

    def _asked(self, raw: bytes, exchange: Exchange) -> Decision | None:
        hidden = self._look(raw, exchange, "")
        if hidden is None:
            return None
        if self._action == "redact" and hidden.is_in_the_way():
            return Refuse(
                f"{hidden.said()}, in what says where the request goes, where it cannot be hidden; ask without it",
                hidden.rules(),
            )
        return self._decided(hidden, "Ask again without it, or tell the person.") or Change(
            params=_object(hidden.clean()), rule=hidden.rules(), note=hidden.note()
        )

    def _answered(self, raw: bytes, exchange: Exchange) -> Decision | None:
        hidden = self._look(raw, exchange, "result." if exchange.result is not None else "error.")
        if hidden is None:
            return None
        decided = self._decided(hidden, "Tell the person that the answer was kept from you.")
        if decided is not None:
            return decided
        clean = hidden.clean()
        if exchange.result is not None:
            return Change(result=clean, rule=hidden.rules(), note=hidden.note())
        return Change(error=clean, rule=hidden.rules(), note=hidden.note())

    def _look(self, raw: bytes, exchange: Exchange, prefix: str) -> _Hidden | None:
        found = self._scanner.look(raw)
        if not found:
            return None
        hidden = _Hidden(raw, found, self._excepted, exchange.server, prefix)
        return hidden if hidden.parts else None

    def _decided(self, hidden: _Hidden, hint: str) -> Decision | None:
        if self._action == "block":
            return Refuse(f"{hidden.said()}. {hint}", hidden.rules())
        if self._action == "warn":
            return Warn(hidden.note(), hidden.rules())
        return None


class _Exception:
    """A finding that is no secret, as the file says."""

    def __init__(self, said: Excepted) -> None:
        self._rule, self._server, self._path = said.rule, said.server, said.path
        options = re2.Options()
        options.log_errors = False
        try:
            self._matching = re2.compile(said.matching.encode(), options) if said.matching is not None else None
        except re2.error as error:
            raise McpComposeError(f"secret-scan: `matching: {said.matching}` is no regular expression") from error

    def fits(self, finding: Finding, path: str, server: str) -> bool:
        """Whether everything that is said fits."""
        if self._rule is not None and not fnmatchcase(finding.rule, self._rule):
            return False
        if self._server is not None and not fnmatchcase(server, self._server):
            return False
        if self._path is not None and not fnmatchcase(path, self._path):
            return False
        return self._matching is None or self._matching.fullmatch(finding.text) is not None


class _Hidden:
    """What was found in a message and is not excepted, by place."""

    def __init__(
        self, raw: bytes, found: list[Finding], excepted: tuple[_Exception, ...], server: str, prefix: str
    ) -> None:
        self._raw = raw
        self.parts: list[tuple[tuple[int, int], bytes]] = []
        self._found: list[tuple[Finding, str]] = []
        spans = [(one.start, one.end) for one in found]
        for index, place in located(raw, spans):
            one = found[index]
            if _is_protocol(raw, place) or (one.rule != KNOWN and place.is_name and not place.is_text):
                continue
            path = prefix + place.path
            if any(exception.fits(one, path, server) for exception in excepted):
                continue
            span = inside(raw, spans[index], place)
            self.parts.append((span, _mask(one, raw[slice(*span)], place, whole=span == spans[index])))
            self._found.append((one, path))

    def clean(self) -> bytes:
        """The message without them. Raises `InterceptorFailed` when that is not JSON, which nobody should see."""
        clean = replaced(self._raw, self.parts)
        try:
            msgspec.json.decode(clean)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InterceptorFailed("the message is not JSON without the secrets in it") from error
        return clean

    def is_in_the_way(self) -> bool:
        """Whether one is in the name or URI that says where a request goes."""
        return any(path.split(".", 1)[0] in _WAYS for _, path in self._found)

    def rules(self) -> str:
        """Their rules, each once."""
        return ", ".join(dict.fromkeys(one.rule for one, _ in self._found[:_NAMED]))

    def note(self) -> str:
        """For the audit log: rules, encodings and places, no values."""
        named = [f"{one.rule}{f' ({one.form})' if one.form else ''} at {path}" for one, path in self._found[:_NAMED]]
        more = len(self._found) - len(named)
        return "; ".join(named) + (f"; {more} more" if more > 0 else "")

    def said(self) -> str:
        """For the model."""
        kinds = ", ".join(dict.fromkeys(f"`{one.rule}`" for one, _ in self._found[:_NAMED]))
        return f"this has a secret in it ({kinds} at `{self._found[0][1]}`)"


def _mask(one: Finding, text: bytes, place: Place, *, whole: bool) -> bytes:
    """What stands in the place of *text*, where *one* is; in base64 and hex something that can be decoded."""
    if not place.is_text:
        return f'"{MASK}"'.encode()
    if one.form == "base64" and whole:
        letters = len(_BREAKS.sub(b"", text))
        size = letters // 4 * 3
        return base64.b64encode((MASK.encode() + b"*" * size)[:size]).ljust(letters, b"A")
    if one.form == "hex" and whole:
        return (MASK.encode() + b"*" * one.size)[: one.size].hex().encode()
    return MASK.encode()


def _is_protocol(raw: bytes, place: Place) -> bool:
    return raw[place.start : place.end] in _PROTOCOL


def _object(raw: bytes) -> dict[str, Any]:
    return msgspec.json.decode(raw, type=dict[str, Any])


def _way(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in ("name", "uri", "uriTemplate"))


__all__ = ["SecretScan"]
