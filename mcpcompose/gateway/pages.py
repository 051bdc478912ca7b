"""
The results of list methods: entries that are encoded already, hints for caches, our own cursors. Pure.

A cursor says where a page begins and what came right before it, so that one of an older table still leads to a
sensible page: after that entry where it is now, else to the same place in the list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from mcpcompose.upstream.wire import META_SERVER, encode

_VERSION: Final = 1
_LONGEST: Final = 4096
_HINTS: Final = frozenset({"ttlMs", "cacheScope", "resultType"})
_LONGEST_TTL: Final = 3_600_000
"""Milliseconds; what a client keeps for longer cannot be taken back when a definition turns out to be poisoned."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list under its exposed name or URI, as JSON for either era."""

    name: str
    modern: bytes
    handshake: bytes


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside a list: hints for caches of modern clients, and members that we only pass on."""

    ttl: int = 0
    is_public: bool = False
    members: Mapping[str, Any] | None = None

    def private(self) -> Beside:
        """For lists that are not the same for everybody who asks at one address."""
        return Beside(self.ttl, is_public=False, members=self.members)

    def hints(self) -> dict[str, Any]:
        """As members of a result."""
        return {"ttlMs": self.ttl, "cacheScope": "public" if self.is_public else "private"}


def beside_one(said: Mapping[str, Any] | None) -> Beside:
    """What the one server of an endpoint said beside its list; a handshake server gives no hints."""
    hints = _hints_of(said)
    extra = {key: value for key, value in (said or {}).items() if key not in _HINTS}
    return Beside(hints.ttl, hints.is_public, extra or None)


def beside_all(said: Sequence[Mapping[str, Any] | None]) -> Beside:
    """For a list made of several: the shortest time, private if one is; None is for a server that is down."""
    hints = [_hints_of(one) for one in said]
    if not hints:
        return Beside()
    return Beside(min(one.ttl for one in hints), all(one.is_public for one in hints))


def head(beside: Beside, info: Mapping[str, Any], *, modern: bool) -> dict[str, Any]:
    """The members of a list's result but for the list itself."""
    extra = dict(beside.members or {})
    meta = extra.pop("_meta", None)
    meta = dict(meta) if isinstance(meta, dict) else {}
    if modern:
        meta.setdefault(META_SERVER, info)
        return {"resultType": "complete", **extra, **beside.hints(), "_meta": meta}
    meta.pop(META_SERVER, None)
    return {**extra, "_meta": meta} if meta else extra


def encoded(member: str, entries: Sequence[bytes], others: Mapping[str, Any]) -> bytes:
    """The whole result."""
    rest = encode({key: value for key, value in others.items() if key != member})
    tail = b"," + rest[1:] if len(rest) > len(b"{}") else b"}"
    return b'{"%b":[%b]%b' % (member.encode(), b",".join(entries), tail)


def cursor(method: str, at: int, before: str) -> str:
    """Where a page begins; *before* is the entry that precedes it."""
    content = msgspec.json.encode({"v": _VERSION, "m": method, "offset": at, "after": before})
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def begins_at(text: object, method: str, entries: Sequence[Entry]) -> int | None:
    """Where the page of a cursor begins now; None for one that was not given out for *method*."""
    if text is None or text == "":  # an empty cursor is a valid one, and ours are never empty: the first page
        return 0
    found = _opened(text)
    if found is None or found.get("v") != _VERSION or found.get("m") != method:
        return None
    at, after = found.get("offset"), found.get("after")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0 or not isinstance(after, str):
        return None
    if 0 < at <= len(entries) and entries[at - 1].name == after:
        return at
    moved = next((number for number, entry in enumerate(entries, start=1) if entry.name == after), None)
    return min(at, len(entries)) if moved is None else moved


def _opened(text: object) -> dict[str, Any] | None:
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(content)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _hints_of(said: Mapping[str, Any] | None) -> Beside:
    ttl = said.get("ttlMs") if said is not None else None
    known = isinstance(ttl, int) and not isinstance(ttl, bool)
    scope = said.get("cacheScope") if said is not None else None
    return Beside(min(max(ttl, 0), _LONGEST_TTL) if known and ttl is not None else 0, scope == "public")
