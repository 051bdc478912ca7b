"""
Where the statements of a TOML text are: what `tomllib` does not say.

The text must be one that `tomllib` accepts; this scanner only finds the ends of things.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mcpcompose.clients.edit_flow import Collection, Member
from mcpcompose.clients.edit_types import EditFailed, Step, Way

_TRIVIA: Final = re.compile(r"[ \t\r\n]*")
_COMMENT: Final = re.compile(r"#[^\r\n]*")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_BEFORE_VALUE: Final = re.compile(r"[ \t]*=[ \t]*")
_BLANKS: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:\\.|"{1,2}(?!")|[^"\\])*"{3,5}'
    r"|'''(?:'{1,2}(?!')|[^'])*'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[^,\]}#\r\n]*[^,\]}#\r\n \t]")


@dataclass(frozen=True, slots=True)
class Statement:
    """
    A header, or a pair when it has a *value*; from *start* to *end* in the text, comments not included.

    *way* leads there from the root, *base* to the table it is written in.
    """

    way: Way
    base: Way
    start: int
    end: int
    value: int | None


class TomlText:
    """A text with its statements in order; *bare* is the text with comments as spaces."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._comments: list[tuple[int, int]] = []
        self._counts: dict[Way, int] = {}
        self.statements = tuple(self._scan())
        self.bare, self.lines_end = self._without_comments()

    def _scan(self) -> Iterator[Statement]:
        text, base = self.text, tuple[Step, ...]()
        position = self._trivia(0)
        while position < len(text):
            start = position
            if text[start] == "[":
                is_array = text.startswith("[[", start)
                keys, position = self._keys(self._blanks(start + 1 + is_array))
                position = self._blanks(position) + 1 + is_array
                base = self._resolved(keys, is_array=is_array)
                yield Statement(base, base, start, position, None)
            else:
                keys, position = self._keys(start)
                value = self._value_start(position)
                position = self._value(value)
                yield Statement((*base, *keys), base, start, position, value)
            position = self._trivia(position)

    def _resolved(self, keys: tuple[str, ...], *, is_array: bool) -> Way:
        """The way of a header: tables of an array are the last one so far."""
        way: Way = ()
        for number, key in enumerate(keys):
            way = (*way, key)
            if is_array and number == len(keys) - 1:
                self._counts[way] = self._counts.get(way, 0) + 1
            if way in self._counts:
                way = (*way, self._counts[way] - 1)
        return way

    def _keys(self, position: int) -> tuple[tuple[str, ...], int]:
        keys: list[str] = []
        while found := _KEY.match(self.text, position):
            keys.append(_decoded(found[0]))
            position = found.end()
            if not (dot := _DOT.match(self.text, position)):
                break
            position = dot.end()
        return tuple(keys), position

    def _value_start(self, position: int) -> int:
        found = _BEFORE_VALUE.match(self.text, position)
        return found.end() if found else position

    def _value(self, position: int) -> int:
        """Behind the value at *position*."""
        if self.text[position] in "[{":
            return self._members(position)[1]
        found = _STRING.match(self.text, position) or _BARE.match(self.text, position)
        return found.end() if found else position + 1

    def collection(self, start: int) -> Collection:
        """The inline table or the array at *start*. Members with dotted keys have no key here."""
        members, end = self._members(start)
        return Collection(self.text, self.bare, start, end, members, self.lines_end)

    def _members(self, start: int) -> tuple[tuple[Member, ...], int]:
        text, members = self.text, []
        closing = "}" if text[start] == "{" else "]"
        position = self._trivia(start + 1)
        while text[position] != closing:
            begin, key = position, None
            if closing == "}":
                keys, position = self._keys(position)
                key = keys[0] if len(keys) == 1 else None
                position = self._value_start(position)
            value = position
            end = self._value(value)
            members.append(Member(key, begin, value, end))
            position = self._trivia(end)
            if text[position] == ",":
                position = self._trivia(position + 1)
        return tuple(members), position + 1

    def _trivia(self, position: int) -> int:
        while True:
            found = _TRIVIA.match(self.text, position)
            position = found.end() if found else position
            if not (comment := _COMMENT.match(self.text, position)):
                return position
            self._comments.append(comment.span())
            position = comment.end()

    def _blanks(self, position: int) -> int:
        found = _BLANKS.match(self.text, position)
        return found.end() if found else position

    def _without_comments(self) -> tuple[str, frozenset[int]]:
        text, ends = self.text, set[int]()
        for start, end in dict.fromkeys(self._comments):
            text = text[:start] + " " * (end - start) + text[end:]
            ends.add(start + len(self.text[start:end].rstrip()))
        return text, frozenset(ends)

    def line_end(self, position: int) -> int:
        """Where the line of *position* ends, its line break not included."""
        end = self.text.find("\n", position)
        end = len(self.text) if end < 0 else end
        return end - 1 if self.text[end - 1 : end] == "\r" else end

    def find(self, way: Way) -> tuple[int, int] | None:
        """From where to where the value at *way* is; None for a table with a header or made of dotted keys."""
        for statement in self.statements:
            if statement.value is not None and way[: len(statement.way)] == statement.way:
                return self._inside(statement.value, statement.end, way[len(statement.way) :])
        return None

    def _inside(self, start: int, end: int, way: Way) -> tuple[int, int]:
        for step in way:
            place = self.collection(start)
            member = place.members[index_in(place, step)]
            start, end = member.value, member.end
        return start, end


def index_in(place: Collection, step: Step) -> int:
    """Which member of *place* is *step*. Raises `EditFailed` when dotted keys hide it."""
    try:
        return place.index(step)
    except StopIteration:
        raise EditFailed("the file uses dotted keys in an inline table, which cannot be edited") from None


def _decoded(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    return str(tomllib.loads(f"k={key}")["k"]) if key[0] == '"' else key
