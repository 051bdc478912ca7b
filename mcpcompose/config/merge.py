"""
Merge compose files given with several `-f`, as the Compose specification does.

Mappings merge, scalars are replaced, sequences are appended, except where a table says otherwise.
`!reset` drops a value, `!override` replaces it whole. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mcpcompose.config.tree import OVERRIDE, RESET, Entry, Map, Node, Path, Scalar, Seq

_REPLACED: Final = frozenset({"command", "entrypoint", "process", "args"})
"""Keys of a server whose sequences are one thing: the later one wins whole."""
_MAPPINGS: Final = frozenset({"environment", "headers", "labels", "extra_hosts"})
"""Keys of a server that are mappings, also when written as `[KEY=value]`."""
_KEYED: Final = {"volumes": "target", "secrets": "source", "devices": None}
"""Keys of a server whose items replace each other when they have the same target."""


def merge(base: Node, over: Node, path: Path = ()) -> Node:
    """*over* on top of *base*."""
    if over.tag == OVERRIDE or (len(path) == 2 and path[0] in {"secrets", "catalogs"}):  # noqa: PLR2004  one source
        return over
    if _is_server_key(path, _MAPPINGS):
        base, over = _as_map(base), _as_map(over)
    if path[2:] == ("build",) and path[:1] == ("servers",):
        base, over = _long_build(base), _long_build(over)
    match base, over:
        case Map(), Map():
            return _merge_maps(base, over, path)
        case Seq(), Seq():
            return _merge_sequences(base, over, path)
        case _ if _is_list_key(path):
            return _merge_sequences(_as_seq(base), _as_seq(over), path)
        case _:
            return over


def clean(node: Node) -> Node | None:
    """*node* without what `!reset` drops; None when it is dropped itself."""
    if node.tag == RESET:
        return None
    match node:
        case Map(entries):
            kept = {k: Entry(e.key, child) for k, e in entries.items() if (child := clean(e.node)) is not None}
            return Map(kept, node.position)
        case Seq(items):
            return Seq(tuple(child for item in items if (child := clean(item)) is not None), node.position)
        case Scalar():
            return node


def _merge_maps(base: Map, over: Map, path: Path) -> Map:
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        if entry.node.tag == RESET:
            entries.pop(key, None)
        elif earlier := entries.get(key):
            entries[key] = Entry(entry.key, merge(earlier.node, entry.node, (*path, key)))
        else:
            entries[key] = entry
    return base.with_entries(entries)


def _merge_sequences(base: Seq, over: Seq, path: Path) -> Seq:
    if _is_server_key(path, _REPLACED):
        return over
    key = path[2] if len(path) > 2 and path[0] == "servers" else ""  # noqa: PLR2004  servers, name, key
    if key in _KEYED and len(path) == 3:  # noqa: PLR2004  the same
        identity = _identity(str(key))
        items = {identity(item): item for item in (*base.items, *over.items)}
        return Seq(tuple(items.values()), over.position)
    seen: dict[object, Node] = {}
    for item in (*base.items, *over.items):
        seen.setdefault(item.text if isinstance(item, Scalar) else id(item), item)
    return Seq(tuple(seen.values()), over.position)


def _identity(key: str) -> Callable[[Node], str]:
    """What makes two items of *key* the same: a mount's target, a secret's variable or file."""

    def of(item: Node) -> str:
        if isinstance(item, Scalar):
            if key == "secrets":
                return f"file {item.text}"
            parts = item.text.split(":")
            return parts[1] if len(parts) > 1 else item.text
        if isinstance(item, Map):
            if key == "secrets":
                return f"env {_text(item, 'env')}" if "env" in item.entries else f"file {_file_name(item)}"
            return _text(item, "target")
        return str(id(item))

    return of


def _file_name(item: Map) -> str:
    return _text(item, "target") or _text(item, "source")


def _text(item: Map, key: str) -> str:
    child = item.get(key)
    return child.text if isinstance(child, Scalar) else ""


def _is_server_key(path: Path, keys: frozenset[str]) -> bool:
    return len(path) == 3 and path[0] == "servers" and path[2] in keys  # noqa: PLR2004  servers, name, key


def _is_list_key(path: Path) -> bool:
    """Keys where one item may be written without its list."""
    return _is_server_key(path, frozenset({"env_file", "tmpfs", "dns", "depends_on"}))


def _as_seq(node: Node) -> Seq:
    return node if isinstance(node, Seq) else Seq((node,), node.position)


def _as_map(node: Node) -> Node:
    """`[KEY=value, KEY]` as a mapping; anything else as it is, for binding to complain about."""
    if not isinstance(node, Seq) or not all(isinstance(item, Scalar) for item in node.items):
        return node
    entries: dict[str, Entry] = {}
    for item in node.items:
        assert isinstance(item, Scalar)  # noqa: S101  checked above
        key, equals, text = item.text.partition("=")
        value = text if equals else None
        entries[key] = Entry(item.position, Scalar(value, text, item.position))
    return Map(entries, node.position)


def _long_build(node: Node) -> Node:
    if not isinstance(node, Scalar):
        return node
    return Map({"context": Entry(node.position, node)}, node.position)
