"""Bind a tree to the models, and say what does not fit in the words of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcpcompose.config.interceptor_keys import DEFERRED as OF_INTERCEPTORS
from mcpcompose.config.interpolate import DEFERRED, unset_variables
from mcpcompose.config.shape import Shape, at, compose_file
from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq, find, key_position, real_path, value_position
from mcpcompose.config.wording import closest, last_key, message
from mcpcompose.errors import Problem
from mcpcompose.spec.project import ComposeFile
from mcpcompose.spec.secret import PROVIDERS

TEXTS: Final = DEFERRED | {"labels", "extra_hosts", "user", "tmpfs", "dns"}
"""Keys of a server whose numbers are text, exactly as written (`VERSION: 1.10`)."""
_DROPPED: Final = {"servers": 3, "secrets": 2, "profiles": 2, "clients": 2}
"""How much of a path with a problem is left out: a server's key, one secret; elsewhere the whole section."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What could be bound, and the problems of what could not; *incomplete* are the things with parts left out."""

    file: ComposeFile
    problems: tuple[Problem, ...]
    incomplete: frozenset[Path]


def bind(tree: Map, variables: Mapping[str, str], quiet: Iterable[Path] = ()) -> Bound:
    """
    Bind *tree*. Keys of servers, and other parts, that have problems are left out of the result.

    *quiet*: servers whose missing source is known already.
    """
    data = plain(tree, compose_file(), ())
    problems: list[Problem] = []
    incomplete = set(quiet)
    while True:
        try:
            return Bound(ComposeFile.model_validate(data), tuple(problems), frozenset(incomplete))
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        problems.extend(_problems(details, tree, variables, frozenset(incomplete)))
        parts = dict.fromkeys(_part(detail, tree) for detail in details)
        incomplete.update(part[:2] for part in parts)
        dropped = [_drop(data, part) for part in parts]
        if not any(dropped):
            _drop_around(data, parts)


def _part(detail: ErrorDetails, tree: Map) -> Path:
    """What is left out because of one complaint."""
    loc = detail["loc"]
    return real_path(tree, loc)[: _DROPPED.get(str(loc[0]), 1)] if loc else ()


def _drop_around(data: Any, parts: Iterable[Path]) -> None:
    """What is missing cannot be left out: what it is missing in goes."""
    for part in parts:
        around = part
        while not _drop(data, around):
            around = around[:-1]


def plain(node: Node, shape: Shape, path: Path) -> Any:
    """*node* as plain data: empty keys of models left out, texts as written."""
    match node:
        case Map(entries):
            pairs = ((key, entry.node) for key, entry in entries.items())
            if shape.keys is not None:
                pairs = (pair for pair in pairs if not (_is_empty(pair[1]) and pair[0] in (shape.keys or {})))
            return {key: plain(child, shape.child(key), (*path, key)) for key, child in pairs}
        case Seq(items):
            return [plain(item, shape.child(i), (*path, i)) for i, item in enumerate(items)]
        case Scalar(value, text):
            return text if isinstance(value, (int, float)) and _is_text(path) else value


def _is_text(path: Path) -> bool:
    if len(path) > 2 and path[0] == "interceptors":  # noqa: PLR2004  interceptors, index
        return path[2] in OF_INTERCEPTORS
    if len(path) <= 2 or path[0] != "servers":  # noqa: PLR2004  servers, name
        return False
    return path[2] in TEXTS or path[2:4] in {("build", "args"), ("healthcheck", "test")}


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _drop(data: Any, part: Path) -> bool:
    """Take the value at *part* out; False if there is none."""
    if not part:
        data.clear()
        return True
    for key in part[:-1]:
        if not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return isinstance(data, dict) and data.pop(part[-1], data) is not data


def _problems(
    details: list[ErrorDetails], tree: Map, variables: Mapping[str, str], quiet: frozenset[Path]
) -> Iterator[Problem]:
    for detail in _meant(details, tree):
        path = real_path(tree, detail["loc"])
        if path in quiet and detail["type"] == "value_error":
            continue
        yield _problem(detail, path, tree, variables)


def _meant(details: list[ErrorDetails], tree: Map) -> list[ErrorDetails]:
    """
    One complaint per place. Of alternatives, pydantic complains about each: where something deeper is wrong, the
    value was of that kind; where nothing is, naming the allowed words says most.
    """
    by_place: dict[Path, ErrorDetails] = {}
    for detail in details:
        loc = detail["loc"]
        place = real_path(tree, loc)
        if detail["type"] == "missing":
            place = (*place, loc[-1])
        present = by_place.get(place)
        if present is None or (detail["type"] == "literal_error" and isinstance(find(tree, place), Scalar)):
            by_place[place] = detail
    deeper = {place[:end] for place in by_place for end in range(len(place))}
    kinds = ("literal_error", "string_type", "model_type", "model_attributes_type", "too_short")
    return [d for place, d in by_place.items() if not (place in deeper and d["type"] in kinds)]


def _problem(detail: ErrorDetails, path: Path, tree: Map, variables: Mapping[str, str]) -> Problem:
    kind = detail["type"]
    node = find(tree, path)
    if kind == "extra_forbidden":
        return _unknown_key(path, tree)
    if kind == "missing":
        return Problem(f"`{detail['loc'][-1]}` is missing in `{last_key(path)}`", key_position(tree, path))
    hint = None
    if isinstance(node, Scalar) and (names := unset_variables(node.text, variables)):
        hint = ", ".join(f"`{one}`" for one in names) + (" is not set" if len(names) == 1 else " are not set")
    text, known_hint = message(detail, path, node)
    return Problem(text, value_position(tree, path), known_hint or hint)


def _unknown_key(path: Path, tree: Map) -> Problem:
    key = str(path[-1])
    position = key_position(tree, path)
    top = compose_file().keys or {}
    if path[0] == "secrets" and key in PROVIDERS:
        return Problem(f"`{key}` is a second source here; a source has one of these keys", position)
    if close := closest(key, at(path[:-1]).keys or {}):
        return Problem(f"unknown key `{key}`, did you mean `{close}`?", position)
    hint = None
    if len(path) > 1 and key in top:
        hint = f"`{key}` is a key of the top level"
    elif len(path) == 1:
        places = [name for name, shape in top.items() if key in _below(shape)]
        hint = f"`{key}` is a key of one of the `{places[0]}`" if places else None
    return Problem(f"unknown key `{key}`", position, hint)


def _below(shape: Shape) -> Iterable[str]:
    inner = shape.values or Shape()
    return inner.keys or {}
