"""
Values of a catalog with their places, and the reader for catalogs that are JSON.

Catalogs are kept as these, since a message about an entry names its place in the catalog. YAML is read by the loader's
own reader, which is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]  # what json itself reads strings with
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1_000_000
"""Values that a catalog may hold."""

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,100})?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final = {"true": True, "false": False, "null": None}


class Value(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """A value with its place, counted from 1, and that of its key where it has one."""

    value: dict[str, Value] | list[Value] | str | int | float | bool | None
    line: int
    column: int
    key_line: int = 0
    key_column: int = 0

    def get(self, key: str) -> Value | None:
        """The value of *key* of a mapping; None where there is none, or it is empty."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if found is not None and found.value is not None else None

    @property
    def fields(self) -> Mapping[str, Value]:
        """The entries of a mapping; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Value]:
        """The items of a list; none of anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """The value as text; None where it is a mapping, a list or nothing."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, (str, int, float)):
            return str(self.value)
        return None

    @property
    def key(self) -> Value:
        """The same with the place of its key, for messages about the key."""
        return Value(self.value, self.key_line, self.key_column) if self.key_line else self

    def but(self, value: Any) -> Value:
        """Another value in the same place."""
        return Value(value, self.line, self.column, self.key_line, self.key_column)


def plain(value: Value) -> Any:
    """*value* without its places."""
    match value.value:
        case dict(fields):
            return {key: plain(one) for key, one in fields.items()}
        case list(items):
            return [plain(one) for one in items]
        case scalar:
            return scalar


def walk(value: Value, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Value]]:
    """All scalars below *value*."""
    match value.value:
        case dict(fields):
            for key, one in fields.items():
                yield from walk(one, (*path, key))
        case list(items):
            for index, one in enumerate(items):
                yield from walk(one, (*path, index))
        case _:
            yield path, value


class NotReadable(Exception):  # noqa: N818  the name of the thing, not of the event
    """What keeps a document from being read, and where."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


Parse = Callable[[bytes], Value]
"""Read a document. Raises `NotReadable`."""


def parse_json(data: bytes) -> Value:
    """The JSON document *data*, with places. Raises `NotReadable`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotReadable("the catalog is not UTF-8") from error
    return _Json(text).document()


class _Json:
    """One pass over a text; strict: no comments, no repeated keys, capped in depth and size."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MAX_VALUES
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._line = 0

    def document(self) -> Value:
        value, end = self._value(self._blank(0), 0)
        if (end := self._blank(end)) != len(self._text):
            raise self._wrong("nothing may follow the document", end)
        return value

    def _value(self, at: int, depth: int) -> tuple[Value, int]:
        self._left -= 1
        if depth > MAX_DEPTH:
            raise self._wrong(f"nested deeper than {MAX_DEPTH} levels", at)
        if self._left < 0:
            raise self._wrong(f"the catalog has more than {MAX_VALUES} values", at)
        line, column = self._place(at)
        match self._text[at : at + 1]:
            case "{":
                fields, end = self._object(at + 1, depth)
                return Value(fields, line, column), end
            case "[":
                items, end = self._array(at + 1, depth)
                return Value(items, line, column), end
            case '"':
                text, end = self._string(at)
                return Value(text, line, column), end
            case _:
                scalar, end = self._scalar(at)
                return Value(scalar, line, column), end

    def _object(self, at: int, depth: int) -> tuple[dict[str, Value], int]:
        fields: dict[str, Value] = {}
        at = self._blank(at)
        if self._text[at : at + 1] == "}":
            return fields, at + 1
        while True:
            line, column = self._place(at)
            if self._text[at : at + 1] != '"':
                raise self._wrong("a key in quotes was expected here", at)
            start = at
            key, at = self._string(at)
            if key in fields:
                raise self._wrong(f"the key `{key[:64]}` stands here a second time", start)
            at = self._blank(at)
            if self._text[at : at + 1] != ":":
                raise self._wrong("a `:` is missing after the key", at)
            value, at = self._value(self._blank(at + 1), depth + 1)
            fields[key] = Value(value.value, value.line, value.column, line, column)
            at = self._blank(at)
            if (following := self._text[at : at + 1]) == "}":
                return fields, at + 1
            if following != ",":
                raise self._wrong("a `,` or `}` was expected here", at)
            at = self._blank(at + 1)

    def _array(self, at: int, depth: int) -> tuple[list[Value], int]:
        items: list[Value] = []
        at = self._blank(at)
        if self._text[at : at + 1] == "]":
            return items, at + 1
        while True:
            value, at = self._value(at, depth + 1)
            items.append(value)
            at = self._blank(at)
            if (following := self._text[at : at + 1]) == "]":
                return items, at + 1
            if following != ",":
                raise self._wrong("a `,` or `]` was expected here", at)
            at = self._blank(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            text, end = scanstring(self._text, at + 1)
        except ValueError as error:
            raise self._wrong("this text is not JSON", at) from error
        return str(text), end

    def _scalar(self, at: int) -> tuple[int | float | bool | None, int]:
        for word, value in _WORDS.items():
            if self._text.startswith(word, at):
                return value, at + len(word)
        if (found := _NUMBER.match(self._text, at)) is None:
            raise self._wrong("a value was expected here", at)
        written = found[0]
        return (int(written) if written.lstrip("-").isdigit() else float(written)), found.end()

    def _blank(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _place(self, at: int) -> tuple[int, int]:
        """The line and column of *at*, which only grows."""
        while self._line + 1 < len(self._starts) and self._starts[self._line + 1] <= at:
            self._line += 1
        return self._line + 1, at - self._starts[self._line] + 1

    def _wrong(self, message: str, at: int) -> NotReadable:
        before = self._text[:at]
        return NotReadable(message, before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)
