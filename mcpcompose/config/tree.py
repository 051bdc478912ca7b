"""The parsed document: nodes that know their place, and how to find them again by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mcpcompose.errors import Position

Path = tuple[str | int, ...]
"""The way from the document's root to a node: keys and indexes."""

RESET = "!reset"
OVERRIDE = "!override"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: *value* by the YAML 1.2 core schema, *text* as it was written."""

    value: str | float | bool | None
    text: str
    position: Position
    tag: str | None = None
    is_plain: bool = False
    size: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a mapping, with the place of its key."""

    key: Position
    node: Node


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping, in the file's order."""

    entries: Mapping[str, Entry]
    position: Position
    tag: str | None = None
    size: int = 1

    def get(self, key: str) -> Node | None:
        """The value of *key*."""
        entry = self.entries.get(key)
        return entry.node if entry else None

    def with_entries(self, entries: Mapping[str, Entry]) -> Map:
        """The same place with other entries."""
        return Map(entries, self.position, self.tag)


@dataclass(frozen=True, slots=True)
class Seq:
    """A sequence."""

    items: tuple[Node, ...]
    position: Position
    tag: str | None = None
    size: int = field(default=1)


Node = Scalar | Map | Seq


def step(node: Node | None, key: str | int) -> Node | None:
    """The child of *node* at *key*, or None."""
    if isinstance(node, Map):
        return node.get(str(key))
    if isinstance(node, Seq) and isinstance(key, int) and 0 <= key < len(node.items):
        return node.items[key]
    return None


def pairs(node: Seq) -> Map:
    """Compose's list form of a mapping, `[KEY=value, KEY]`, as one; its texts stay what was written."""
    entries: dict[str, Entry] = {}
    for item in node.items:
        if isinstance(item, Scalar):
            _, has_value, text = item.text.partition("=")
            key = str(item.value).partition("=")[0]
            entries[key] = Entry(item.position, Scalar(text if has_value else None, text, item.position))
    return Map(entries, node.position)


def find(root: Node | None, path: Path) -> Node | None:
    """The node at *path*, or None."""
    node = root
    for key in path:
        node = step(node, key)
    return node


def real_path(root: Node | None, path: Path) -> Path:
    """*path* without the elements that the document does not have (pydantic's names for alternatives)."""
    node, kept = root, []
    for key in path:
        child = step(node, key)
        if child is not None:
            node = child
            kept.append(key)
    return tuple(kept)


def value_position(root: Node | None, path: Path) -> Position | None:
    """Where the value at *path* stands, or the nearest thing around it."""
    node = find(root, real_path(root, path))
    return node.position if node else None


def key_position(root: Node | None, path: Path) -> Position | None:
    """Where the last key of *path* stands; an item's own place in a sequence."""
    real = real_path(root, path)
    if not real:
        return root.position if root else None
    parent = find(root, real[:-1])
    if isinstance(parent, Map) and (entry := parent.entries.get(str(real[-1]))):
        return entry.key
    return value_position(root, real)


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """All scalars below *node*."""
    match node:
        case Scalar():
            yield path, node
        case Map(entries):
            for key, entry in entries.items():
                yield from scalars(entry.node, (*path, key))
        case Seq(items):
            for index, item in enumerate(items):
                yield from scalars(item, (*path, index))


def dotted(path: Path) -> str:
    """*path* for people: `servers.github.image`."""
    return ".".join(str(key) for key in path)
