"""How a loaded project is shown: printed with references, and each value with the place it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.config.shape import Shape, at
from mcpcompose.config.tree import Map, Node, Scalar, Seq, dotted, find, key_position, pairs, step
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.config.wording import closest
from mcpcompose.errors import Position, UsageError
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import Server

HARDENED: Final = {
    "read_only": "a read-only root",
    "init": "an init process",
    "cpus": "at most 1 CPU",
    "mem_limit": "at most 1 GiB of memory",
    "pids_limit": "at most 256 processes",
    "network": "no network (stdio), or an own network without a way out (http)",
    "privileged": "no privileges",
    "cap_add": "all capabilities dropped",
    "devices": "no devices of the host",
    "security_opt": "no new privileges",
    "pid": "an own process namespace",
    "ipc": "an own IPC namespace",
    "userns_mode": "the engine's user namespace",
    "unsafe": "nothing dangerous",
}
"""The hardened default behind each key of a server that can relax it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a value came from: a place in a file, or None for a default.

    *value* is as printed (references kept); *relaxed* the hardened default that this value replaces.
    """

    key: str
    value: Any
    position: Position | None
    relaxed: str | None = None

    def __str__(self) -> str:
        return str(self.position) if self.position else "default"


def printable(project: Project, tree: Node, *, defaults: bool = False) -> dict[str, Any]:
    """*project* as a mapping that could be written to a file again, with references as they were written."""
    left_out = {"directory", "provenance"}
    dumped = project.model_dump(mode="json", by_alias=True, exclude_unset=not defaults, exclude=left_out)
    shown = _with_references(dumped, tree, project)
    assert isinstance(shown, dict)  # noqa: S101  a project is a mapping
    shown["servers"] = {name: _compact(server, defaults=defaults) for name, server in shown["servers"].items()}
    if not defaults:
        shown = {key: value for key, value in shown.items() if key == "servers" or value not in ({}, None)}
    return shown


def origin(project: Project, tree: Node, key: str) -> Origin:
    """Where the value at the dotted *key* came from."""
    path = _split(project, key)
    value: Any = printable(project, tree, defaults=True)
    for index, part in enumerate(path):
        value = _child(value, part, path[: index + 1], key)
    if value is None and len(path) == 3 and (path[0], path[2]) == ("servers", "network"):  # noqa: PLR2004
        value = _default_network(project, project.servers[str(path[1])])
    position = key_position(tree, path) if find(tree, path) is not None else None
    relaxed = HARDENED.get(str(path[2])) if len(path) == 3 and path[0] == "servers" and position else None  # noqa: PLR2004
    return Origin(key, value, position, relaxed if relaxed and _is_relaxed(project, path) else None)


def _default_network(project: Project, server: Server) -> str | None:
    """What a container has without a `network`; what is no container has none of its own."""
    if server.process is not None or server.url is not None or project.engine == "process":
        return None
    return "isolated" if server.http else "none"


def _is_relaxed(project: Project, path: TreePath) -> bool:
    """The value is another than the model's default."""
    server = project.servers[str(path[1])]
    name = str(path[2])
    return bool(getattr(server, name) != type(server).model_fields[name].get_default())


def _split(project: Project, key: str) -> TreePath:
    """`a.b.0` as a path; names may hold dots, so the longest known name wins."""
    parts = key.split(".")
    if len(parts) > 1 and isinstance(section := getattr(project, parts[0], None), Mapping):
        for end in range(len(parts), 1, -1):
            if (name := ".".join(parts[1:end])) in section:
                parts[1:end] = [name]
                break
    return tuple(int(part) if part.isdigit() and index > 1 else part for index, part in enumerate(parts))


def _child(value: Any, part: str | int, path: TreePath, key: str) -> Any:
    if isinstance(value, dict) and str(part) in value:
        return value[str(part)]
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    known = list(value) if isinstance(value, dict) else []
    close = closest(str(part), known)
    hint = f"did you mean `{dotted((*path[:-1], close))}`?" if close else None
    raise UsageError(f"there is no `{key}` in this project", hint=hint)


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
    """A server without keys that say nothing."""
    if defaults or not isinstance(server, dict):
        return server
    return {key: value for key, value in server.items() if value is not None}
