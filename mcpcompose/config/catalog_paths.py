"""What the loader has to know of catalogs when a project uses none: that it uses none."""

from __future__ import annotations

from collections.abc import Iterator

from mcpcompose.config.tree import Map, Node, Path


def uses_catalogs(tree: Map) -> bool:
    """Whether anything in *tree* is about catalogs."""
    servers = tree.get("servers")
    nodes = servers.entries.values() if isinstance(servers, Map) else ()
    keys = (entry.node.entries.keys() for entry in nodes if isinstance(entry.node, Map))
    return "catalogs" in tree.entries or any("from" in one or "config" in one for one in keys)


def replaced_paths(tree: Map) -> frozenset[Path]:
    """Where servers from a catalog say `!reset` or `!override`, before that is done."""
    servers = tree.get("servers")
    found: set[Path] = set()
    for name, entry in servers.entries.items() if isinstance(servers, Map) else ():
        if isinstance(entry.node, Map) and "from" in entry.node.entries:
            found |= set(_tagged(entry.node, ("servers", name)))
    return frozenset(found)


def _tagged(node: Node, path: Path) -> Iterator[Path]:
    if node.tag is not None:
        yield path
    elif isinstance(node, Map):
        for key, entry in node.entries.items():
            yield from _tagged(entry.node, (*path, key))
