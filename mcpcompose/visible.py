"""
Text for the eyes of a person who decides about it: readable, and never something else than it looks like.

Pure. Letters of all scripts stay; what moves, hides or passes for another character is shown by its number.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from typing import Final

from mcpcompose.interceptors.plain_text import skeleton

_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that show nothing, though Unicode counts them as printable."""
_IGNORED: Final = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that show nothing by themselves."""
_WORD: Final = re.compile(r"\w+")
_KNOWN: Final = 1 << 16
_SHARP_S: Final = "\u00df\u1e9e"
"""Two letters where cases are folded, and like none of them."""


def visible(line: str) -> str:
    """*line*, of which nothing is invisible, out of its place or like something else."""
    if line.isascii() and line.isprintable():
        return line
    posing = _posing(line)
    return "".join(
        c if " " <= c <= "~" or (at not in posing and _is_plain(c, line[at - 1 : at])) else json.dumps(c)[1:-1]
        for at, c in enumerate(line)
    )


@lru_cache(maxsize=_KNOWN)
def _is_plain(c: str, before: str) -> bool:
    if not c.isprintable() or c in _BLANK or _IGNORED.match(c):
        return False
    category = unicodedata.category(c)
    if category[0] == "M":  # é of two parts is not é of one, and nobody sees that
        return bool(before) and not before.isascii() and len(unicodedata.normalize("NFC", before + c)) > 1
    return category[0] not in "LN" or not _is_ascii_letter(unicodedata.normalize("NFKC", c)) or category == "No"


def _posing(line: str) -> frozenset[int]:
    """Where letters stand that only look like Latin ones, unless their script is really written there."""
    written = any(_looks_like_itself(c) for c in line)
    return frozenset(
        match.start() + at
        for match in _WORD.finditer(line)
        if not match[0].isascii()
        if not written or any(c.isascii() and c.isalpha() for c in match[0])
        for at, c in enumerate(match[0])
        if _looks_latin(c)
    )


@lru_cache(maxsize=_KNOWN)
def _looks_like_itself(c: str) -> bool:
    """A letter of another script than the Latin one, which no Latin letter looks like."""
    return c.isalpha() and not _looks_latin(c) and unicodedata.name(c, "").startswith(("CYRILLIC", "GREEK", "ARMENIAN"))


@lru_cache(maxsize=_KNOWN)
def _looks_latin(c: str) -> bool:
    return not c.isascii() and c.isalpha() and c not in _SHARP_S and _is_ascii_letter(skeleton(c))


def _is_ascii_letter(text: str) -> bool:
    return text.isascii() and text.isalnum()
