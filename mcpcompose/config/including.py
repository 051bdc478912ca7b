"""The items of `include`, short and long, as they are written; what is wrong with them is said here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mcpcompose.config.tree import Map, Node, Scalar, Seq
from mcpcompose.config.wording import closest
from mcpcompose.errors import Problem
from mcpcompose.spec.template import TemplateError

_KEYS: Final = ("path", "env_file", "project_directory")
_WORDS: Final = {
    "path": "the path of a file",
    "env_file": "the path of a file, or a list of such paths",
    "project_directory": "the path of a folder",
}
Named = tuple[str, Node]
"""A path as text, and where it stands."""


@dataclass(frozen=True, slots=True)
class Including:
    """One item: texts with variables filled in."""

    at: Node
    paths: tuple[Named, ...]
    env_files: tuple[Named, ...] = ()
    project_directory: str | None = None


def includings(tree: Map, expanded: Callable[[str], str], problems: list[Problem]) -> Iterator[Including]:
    """The items of *tree*'s `include` that can be followed; *problems* is told of the others."""
    node = tree.get("include")
    items: tuple[Node, ...] = node.items if isinstance(node, Seq) else ()
    if node is not None and not isinstance(node, Seq) and not (isinstance(node, Scalar) and node.value is None):
        problems.append(Problem("`include` must be a list of files", node.position))
    for item in items:
        before = len(problems)
        found = _long(item, expanded, problems) if isinstance(item, Map) else _short(item, expanded, problems)
        if found is not None and len(problems) == before:
            yield found


def _short(item: Node, expanded: Callable[[str], str], problems: list[Problem]) -> Including | None:
    text = _text(item, expanded, problems, "an item of `include` must be the path of a file")
    return None if text is None else Including(item, ((text, item),))


def _long(item: Map, expanded: Callable[[str], str], problems: list[Problem]) -> Including | None:
    found: dict[str, tuple[Named, ...]] = {}
    for key, entry in item.entries.items():
        if key.startswith("x-"):
            continue
        if key not in _KEYS:
            close = closest(key, _KEYS)
            said = f"unknown key `{key}`" + (f", did you mean `{close}`?" if close else "")
            problems.append(Problem(said, entry.key))
            continue
        nodes = entry.node.items if isinstance(entry.node, Seq) and key != "project_directory" else (entry.node,)
        what = f"`{key}` of an `include` must be {_WORDS[key]}"
        texts = [(_text(one, expanded, problems, what), one) for one in nodes if not _is_empty(one) or key == "path"]
        found[key] = tuple((text, one) for text, one in texts if text is not None)
        if key == "path" and not nodes:
            problems.append(Problem("`path` of an `include` must not be empty", entry.node.position))
    if "path" not in found:
        problems.append(Problem("`path` is missing in this item of `include`", item.position))
        return None
    directory = found.get("project_directory", ())
    return Including(item, found["path"], found.get("env_file", ()), directory[0][0] if directory else None)


def _text(node: Node, expanded: Callable[[str], str], problems: list[Problem], what: str) -> str | None:
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
        problems.append(Problem(what, node.position))
        return None
    try:
        text = expanded(node.value)
    except TemplateError as error:
        problems.append(Problem(str(error), node.position))
        return None
    if "\0" in text or not text:
        problems.append(Problem(what, node.position))
        return None
    return text


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
