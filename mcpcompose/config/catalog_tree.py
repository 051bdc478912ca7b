"""Between a catalog's values and the loader's tree: the same things with the same places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcpcompose.catalog.marked import MAX_VALUES, NotReadable, Value
from mcpcompose.config.document import parse
from mcpcompose.config.tree import Entry, Map, Node, Scalar, Seq
from mcpcompose.errors import Position

_NOWHERE = Path("catalog")


def parse_yaml(content: bytes) -> Value:
    """The YAML document *content*. Raises `NotReadable`."""
    node, problems = parse(_NOWHERE, content, MAX_VALUES)
    for problem in problems:
        at = problem.position or Position(_NOWHERE, 1, 1)
        raise NotReadable(problem.message.replace("the file", "the catalog"), at.line, at.column)
    if node is None:
        raise NotReadable("the catalog is empty")
    return _value(node, node.position)


def _value(node: Node, key: Position | None) -> Value:
    at = node.position
    made: Any
    match node:
        case Map(entries):
            made = {name: _value(entry.node, entry.key) for name, entry in entries.items()}
        case Seq(items):
            made = [_value(item, None) for item in items]
        case Scalar(value):
            made = value
    return Value(made, at.line, at.column, key.line if key else 0, key.column if key else 0)


class Places:
    """Where the places of one catalog's values are: *before* lines further down in *file*."""

    def __init__(self, file: Path, before: int) -> None:
        self._file, self._before = file, before

    def at(self, line: int, column: int) -> Position:
        """One place."""
        return Position(self._file, line + self._before, max(column, 1))

    def of(self, value: Value) -> Position:
        """The place of *value*."""
        return self.at(value.line, value.column)

    def of_key(self, value: Value) -> Position:
        """The place of its key."""
        return self.of(value.key)

    def entry(self, value: Value, node: Node) -> Entry:
        """*node* where *value* is."""
        return Entry(self.of_key(value), node)


def data(node: Node | None) -> Any:
    """*node* as plain data."""
    match node:
        case Map(entries):
            return {key: data(entry.node) for key, entry in entries.items()}
        case Seq(items):
            return [data(item) for item in items]
        case Scalar(value):
            return value
        case None:
            return None
