"""Text of models and servers, made fit for people: one line, and nothing in it that cannot be seen."""

from __future__ import annotations

import unicodedata
from typing import Final

_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def shown(text: str, longest: int = 512) -> str:
    """*text* with what is invisible written as its number, cut at *longest* characters; what is cut is counted."""
    cut = text[:longest]
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in cut)
    left = len(text) - longest
    return cut if left <= 0 else f"{cut}… ({left} more characters)"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004  the basic plane
