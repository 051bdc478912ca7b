"""
Takes out of a text the markup that no page shows: comments, elements that are hidden, scripts and styles.

Pure, and linear in the length of the text. A gap is left where something was, so that nothing new is made of what is
around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_MARK: Final = re.compile(
    "(?P<comment><!--)"
    "|<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9:-]*+)"
    "(?P<rest>(?:[^<>\"']++|\"[^\"]{0,400}+\"|'[^']{0,400}+'){0,64}+)>"
    "|^[ ]{0,3}+(?P<definition>\\[[^\\]\\[\n]{1,200}+\\]:[ \t]*+(?:\\#|<>|about:blank)[ \t]*+[(\"'][^\n]*+)$",
    re.MULTILINE,
)
_COMMENT_END: Final = re.compile("--!?>")
_RAW: Final = {name: re.compile(f"</{name}\\b[^>]*+>", re.IGNORECASE) for name in ("script", "style")}
"""Elements in which nothing but their end is markup."""
_NEVER_SHOWN: Final = frozenset({"template", "noscript", "meta"})
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_VALUES: Final = re.compile("\"[^\"]*+\"|'[^']*+'")
_HIDDEN: Final = re.compile(r"(?:^|[\s/\"'])hidden(?=[\s=/]|$)", re.IGNORECASE)
_STYLES: Final = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0++(?:\.0*+)?(?![.\d])|font-size:0++(?:\.0*+)?(?![.\d])"
    r"|color:transparent|text-indent:-\d{3}|(?:left|top):-\d{4}"
)
_SPACE: Final = re.compile(r"\s+|/\*[^*]*+\*/")


def without_markup(text: str) -> tuple[str, int]:
    """*text* without it, and how many pieces were taken out."""
    parts: list[str] = []
    at = 0
    for mark in _Reader(text).hidden():
        if mark.start >= at:
            parts.append(text[at : mark.start])
            at = mark.end
    return (" ".join([*parts, text[at:]]), len(parts)) if parts else (text, 0)


@dataclass(slots=True)
class _Mark:
    """Something hidden, from *start* to *end*."""

    start: int
    end: int


class _Reader:
    """One way through *text*; elements end where their own end is, whatever stands in comments and scripts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: dict[str, list[_Mark | None]] = {}
        """By name, those that wait for their end; None for one that is shown."""
        self._without_end: set[str] = set()
        """What was looked for and is not in the rest of the text."""

    def hidden(self) -> list[_Mark]:
        """In the order in which they begin; some are inside of others."""
        found = list(self._marks())
        return [mark for mark in found if mark.end > mark.start]

    def _marks(self) -> Iterator[_Mark]:
        at = 0
        while (found := _MARK.search(self._text, at)) is not None:
            start, at = found.span()
            name = (found["name"] or "").lower()
            if found["definition"] is not None:
                yield _Mark(start, at)
            elif found["comment"] is not None or (name in _RAW and not found["end"]):
                end = self._comment_end(start) if found["comment"] is not None else self._raw_end(name, at)
                if end is not None:
                    yield _Mark(start, end)
                    at = end
            elif found["end"]:
                self._closed(name, at)
            else:
                mark = self._opened(name, found["rest"], start, at)
                if mark is not None:
                    yield mark

    def _opened(self, name: str, rest: str, start: int, end: int) -> _Mark | None:
        hides = _hides(rest)
        is_hidden = hides or name in _NEVER_SHOWN or (name == "input" and "hidden" in rest.lower())
        if name in _VOID:
            return _Mark(start, end) if is_hidden else None
        # hidden by an attribute and never closed hides all the rest; a `<template>` in a sentence hides nothing
        mark = _Mark(start, len(self._text) if hides else start) if is_hidden else None
        self._open.setdefault(name, []).append(mark)
        return mark

    def _closed(self, name: str, end: int) -> None:
        waiting = self._open.get(name)
        if waiting and (mark := waiting.pop()) is not None:
            mark.end = end

    def _raw_end(self, name: str, at: int) -> int | None:
        return self._found(name, _RAW[name], at)

    def _comment_end(self, start: int) -> int | None:
        """One that does not end hides all the rest when it begins a line."""
        text = self._text
        if text.startswith((">", "->"), start + 4):
            return start + 5 + text.startswith("->", start + 4)
        end = self._found("", _COMMENT_END, start + 4)
        if end is not None:
            return end
        line = text[max(0, start - 4) : start].rpartition("\n")
        begins_line = not line[2].strip() and (bool(line[1]) or start <= 3)  # noqa: PLR2004  as Markdown has it
        return len(text) if begins_line else None

    def _found(self, what: str, pattern: re.Pattern[str], at: int) -> int | None:
        if what in self._without_end:
            return None
        found = pattern.search(self._text, at)
        if found is None:
            self._without_end.add(what)
        return found.end() if found is not None else None


def _hides(rest: str) -> bool:
    if not rest:
        return False
    return bool(_HIDDEN.search(_VALUES.sub('""', rest)) or _STYLES.search(_SPACE.sub("", rest.lower())))
