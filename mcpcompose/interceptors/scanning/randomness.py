"""Telling random text from words, and secrets from the fillers that stand in examples."""

from __future__ import annotations

from collections import Counter
from math import log2
from typing import Final

_LONGEST: Final = 512
_FILLERS: Final = (
    b"example", b"xxxx", b"your", b"placeholder", b"changeme", b"change_me", b"change-me", b"redacted", b"dummy",
    b"insert", b"replace", b"****", b"....", b"<", b"{{", b"${", b"%(", b"$(", b"process.env", b"environ",
)  # fmt: skip
_HEAD: Final = 64
"""In longer texts a filler may be there by chance."""
_RUN: Final = 12
"""So many of one letter in a row are no accident."""
_ZERO: Final = ord("A")
"""But zeros in base64 are."""
_CHANGES: Final = 0.2
_BITS: Final = 3.4
_IDENTIFIERS: Final = (b"key", b"token", b"secret", b"public", b"private", b"password", b"config", b"type")
_COMMON: Final = frozenset(
    b"password passwd pass secret token user username admin root test guest postgres mysql redis mongo pwd pw key "
    b"foo bar baz hunter2 letmein default none null true false string example changeme localhost port".split()
)


def bits(text: bytes) -> float:
    """Shannon's entropy of the bytes of *text*, in bits for each; at most of its first 512."""
    part = text[:_LONGEST]
    size = len(part)
    return -sum(n / size * log2(n / size) for n in Counter(part).values()) if size else 0.0


def is_placeholder(text: bytes) -> bool:
    """Whether *text* says that it stands for a secret instead of being one."""
    head = text[:_HEAD]
    if any(bytes((byte,)) * _RUN in head for byte in set(head) if byte != _ZERO):
        return True
    small = head.lower()
    return any(filler in small for filler in _FILLERS)


def is_common_word(text: bytes) -> bool:
    """Whether *text* is what documentation writes in the place of a password."""
    return text.lower().strip(b"_-.!") in _COMMON or not text.strip(b"xX*.-_")


def looks_random(text: bytes) -> bool:
    """
    Whether *text* is what a generator made: letters and digits, changing kinds more often than names, versions, dates
    and paths do.
    """
    digits = sum(48 <= byte <= 57 for byte in text)
    letters = sum(65 <= (byte & 0xDF) <= 90 for byte in text)
    if digits < 2 or letters < 2 or bits(text) < _BITS or any(word in text.lower() for word in _IDENTIFIERS):  # noqa: PLR2004
        return False
    kinds = [_kind(byte) for byte in text]
    changes = sum(one != other for one, other in zip(kinds, kinds[1:], strict=False))
    marks = len(text) - digits - letters
    return changes - 2 * marks >= _CHANGES * len(text)


def looks_like_password(text: bytes) -> bool:
    """Whether a person or a program made *text* up: letters with digits or marks, and not an identifier or a path."""
    if is_common_word(text) or b"://" in text or text.startswith((b"/", b"./", b"@", b"--")):
        return False
    digits = sum(48 <= byte <= 57 for byte in text)
    letters = sum(65 <= (byte & 0xDF) <= 90 for byte in text)
    marks = sum(byte in b"!@#$%^&*?+=~" for byte in text)
    return bool(letters) and (digits >= 2 or bool(marks and digits) or marks >= 2) and b"(" not in text  # noqa: PLR2004


def _kind(byte: int) -> int:
    if 48 <= byte <= 57:  # noqa: PLR2004
        return 1
    if 97 <= byte <= 122:  # noqa: PLR2004
        return 2
    return 3 if 65 <= byte <= 90 else 4  # noqa: PLR2004
