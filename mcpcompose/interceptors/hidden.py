"""
Takes out of a text what people do not see and models read. Pure, and linear in the length of the text.

The patterns are our own and never go back: every part of one ends before the next begins, or at the next mark.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

from mcpcompose.interceptors.hidden_markup import without_markup

Counts = dict[str, int]
"""How often each kind was taken out."""

_ANSI: Final = re.compile(
    "\x1b\\[[0-?]*+[ -/]*+[@-~]"  # control sequences: colours, the cursor
    "|\x1b[\\]PX^_][^\x07\x1b\x9c]*+(?:\x07|\x1b\\\\|\x9c)"  # strings for the terminal: titles, links, the clipboard
    "|\x1b[ -/]*+[0-~]?"
    "|[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]"
    "|\r(?!\n)"
)
_ORDER: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MARKS: Final = re.compile("[\u200e\u200f\u061c]")
"""Marks of direction: right-to-left texts need them, others do not."""
_RIGHT_TO_LEFT: Final = re.compile(
    "[\u0590-\u0600\u0620-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_FLAG: Final = "\U0001f3f4"
_FLAGS: Final = frozenset(
    "".join(chr(0xE0000 + ord(c)) for c in name) + "\U000e007f" for name in ("gbeng", "gbsct", "gbwls")
)
"""England, Scotland, Wales: the only flags that are spelled with invisible letters."""
_ZWNJ: Final = "\u200c"
_ZWJ: Final = "\u200d"


def clean(text: str, kinds: Collection[str]) -> tuple[str, Counts]:
    """*text* without the *kinds* of `sanitize`; the same object when there is nothing of them."""
    counts: Counts = {}
    if "ansi" in kinds and not text.isprintable():
        text = _counted(counts, "ansi", *_ANSI.subn(_plain_line, text))
    if not text.isascii():
        if "bidi" in kinds:
            text = _counted(counts, "bidi", *_ORDER.subn("", text))
            if not _RIGHT_TO_LEFT.search(text):
                text = _counted(counts, "bidi", *_MARKS.subn("", text))
        if "invisible" in kinds:
            text = _without_unseen(text, counts)
    if "markup" in kinds and ("<" in text or "]:" in text):
        text = _counted(counts, "markup", *without_markup(text))
    return text, counts


def _counted(counts: Counts, kind: str, text: str, count: int) -> str:
    if count:
        counts[kind] = counts.get(kind, 0) + count
    return text


def _plain_line(found: re.Match[str]) -> str:
    """A lone carriage return writes over the line before: it becomes a line of its own."""
    return "\n" if found[0] == "\r" else ""


def _without_unseen(text: str, counts: Counts) -> str:
    removed = 0

    def kept(found: re.Match[str]) -> str:
        nonlocal removed
        start, end = found.span()
        before = text[start - 1] if start else ""
        rest = _needed(found[0], before, text[end] if end < len(text) else "")
        removed += rest != found[0]
        return rest

    changed = _UNSEEN.sub(kept, text)
    return _counted(counts, "invisible", changed, removed) if removed else text


def _needed(run: str, before: str, after: str) -> str:
    """What of a *run* of invisible characters the writing of a language, or a picture, needs."""
    if before == _FLAG and run in _FLAGS:
        return run
    rest = ""
    if before and _selects(run[0], before):
        rest, run = run[0], run[1:]
    if run == _ZWJ and before and after and (_joins(before, after) or (_is_picture(before) and _is_picture(after))):
        return rest + run
    if run == _ZWNJ and before and after and _joins(before, after):
        return rest + run
    return rest


def _selects(selector: str, base: str) -> bool:
    """Whether *selector* chooses a form of *base* that there is: a picture, an ideograph, a Mongolian letter."""
    code = ord(selector)
    if code in {0xFE0E, 0xFE0F}:
        return _is_picture(base) or base in "#*0123456789"
    if 0xFE00 <= code <= 0xFE0D or code >= 0xE0100:  # noqa: PLR2004  variation selectors
        return _is_ideograph(base) or (code < 0xFE03 and unicodedata.category(base) == "Sm")  # noqa: PLR2004
    return 0x180B <= code <= 0x180F and code != 0x180E and 0x1820 <= ord(base) <= 0x18AA  # noqa: PLR2004


def _is_picture(character: str) -> bool:
    return unicodedata.category(character) in {"So", "Sk", "Sm"} or character in "\ufe0f\u203c\u2049\u3030\u303d"


def _is_ideograph(character: str) -> bool:
    code = ord(character)
    return 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF  # noqa: PLR2004


def _joins(before: str, after: str) -> bool:
    """Arabic and the scripts of India and around: joiners are part of how words are written there."""
    return all(0x0600 <= ord(c) < 0x1100 or 0x1780 <= ord(c) < 0x18B0 for c in (before, after))  # noqa: PLR2004
