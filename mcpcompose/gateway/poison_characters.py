"""
Characters that a person does not see and a model reads, or that make a terminal show something else.

Pure, linear. What scripts and emoji need (joiners, direction marks in right-to-left text) is not strange there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

from mcpcompose.upstream.base import Level

_TAGS: Final = range(0xE0000, 0xE0080)
_SELECTORS: Final = range(0xE0100, 0xE01F0)
_DIRECTIONS: Final = frozenset("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
_JOINERS: Final = frozenset("\u200c\u200d")
_ENDS: Final = frozenset("\u202c\u2069")
"""They only end what those begin."""
_MARKS: Final = frozenset("\u200e\u200f\u061c\ufeff\u00ad")
_BLACK_FLAG: Final = "\U0001f3f4"
_SOME: Final = 3
_MANY: Final = 12
_PLAIN: Final = frozenset("\t\n\r")

Sign = tuple[str, Level, str]


def strange(text: str) -> Iterator[Sign]:
    """Code, level and reason of what is strange in *text*."""
    if text.isascii() and text.isprintable():
        return
    tags = selectors = hidden = 0
    before, in_flag, is_rtl = "", False, _is_right_to_left(text)
    codes: set[str] = set()
    for c in text:
        number = ord(c)
        in_flag = c == _BLACK_FLAG or (in_flag and number in _TAGS)
        if number in _TAGS and not in_flag:
            tags += 1
        elif number in _SELECTORS:
            selectors += 1
        elif c in _DIRECTIONS and not is_rtl:
            codes.add("turns")
        elif c in _ENDS:
            pass
        elif c not in _PLAIN and unicodedata.category(c) == "Cc":
            codes.add("escapes" if c in "\x1b\x9b\x9d\x90" else "controls")
        elif unicodedata.category(c) == "Cf" and number not in _TAGS and not _belongs(c, before, is_rtl=is_rtl):
            hidden += 1
        before = c
    yield from _told(tags, selectors, hidden, codes)


def _told(tags: int, selectors: int, hidden: int, codes: set[str]) -> Iterator[Sign]:
    if tags or selectors > 1:
        yield "invisible-characters", "high", f"has {tags + selectors} characters that only a model reads"
    elif hidden >= _MANY:
        yield "invisible-characters", "high", f"has {hidden} invisible characters"
    elif hidden:
        level: Level = "medium" if hidden >= _SOME else "low"
        yield "invisible-characters", level, f"has {hidden} invisible character{'s' if hidden > 1 else ''}"
    if "turns" in codes:
        yield "turned-text", "high", "turns the direction of text, so that a person reads something else"
    if "escapes" in codes:
        yield "terminal-codes", "high", "has codes that make a terminal show something else"
    elif "controls" in codes:
        yield "terminal-codes", "medium", "has control characters"


def _belongs(c: str, before: str, *, is_rtl: bool) -> bool:
    """Whether writing or an emoji needs it there."""
    if c in _JOINERS:
        return bool(before) and not before.isascii()
    return c in _MARKS and (is_rtl or c == "\u00ad")


def _is_right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(c) in {"R", "AL"} for c in text)
