"""
Text that is spelled otherwise so that only a model reads it: hexadecimal, digits as letters, shifted, backwards.

Pure and linear. Shifted and backward text is only undone where the definition says that it is.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

_SHORTEST: Final = 48
_LONGEST: Final = 16 << 10
_SHIFTED: Final = ("rot13", "rot-13", "rot 13", "caesar")
_BACKWARDS: Final = ("backwards", "reversed text", "written in reverse", "in reverse order")

_AS_LETTERS: Final = str.maketrans("01345789@$", "oieastbgas")
_AROUND: Final = ".,:;!?()[]\"'`"
_TELLING: Final = frozenset((
    "ignore", "important", "before", "after", "must", "always", "never", "don't", "tell", "user", "users", "read",
    "send", "file", "secret", "secretly", "password", "passwords", "token", "system", "instruction", "instructions",
    "previous", "include", "without", "this", "tool", "first", "copy",
))  # fmt: skip
"""Words of which nobody spells two with digits without reason."""


def spelled_out(text: str) -> Iterator[str]:
    """What *text* says to somebody who undoes its spelling."""
    yield from _from_hex(text)
    lower = text[:_LONGEST].casefold()
    read = lower.translate(_AS_LETTERS)
    both = zip(lower.split(), read.split(), strict=True)
    if sum(word != said and said.strip(_AROUND) in _TELLING for word, said in both) > 1:
        yield read
    if any(word in lower for word in _SHIFTED):
        yield codecs.decode(text[:_LONGEST], "rot13")
    if any(word in lower for word in _BACKWARDS):
        yield text[:_LONGEST][::-1]


def _from_hex(text: str) -> Iterator[str]:
    for word in text.split():
        core = word.strip("\"'`,.;:()[]<>").removeprefix("0x").replace("\\x", "")
        if len(core) < _SHORTEST or len(core) % 2 or not core.isascii() or not core.isalnum():
            continue
        try:
            found = bytes.fromhex(core).decode("utf-8")
        except ValueError:
            continue
        if " " in found and found.isprintable():
            yield found
