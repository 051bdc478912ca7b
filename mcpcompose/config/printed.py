"""How a loaded project is shown: printed with references, as it could be written to a file again."""

from __future__ import annotations

from typing import Any

from mcpcompose.config.shape import Shape, at
from mcpcompose.config.tree import Map, Node, Scalar, Seq, pairs, step
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.spec.project import Project


def printable(project: Project, tree: Node, *, defaults: bool = False) -> dict[str, Any]:
    """*project* as a mapping that could be written to a file again, with references as they were written."""
    left_out = {"directory", "lock", "provenance", "signers"}
    dumped = project.model_dump(mode="json", by_alias=True, exclude_unset=not defaults, exclude=left_out)
    shown = _with_references(dumped, tree, project)
    assert isinstance(shown, dict)  # noqa: S101  a project is a mapping
    shown["servers"] = {name: _compact(server, defaults=defaults) for name, server in shown["servers"].items()}
    if not defaults:
        shown = {key: value for key, value in shown.items() if key == "servers" or value not in ({}, [], None)}
    return shown


def _with_references(value: Any, node: Node | None, project: Project, path: TreePath = ()) -> Any:
    """*value* with the text of the file where the file has text: references, and durations as written."""
    if isinstance(node, Scalar) and "$" in node.text and node.value is not None:
        return node.text
    if isinstance(value, dict):
        node = pairs(node) if isinstance(node, Seq) else node
        return {k: _with_references(v, _below(node, k), project, (*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_references(v, _item(node, i, at(path)), project, (*path, i)) for i, v in enumerate(value)]
    if isinstance(node, Scalar) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return node.value
    return value


def _below(node: Node | None, key: str) -> Node | None:
    return step(node, key) if isinstance(node, Map) else None


def _item(node: Node | None, index: int, _shape: Shape) -> Node | None:
    """A list's item; a mapping that stands for a list of one is that item."""
    return (node if index == 0 else None) if isinstance(node, Map) else step(node, index)


def _compact(server: Any, *, defaults: bool) -> Any:
    """A server without keys that say nothing, and without where it came from: what that brought is all there."""
    if defaults or not isinstance(server, dict):
        return server
    return {key: value for key, value in server.items() if value is not None and key not in {"from", "config"}}
