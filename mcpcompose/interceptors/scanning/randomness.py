"""Telling random text from words, and secrets from the fillers that stand in examples."""

from __future__ import annotations

import re
from collections import Counter
from math import log2
from operator import ne
from typing import Final

_LONGEST: Final = 512
_WEIGHTS: Final = [0.0, *(n * log2(n) for n in range(1, _LONGEST + 1))]
_FILLER: Final = re.compile(
    rb"example|xxxx|your|placeholder|change[_-]?me|redacted|dummy|insert|replace|\*\*\*\*|\.\.\.\.|<|\{\{|\$\{|%\(|\$\("
    rb"|process\.env|environ|(?-i:([^A])\1{11})",  # so many of one letter in a row are no accident, but zeros in base64
    re.IGNORECASE,
)
_HEAD: Final = 64
"""In longer texts a filler may be there by chance."""
_CHANGES: Final = 0.2
_BITS: Final = 3.4
_IDENTIFIER: Final = re.compile(rb"key|token|secret|public|private|password|config|type", re.IGNORECASE)
_SHOWN: Final = re.compile(rb"pk_(?:live|test)_|phc_|sb_publishable_|AC[0-9a-f]{32}\Z")
"""What vendors say may be shown to anybody: publishable keys, account numbers."""
_SAYS: Final = re.compile(rb"[a-z]+(?:[-_.][a-z]+)+\Z", re.IGNORECASE)
_ROW: Final = re.compile(rb"0?1234?5?6?7?8?9?0?|abcd?e?f?g?h?|qwerty?(?:uiop)?")
"""Rows of digits, of the alphabet and of a keyboard."""
_JUMBLE: Final = 0.4
_JUMBLED: Final = 10
_COMMON: Final = frozenset(
    b"password passwd pass secret token user username admin root test guest postgres mysql redis mongo pwd pw key "
    b"foo bar baz hunter2 letmein default none null true false string example changeme localhost port".split()
)
_DIGITS: Final = b"0123456789"
_SMALL: Final = b"abcdefghijklmnopqrstuvwxyz"
_LARGE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS: Final = _SMALL + _LARGE
_MARKS: Final = b"!@#$%^&*?+=~"
_KINDS: Final = bytes(
    1 if byte in _DIGITS else 2 if byte in _SMALL else 3 if byte in _LETTERS else 4 for byte in range(256)
)


def bits(text: bytes) -> float:
    """Shannon's entropy of the bytes of *text*, in bits for each; at most of its first 512."""
    part = text[:_LONGEST]
    if not part:
        return 0.0
    return log2(len(part)) - sum(map(_WEIGHTS.__getitem__, Counter(part).values())) / len(part)


def is_placeholder(text: bytes) -> bool:
    """Whether *text* says that it stands for a secret instead of being one."""
    return _FILLER.search(text, 0, _HEAD) is not None


def is_common_word(text: bytes) -> bool:
    """Whether *text* is what documentation writes in the place of a password."""
    lower = text.lower()
    return lower.strip(b"_-.!") in _COMMON or not text.strip(b"xX*.-_") or not _ROW.sub(b"", lower).strip(b"-_.!@#")


def says_what_it_is(text: bytes) -> bool:
    """Whether *text* is words that say what would stand there: `my-secret-token`."""
    return _SAYS.match(text) is not None and _IDENTIFIER.search(text) is not None


def looks_made(text: bytes) -> bool:
    """Whether *text* has letters of both sizes and digits, as tokens without a name beside them mostly have."""
    small, large, digits = (_count(text, of) for of in (_SMALL, _LARGE, _DIGITS))
    return bool(small and large and digits) and not _IDENTIFIER.search(text)


def looks_random(text: bytes) -> bool:
    """
    Whether *text* is what a generator made: letters and digits, changing kinds more often than names, versions, dates
    and paths do.
    """
    digits, letters = _count(text, _DIGITS), _count(text, _LETTERS)
    if digits < 2 or letters < 2 or bits(text) < _BITS or _IDENTIFIER.search(text) or _SHOWN.match(text):  # noqa: PLR2004
        return False
    marks = len(text) - digits - letters
    return bool(_changes(text) - 2 * marks >= _CHANGES * len(text))


def looks_like_password(text: bytes) -> bool:
    """Whether a person or a program made *text* up: letters with digits or marks, and not an identifier or a path."""
    if is_common_word(text) or b"://" in text or b"(" in text or text.startswith((b"/", b"./", b"@", b"--")):
        return False
    digits, marks = _count(text, _DIGITS), _count(text, _MARKS)
    if not _count(text, _LETTERS) or _SHOWN.match(text):
        return False
    return digits >= 2 or bool(marks and digits) or marks >= 2 or _is_jumble(text)  # noqa: PLR2004


def _is_jumble(text: bytes) -> bool:
    """Whether small and large letters and digits take turns in *text* as they do in no name."""
    return len(text) >= _JUMBLED and text.isalnum() and _changes(text) >= _JUMBLE * len(text)


def _changes(text: bytes) -> int:
    """How often *text* goes from one kind of letters to another: digits, small, large, marks."""
    kinds = text.translate(_KINDS)
    return sum(map(ne, kinds, kinds[1:]))


def _count(text: bytes, of: bytes) -> int:
    return len(text) - len(text.translate(None, of))
