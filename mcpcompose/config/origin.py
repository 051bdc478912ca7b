"""
Where each value of a loaded project came from: a place in a file, another server, a variable, an option, a default.

What a variable holds is never said, only who gave it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcpcompose.config.extend import Ground, positions
from mcpcompose.config.printed import printable
from mcpcompose.config.tree import Node, Scalar, Seq, dotted, pairs
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.config.wording import closest
from mcpcompose.errors import Position, UsageError
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import Server
from mcpcompose.spec.template import TemplateError, references, secret_names, variable_names

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
    Where a value came from: *kind* in a word or two, the place in a file unless it stands in none.

    *value* is as printed (references kept); *relaxed* the hardened default that this value replaces; *notes* say what
    led there: what includes the file, which server was extended, who gives a variable its value.
    """

    key: str
    value: Any
    position: Position | None
    relaxed: str | None = None
    kind: str = "file"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.position) if self.position else self.kind


@dataclass(frozen=True, slots=True)
class History:
    """
    How a project came to be: the *files* asked for, where others are *included*, what servers were made from.

    *brought* says which file gave a variable, *environ* who else has names, *chosen* what options or variables of ours
    decided, by key.
    """

    files: tuple[Path, ...] = ()
    included: Mapping[Path, Position] = field(default_factory=dict)
    grounds: Mapping[str, tuple[Ground, ...]] = field(default_factory=dict)
    brought: Mapping[str, Path] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    chosen: Mapping[str, str] = field(default_factory=dict)


_NO_HISTORY: Final = History()


def origin(project: Project, tree: Node, key: str, history: History = _NO_HISTORY) -> Origin:
    """Where the value at the dotted *key* came from. Raises `UsageError` for a key that does not exist."""
    path = _split(project, key)
    value: Any = printable(project, tree, defaults=True)
    for index, part in enumerate(path):
        value = _child(value, part, path[: index + 1], key)
    is_of_server = len(path) == 3 and path[0] == "servers"  # noqa: PLR2004  servers, name, key
    if value is None and is_of_server and path[2] == "network":
        value = _default_network(project, project.servers[str(path[1])])
    if (how := history.chosen.get(key)) is not None and not (key == "name" and _is_named_by_file(project, tree)):
        return Origin(key, value, None, kind=how)
    position, node = _place(tree, path)
    if position is None:
        return _without_place(project, tree, path, key, value)
    relaxed = HARDENED.get(str(path[2])) if is_of_server and _is_relaxed(project, path) else None
    kind, notes = _way(position, path, tree, history)
    return Origin(key, value, position, relaxed, kind, (*notes, *_variables(node, path, history)))


def _is_named_by_file(project: Project, tree: Node) -> bool:
    """By the file or its folder: whoever found the project says its name on, wherever it is from."""
    _, said = _place(tree, ("name",))
    folder = re.sub(r"[^a-z0-9_-]", "", project.directory.name.lower()).lstrip("_-")[:63]
    return project.name == (said.value if isinstance(said, Scalar) else folder)


def _place(tree: Node, path: TreePath) -> tuple[Position | None, Node | None]:
    """Where the value at *path* is said, and what says it: of a short form, the whole text."""
    node, position = tree, tree.position
    for part in path:
        if isinstance(node, Scalar):
            break
        node = pairs(node) if isinstance(node, Seq) and isinstance(part, str) else node
        if isinstance(node, Seq):
            if not isinstance(part, int) or part >= len(node.items):
                return None, None
            node = node.items[part]
            position = node.position
            continue
        if isinstance(part, int):
            if part:
                return None, None
            continue  # a mapping that stands for a list of one
        entry = node.entries.get(part)
        if entry is None:
            return None, None
        node, position = entry.node, entry.key
    return position, node


