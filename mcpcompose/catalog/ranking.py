"""Which entries of catalogs somebody who searches most likely means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mcpcompose.catalog.entry import Summary

_WORD = re.compile(r"[a-z0-9]+")


def ranked(words: Sequence[str], entries: Iterable[tuple[str, Summary]]) -> list[tuple[str, Summary]]:
    """
    The entries that hold every one of *words*, the best first; *entries* are given with their catalog.

    What an entry is called counts more than what is said about it; what cannot be used comes after what can.
    """
    wanted = [word.casefold() for word in words if word.strip()]
    found = []
    for order, (catalog, entry) in enumerate(entries):
        scores = [_score(word, entry) for word in wanted]
        if all(scores):
            found.append((not entry.is_usable, -sum(scores), len(entry.name), order, catalog, entry))
    found.sort(key=lambda one: one[:4])
    return [(catalog, entry) for *_, catalog, entry in found]


def _score(word: str, entry: Summary) -> int:
    """How well one word fits: 0 when it is nowhere."""
    description = entry.description.casefold()
    said = 30 if word in _WORD.findall(description) else 15
    return (
        _called(word, entry.name.casefold(), entry.title.casefold())
        + (150 if word in (tag.casefold() for tag in entry.tags) else 0)
        + (50 if word in entry.publisher.casefold() else 0)
        + (40 if any(word in tool.casefold() for tool in entry.tools) else 0)
        + (said if word in description else 0)
    )


def _called(word: str, name: str, title: str) -> int:
    """How well a word fits what an entry is called."""
    last = name.rpartition("/")[2]
    for score, fits in (
        (1000, word in {name, last}),
        (900, word == title),
        (500, last.startswith(word)),
        (400, word in _WORD.findall(last) or word in _WORD.findall(title)),
        (200, word in last or word in title),
        (100, word in name),
    ):
        if fits:
            return score
    return 0
