r"""
Places in JSON text, and replacing what stands there: always inside of its strings, so that it stays JSON.

Everything else stays byte for byte as it came: the order of members, numbers, even a member that is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]|[^\s"{}\[\]:,]++', re.DOTALL)
_UNIT: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_HIGH: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_STRUCTURE: Final = b"{}[],:"
_QUOTE: Final = ord('"')
_LONGEST_ESCAPE: Final = 12
"""Bytes of a pair of surrogates."""
_LONGEST_PATH: Final = 400

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A text, number or word at `raw[start:end]` (without quotes), by its *path*; *is_name* for a member's name."""

    path: str
    start: int
    end: int
    is_name: bool
    is_text: bool


def located(raw: bytes, spans: Sequence[Span]) -> Iterator[tuple[int, Place]]:
    """For each of *spans* (in order, none over another), by its index, the places that it touches."""
    at = 0
    for place in _places(raw, spans):
        while at < len(spans) and spans[at][1] <= place.start:
            at += 1
        if at == len(spans):
            return
        index = at
        while index < len(spans) and spans[index][0] < place.end:
            yield index, place
            index += 1


def _places(raw: bytes, spans: Sequence[Span]) -> Iterator[Place]:
    """The texts, numbers and words that may touch one of *spans*, in order."""
    path: list[str | int] = []  # for each open object the name of its member, for each open array its index
    expects_name, at = False, 0
    for match in _TOKEN.finditer(raw):
        start, end = match.span()
        first = raw[start]
        if first in _STRUCTURE:
            expects_name = _moved(path, first)
            continue
        is_text = first == _QUOTE
        if is_text:
            start, end = start + 1, end - 1
        if expects_name:
            path[-1] = raw[start : min(end, start + _LONGEST_PATH)].decode("utf-8", "replace")
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        if at == len(spans):
            return
        if spans[at][0] < end:
            yield Place(".".join(map(str, path))[:_LONGEST_PATH], start, end, expects_name, is_text)


def _moved(path: list[str | int], sign: int) -> bool:
    """Follow one sign of the structure; returns whether the name of a member comes next."""
    if sign in b"{[":
        path.append("" if sign in b"{" else 0)
        return sign in b"{"
    if sign in b"}]":
        del path[-1:]
    elif sign in b"," and path:
        last = path[-1]
        if isinstance(last, int):
            path[-1] = last + 1
        return isinstance(last, str)
    return False


def inside(raw: bytes, span: Span, place: Place) -> Span:
    """The part of *span* in *place*, as large as it has to be so that no escape and no character is cut."""
    if not place.is_text:
        return place.start, place.end
    return _whole_from(raw, max(span[0], place.start), place), _whole_to(raw, min(span[1], place.end), place)


def replaced(raw: bytes, parts: Sequence[tuple[Span, bytes]]) -> bytes:
    """*raw* with something else in each of these places; they are in order, and those that overlap become one."""
    pieces: list[bytes] = []
    at = 0
    for (start, end), text in parts:
        if start >= at:
            pieces += (raw[at:start], text)
        at = max(at, end)
    pieces.append(raw[at:])
    return b"".join(pieces)


def _whole_from(raw: bytes, position: int, place: Place) -> int:
    for start, end in _escapes(raw, position, place):
        if start < position < end:
            return start
    while position > place.start and raw[position] & 0xC0 == 0x80:  # noqa: PLR2004
        position -= 1
    return position


def _whole_to(raw: bytes, position: int, place: Place) -> int:
    for start, end in _escapes(raw, position, place):
        if start < position < end:
            return end
    while position < place.end and raw[position] & 0xC0 == 0x80:  # noqa: PLR2004
        position += 1
    return position


def _escapes(raw: bytes, position: int, place: Place) -> Iterator[Span]:
    """The escapes around *position*; a pair of surrogates is one."""
    at = max(place.start, position - _LONGEST_ESCAPE)
    while at > place.start and raw[at - 1] == 92:  # noqa: PLR2004  begin where no backslash is cut from its escape
        at -= 1
    if at > place.start:
        cut = raw.rfind(b"\\u", max(place.start, at - _LONGEST_ESCAPE), at)
        at = cut if cut >= 0 and (cut == place.start or raw[cut - 1] != 92) else at  # noqa: PLR2004
    while (match := _UNIT.search(raw, at, place.end)) is not None and match.start() < position:
        start, end = match.span()
        if _HIGH.fullmatch(raw, start, end) and _UNIT.match(raw, end, place.end):
            end = _UNIT.match(raw, end, place.end).end()  # type: ignore[union-attr]
        yield start, end
        at = end