def _without_place(project: Project, tree: Node, path: TreePath, key: str, value: Any) -> Origin:
    """A value that no file says."""
    if len(path) == 4 and path[0] == "servers" and path[2] == "environment":  # noqa: PLR2004  servers, name, key, variable
        position, _ = _place(tree, (*path[:2], "env_file"))
        if position is not None:
            files = " or ".join(f"`{file}`" for file in project.servers[str(path[1])].env_file)
            return Origin(key, value, position, kind="env_file", notes=(f"its value is in {files}",))
    hardened = HARDENED.get(str(path[2])) if len(path) == 3 and path[0] == "servers" else None  # noqa: PLR2004  the same
    server = project.servers.get(str(path[1])) if hardened else None
    if server is not None and not server.is_remote and server.process is None and project.engine != "process":
        return Origin(key, value, None, kind="hardened default", notes=(f"{hardened}",))
    if path == ("name",):
        return Origin(key, value, None, kind=f"the folder `{project.directory.name}`")
    return Origin(key, value, None, kind="default")


def _way(position: Position, path: TreePath, tree: Node, history: History) -> tuple[str, tuple[str, ...]]:
    """How what stands at *position* came to be at *path*."""
    if len(path) > 1 and path[0] == "servers":
        for ground in history.grounds.get(str(path[1]), ()):
            if position in set(positions(ground.node)):
                return "extends", (f"server `{path[1]}` extends `{ground.server}`", *_inclusion(position, history))
        named = _place(tree, (*path[:2], "from"))[1]
        if isinstance(named, Scalar) and position.file not in {*history.files, *history.included}:
            return "catalog", (f"the catalog entry `{named.text}`",)
    notes = tuple(_inclusion(position, history))
    return ("include" if notes else "file"), notes


def _inclusion(position: Position, history: History) -> Iterator[str]:
    """Each file that includes the one before, outwards."""
    file, seen = position.file, set[Path]()
    while (at := history.included.get(file)) is not None and file not in {*history.files, *seen}:
        yield f"included at {at}"
        seen.add(file)
        file = at.file


def _variables(node: Node | None, path: TreePath, history: History) -> Iterator[str]:
    """Who gives the variables of a text their values."""
    if not isinstance(node, Scalar):
        return
    if node.value is None and len(path) == 4 and path[2] == "environment":  # noqa: PLR2004  servers, name, key, variable
        yield f"`{path[3]}` is {_giver(str(path[3]), history)}"
    try:
        variables, secrets = variable_names(node.text), secret_names(node.text)
    except TemplateError:
        return
    for name in sorted(variables):
        yield f"`{name}` is {_giver(name, history)}"
    if any(one.operator in {"-", ":-"} and not _is_set(one.name, history) for one in references(node.text)):
        yield "what the text says for that is taken"
    for name in sorted(secrets):
        yield f"the secret `{name}` stays a reference until the call that needs it"


def _is_set(name: str, history: History) -> bool:
    return name in history.environ or name in history.brought


def _giver(name: str, history: History) -> str:
    if name in history.environ:
        return "a variable of the environment"
    if (file := history.brought.get(name)) is not None:
        return f"from `{file}`"
    return "not set"


def _default_network(project: Project, server: Server) -> str | None:
    """What a container has without a `network`; what is no container has none of its own."""
    if server.process is not None or server.url is not None or project.engine == "process":
        return None
    return "isolated" if server.http else "none"


def _is_relaxed(project: Project, path: TreePath) -> bool:
    """The value is another than the model's default."""
    server = project.servers[str(path[1])]
    name = str(path[2])
    if name not in HARDENED:
        return False
    return bool(getattr(server, name) != type(server).model_fields[name].get_default())


def _split(project: Project, key: str) -> TreePath:
    """`a.b.0` as a path; names may hold dots, so the longest known name wins."""
    parts = key.split(".")
    if len(parts) > 1 and isinstance(section := getattr(project, parts[0], None), Mapping):
        for end in range(len(parts), 1, -1):
            if (name := ".".join(parts[1:end])) in section:
                parts[1:end] = [name]
                break
    first = 1 if parts[0] == "interceptors" else 2
    return tuple(int(part) if part.isdigit() and index >= first else part for index, part in enumerate(parts))


def _child(value: Any, part: str | int, path: TreePath, key: str) -> Any:
    if isinstance(value, dict) and str(part) in value:
        return value[str(part)]
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    known = list(value) if isinstance(value, dict) else []
    close = closest(str(part), known)
    hint = f"did you mean `{dotted((*path[:-1], close))}`?" if close else None
    raise UsageError(f"there is no `{key}` in this project", hint=hint)
