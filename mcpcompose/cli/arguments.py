"""
The global options stand before the command, as in Compose; said after it they mean the same.

Only where the command has no option of that name itself: `logs -f` follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

WITH_VALUE: Final = frozenset({"-f", "--file", "-p", "--project-name", "--env-file", "--profile", "--engine"})
WITHOUT_VALUE: Final = frozenset({"-q", "--quiet"})
_OWN: Final = {"audit": frozenset({"-f", "--profile"}), "logs": frozenset({"-f"}), "client": frozenset({"--profile"})}


def hoisted(arguments: Sequence[str]) -> list[str]:
    """*arguments* with the global options moved before the command; what follows `--` stays."""
    command = _command(arguments)
    if command is None:
        return list(arguments)
    before, after = list(arguments[:command]), list(arguments[command:])
    own = _OWN.get(after[0], frozenset())
    moved: list[str] = []
    kept: list[str] = []
    words = iter(after)
    for word in words:
        if word == "--":
            kept += [word, *words]
        elif word.partition("=")[0] in own:
            kept.append(word)
        elif word in WITHOUT_VALUE or (word.startswith("--") and "=" in word and word.partition("=")[0] in WITH_VALUE):
            moved.append(word)
        elif word in WITH_VALUE:
            moved += [word, *_next(words)]
        else:
            kept.append(word)
    return [*before, *moved, *kept]


def _next(words: Iterator[str]) -> list[str]:
    value = next(words, None)
    return [] if value is None else [value]


def _command(arguments: Sequence[str]) -> int | None:
    """Where the command stands."""
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word in WITH_VALUE:
            index += 2
        elif word.startswith("-"):
            index += 1
        else:
            return index
    return None
