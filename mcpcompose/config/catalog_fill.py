"""
A catalog entry's server with the project's values in its texts.

What the project wrote stays as it wrote it (a `${VARIABLE}` stays one); what the catalog wrote can only ever mean
itself. A value that is a list makes several of the item it stands in; without a value, the item is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.catalog.marked import Value
from mcpcompose.catalog.template import Config, Part, SecretRef, TemplateError, literal, parse
from mcpcompose.config.catalog_tree import Places
from mcpcompose.config.interpolate import is_deferred
from mcpcompose.config.tree import Entry, Map, Node, Path, Scalar, Seq, step
from mcpcompose.errors import Position, Problem
from mcpcompose.spec.written import scalar_text

MAX_ITEMS: Final = 1000
"""Items that one item of a catalog's list may become."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A value for a text: *plain* as it is, *written* as a template that means it."""

    plain: Any
    written: str
    position: Position | None = None
    """Where the project wrote it; None for the catalog's own."""


_Values = list[_Found | None]


class Filling:
    """
    Fills the texts of one server. *config* is the project's, as tree; *defaults* the whole configuration as data, what
    the schema gives included; *secrets* the project's names of the entry's secrets. *problems* is added to.
    """

    def __init__(
        self, places: Places, config: Map | None, defaults: Any, secrets: Mapping[str, str], problems: list[Problem]
    ) -> None:
        self._places, self._config, self._defaults = places, config, defaults
        self._secrets, self._problems = secrets, problems

    def server(self, value: Value, path: Path) -> Map:
        """The mapping *value*, whose place in the project is *path*."""
        return Map(dict(self._entries(value, path)), self._places.of(value))

    def _entries(self, value: Value, path: Path) -> Iterator[tuple[str, Entry]]:
        for key, one in value.fields.items():
            node = self._node(one, (*path, key))
            if node is not None:
                yield key, self._places.entry(one, node)

    def _node(self, value: Value, path: Path) -> Node | None:
        match value.value:
            case dict():
                return self.server(value, path)
            case list(items):
                return Seq(tuple(node for item in items for node in self._items(item, path)), self._places.of(value))
            case str(text) if "$" in text:
                return self._text(value, text, path)
            case scalar:
                return Scalar(scalar, value.text or "", self._places.of(value), is_plain=True)

    def _items(self, value: Value, path: Path) -> Iterator[Node]:
        if isinstance(value.value, str) and "$" in value.value:
            yield from self._several(value, value.value, path)
        elif (node := self._node(value, (*path, 0))) is not None:
            yield node

    def _text(self, value: Value, text: str, path: Path) -> Node | None:
        parts = _parsed(text)
        if len(parts) == 1 and isinstance(parts[0], Config):
            found = self._values(parts[0])
            if found is not None and len(found) != 1:
                return Seq(
                    tuple(self._scalar([one], [None], value, path) for one in found if one), self._places.of(value)
                )
        filled = list(self._several(value, text, path, parts))
        if len(filled) > 1:
            name = next(part.name for part in parts if isinstance(part, Config))
            self._problems.append(Problem(f"`{name}` is a list, where one value is needed", self._place_of(parts)))
        return filled[0] if filled else None

    def _several(self, value: Value, text: str, path: Path, known: tuple[Part, ...] | None = None) -> Iterator[Scalar]:
        """One scalar, or one for each item of the lists that the text refers to; none without a value."""
        parts = _parsed(text) if known is None else known
        columns: list[_Values] = []
        length = 1
        for part in parts:
            found = self._found(part)
            if found is None:
                return
            if isinstance(part, Config) and self._is_list(part):
                length = max(length, len(found)) if found else 0
            columns.append(found)
        if length > MAX_ITEMS:
            self._problems.append(Problem(f"more than {MAX_ITEMS} items", self._place_of(parts)))
            length = 0
        for index in range(length):
            row = [
                column[index] if len(column) > 1 else (column[0] if column else None)
                for column in columns
                if len(column) <= 1 or index < len(column)
            ]
            if len(row) == len(columns) and all(row):
                yield self._scalar([one for one in row if one], list(parts), value, path)

    def _found(self, part: Part) -> _Values | None:
        """The values of one part; None when it has none."""
        match part:
            case str():
                return [_Found(part, literal(part))]
            case SecretRef(name):
                source = self._secrets.get(name)
                return [_Found(f"${{secret:{source}}}", f"${{secret:{source}}}")] if source is not None else None
            case Config():
                return self._values(part)

    def _is_list(self, part: Config) -> bool:
        return isinstance(_at(self._defaults, part.path), list)

    def _values(self, part: Config) -> _Values | None:
        """What the configuration says, or the default; None when neither does."""
        said = _at(self._defaults, part.path)
        if said is None:
            return None if part.default is None else [_Found(part.default, literal(part.default))]
        node = _node_at(self._config, part.path)
        if isinstance(said, list):
            return [self._one(one, step(node, index), part) for index, one in enumerate(said)]
        return [self._one(said, node, part)]

    def _one(self, said: Any, node: Node | None, part: Config) -> _Found | None:
        if isinstance(said, (dict, list)):
            at = node.position if node is not None else None
            self._problems.append(Problem(f"`{part.name}` must be text, a number or a flag here", at))
            return None
        text = str(scalar_text(said))
        if isinstance(node, Scalar):
            return _Found(said, node.text if "$" in node.text else text, node.position)
        return _Found(said, literal(text))

    def _scalar(self, found: list[_Found], parts: list[Part | None], value: Value, path: Path) -> Scalar:
        """One text; what begins with what the project wrote has its place there."""
        position = found[0].position or self._places.of(value)
        written = "".join(one.written for one in found)
        if is_deferred(path):
            return Scalar(written, written, position, is_plain=True)
        if len(found) == 1 and not isinstance(parts[0], str):
            only = found[0].plain
            return Scalar(only, written, position, is_plain=True)
        made = "".join(str(scalar_text(one.plain)) for one in found)
        self._check_path(made, position, found[0], path)
        return Scalar(made, written, position, is_plain=True)

    def _check_path(self, text: str, position: Position, first: _Found, path: Path) -> None:
        """A path of the catalog's own is relative to nothing."""
        if path[2:3] == ("volumes",) and first.position is None and text[:1] in {".", "~"}:
            hint = "name it in `config`, or write the volume in your own file"
            self._problems.append(Problem("a path of a catalog is relative to nothing", position, hint))

    def _place_of(self, parts: tuple[Part, ...]) -> Position | None:
        for part in parts:
            if isinstance(part, Config) and (node := _node_at(self._config, part.path)) is not None:
                return node.position
        return self._config.position if self._config is not None else None


def _parsed(text: str) -> tuple[Part, ...]:
    """The parts of *text*; a text that cannot be read was refused when the catalog was."""
    try:
        return parse(text)
    except TemplateError:
        return (text,)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    """The value at *path*, None where there is none; an index of what is no list is that itself."""
    for key in path:
        if isinstance(data, Mapping):
            data = data.get(key)
        elif key in {"0", "-1"} and not isinstance(data, list):
            continue
        elif isinstance(data, list) and key.lstrip("-").isdigit() and -len(data) <= int(key) < len(data):
            data = data[int(key)]
        else:
            return None
    return data


def _node_at(node: Node | None, path: tuple[str, ...]) -> Node | None:
    """The node at *path* of the project's own configuration."""
    for key in path:
        if isinstance(node, Seq) and key.lstrip("-").isdigit():
            index = int(key)
            node = node.items[index] if -len(node.items) <= index < len(node.items) else None
        elif not (isinstance(node, Scalar) and key in {"0", "-1"}):
            node = step(node, key)
    return node
