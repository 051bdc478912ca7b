"""
Insert into and delete from a collection in brackets: a JSON object, a YAML flow mapping, a TOML inline table.

What is inserted is laid out like its neighbours; what is deleted takes the separator and the white space with it
that inserting it brought, so that one undoes the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

BLANKS: Final = " \t"
_WHITE: Final = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a collection, from *start* (its key, if it has one) to *end*; its value starts at *value*."""

    key: str | None
    start: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class Collection:
    """
    A collection from its opening bracket at *start* to behind its closing one.

    *bare* is *text* with every character of a comment as a space; *lines_end* says behind which characters a comment
    ends that only the end of the line ends.
    """

    text: str
    bare: str
    start: int
    end: int
    members: tuple[Member, ...]
    lines_end: frozenset[int] = frozenset()

    def index(self, step: str | int) -> int:
        """Which member *step* names."""
        if isinstance(step, int):
            return step
        return next(number for number, member in enumerate(self.members) if member.key == step)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a value is written: on lines of its own (*indent* and deeper) or, when *indent* is None, on one line."""

    indent: str | None
    unit: str
    eol: str
    spaced: bool = True

    @property
    def lead(self) -> str:
        """What stands between a separator and a member."""
        if self.indent is None:
            return " " if self.spaced else ""
        return self.eol + self.indent

    def flat(self) -> Layout:
        """The same on one line."""
        return Layout(None, self.unit, self.eol, self.spaced)


Render = Callable[[Layout], str]


def eol_of(text: str) -> str:
    """The line end that *text* uses first."""
    found = re.search(r"\r?\n", text)
    return found[0] if found else "\n"


def line_indent(text: str, position: int) -> str:
    """The white space that the line of *position* starts with."""
    start = text.rfind("\n", 0, position) + 1
    end = start
    while end < position and text[end] in BLANKS:
        end += 1
    return text[start:end]


def stands_alone(text: str, position: int) -> bool:
    """Whether only white space stands before *position* on its line, and a line before it."""
    start = text.rfind("\n", 0, position) + 1
    return start > 0 and not text[start:position].strip(BLANKS)


def layout_in(place: Collection, unit: str, *, lines: bool, spaced: bool) -> Layout:
    """The layout of a member of *place*: like its last one, or on its own line when there is none and *lines*."""
    text = place.text
    around = line_indent(text, place.start)
    if place.members:
        last = place.members[-1].start
        lines = stands_alone(text, last)
        indent = line_indent(text, last)
        if lines and indent.startswith(around) and indent != around:
            unit = indent[len(around) :]
    else:
        indent = around + unit
    return Layout(indent if lines else None, unit, eol_of(text), spaced)


def inserted(place: Collection, layout: Layout, render: Render) -> str:
    """The text with another member at the end of *place*."""
    if not place.members:
        return _first(place, layout, render)
    text, end = place.text, place.members[-1].end
    comma = place.bare.find(",", end, place.end - 1)
    before, behind = (text[:end] + ",", "") if comma < 0 else (text[: comma + 1], ",")
    start = end if comma < 0 else comma + 1
    at = _behind_comments(place, start)
    layout = _broken(place, layout, at)
    return f"{before}{text[start:at]}{layout.lead}{render(layout)}{behind}{text[at:]}"


def _first(place: Collection, layout: Layout, render: Render) -> str:
    text, inside = place.text, place.start + 1
    at = inside + len(_commented(place, inside, place.end - 1))
    rest = text[at : place.end - 1]
    layout = _broken(place, layout, at)
    if layout.indent is None:
        return f"{text[:at]}{render(layout)}{text[at:]}"
    closing = "" if "\n" in rest else layout.eol + line_indent(text, place.start)
    if closing and not rest.strip(BLANKS):
        at = place.end - 1
        return f"{text[: at - len(rest)]}{layout.lead}{render(layout)}{closing}{text[at:]}"
    return f"{text[:at]}{layout.lead}{render(layout)}{closing}{text[at:]}"


def _broken(place: Collection, layout: Layout, at: int) -> Layout:
    """*layout*, on a new line behind a comment that needs one."""
    if layout.indent is not None or at not in place.lines_end:
        return layout
    return replace(layout, indent=line_indent(place.text, place.start) + layout.unit)


def _commented(place: Collection, start: int, end: int) -> str:
    """What stands between *start* and the end of the last comment before *end*."""
    text, bare = place.text, place.bare
    last = end
    while last > start and text[last - 1] == bare[last - 1]:
        last -= 1
    return text[start:last]


def _behind_comments(place: Collection, start: int) -> int:
    """Behind the comments on the line of *start*."""
    text, bare = place.text, place.bare
    at = position = start
    while position < place.end and bare[position] in BLANKS:
        if text[position] != bare[position]:
            at = position + 1
        position += 1
    return at


def deleted(place: Collection, index: int) -> str:
    """The text without the member *index* of *place*."""
    text, member = place.text, place.members[index]
    first = place.members[index - 1].end if index else place.start + 1
    last = place.members[index + 1].start if index + 1 < len(place.members) else place.end - 1
    start, end = member.start, member.end
    while start > first and text[start - 1] in _WHITE:
        start -= 1
    gone: list[tuple[int, int]] = []
    comma = place.bare.find(",", end, last)
    if comma >= 0 and not text[end:comma].strip(_WHITE):
        end = comma + 1
        if start == first:
            end += len(text[end:last]) - len(text[end:last].lstrip(BLANKS))
    elif comma >= 0:
        gone.append((comma, comma + 1))
    elif index:
        before = place.bare.find(",", first, member.start)
        gone.append((before, before + 1))
    if start in place.lines_end and not _line_ends(text, end):
        start = member.start
    return without(text, [*gone, (start, end)])


def _line_ends(text: str, position: int) -> bool:
    rest = text[position:].lstrip(BLANKS)
    return not rest or rest[0] in "\r\n"


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """*text* without *spans*, which do not overlap."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return text
