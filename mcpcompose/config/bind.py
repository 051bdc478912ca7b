"""Bind a tree to the models, and say what does not fit in the words of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcpcompose.config.interpolate import DEFERRED, unset_variables
from mcpcompose.config.shape import Shape, at, compose_file
from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq, find, key_position, real_path, value_position
from mcpcompose.errors import Problem
from mcpcompose.spec.project import ComposeFile

TEXTS: Final = DEFERRED | {"labels", "extra_hosts", "user", "tmpfs", "dns"}
"""Keys of a server whose numbers are text, exactly as written (`VERSION: 1.10`)."""
_SECTIONS: Final = ("servers", "secrets", "profiles", "clients")


@dataclass(frozen=True, slots=True)
class Bound:
    """What could be bound, and the problems of what could not; *broken* are the parts left out."""

    file: ComposeFile
    problems: tuple[Problem, ...]
    broken: frozenset[Path]


def bind(tree: Map, variables: Mapping[str, str], quiet: Iterable[Path] = ()) -> Bound:
    """
    Bind *tree*. A server, secret, profile or section with problems is left out of the result.

    *quiet*: servers whose missing source is known already.
    """
    data = plain(tree, compose_file(), ())
    problems: list[Problem] = []
    broken: set[Path] = set()
    while True:
        try:
            return Bound(ComposeFile.model_validate(data), tuple(problems), frozenset(broken))
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        problems.extend(_problems(details, tree, variables, frozenset(quiet)))
        for detail in details:
            part = real_path(tree, detail["loc"])[: 2 if detail["loc"][:1] and detail["loc"][0] in _SECTIONS else 1]
            broken.add(part)
            _drop(data, part)


def plain(node: Node, shape: Shape, path: Path) -> Any:
    """*node* as plain data: empty keys of models left out, texts as written."""
    match node:
        case Map(entries):
            pairs = ((key, entry.node) for key, entry in entries.items())
            if shape.keys is not None:
                pairs = ((k, n) for k, n in pairs if not (isinstance(n, Scalar) and n.value is None and k in shape.keys))
            return {key: plain(child, shape.child(key), (*path, key)) for key, child in pairs}
        case Seq(items):
            return [plain(item, shape.child(i), (*path, i)) for i, item in enumerate(items)]
        case Scalar(value, text):
            is_number = isinstance(value, (int, float))
            return text if is_number and len(path) > 2 and path[0] == "servers" and path[2] in TEXTS else value  # noqa: PLR2004


def _drop(data: Any, part: Path) -> None:
    if not part:
        data.clear()
    elif len(part) == 1:
        data.pop(part[0], None)
    else:
        section = data.get(part[0])
        if isinstance(section, dict):
            section.pop(part[1], None)


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
    name = _name(detail["loc"], path)
    node = find(tree, path)
    if kind == "extra_forbidden":
        return _unknown_key(path, tree)
    if kind == "missing":
        return Problem(f"`{detail['loc'][-1]}` is missing in `{_last(path)}`", key_position(tree, path))
    hint = None
    if isinstance(node, Scalar) and (names := unset_variables(node.text, variables)):
        hint = ", ".join(f"`{one}`" for one in names) + (" is not set" if len(names) == 1 else " are not set")
    message, known_hint = _message(kind, name, node, detail)
    return Problem(message, value_position(tree, path), known_hint or hint)


def _unknown_key(path: Path, tree: Map) -> Problem:
    key = str(path[-1])
    keys = at(path[:-1]).keys or {}
    message = f"unknown key `{key}`"
    if close := closest(key, keys):
        message += f", did you mean `{close}`?"
        return Problem(message, key_position(tree, path))
    places = [name for name, shape in compose_file().keys.items() if name == key or key in _below(shape)] if compose_file().keys else []
    hint = None
    if len(path) > 1 and key in (compose_file().keys or {}):
        hint = f"`{key}` is a key of the top level"
    elif len(path) == 1 and places:
        hint = f"`{key}` is a key of one of the `{places[0]}`"
    return Problem(message, key_position(tree, path), hint)


def _below(shape: Shape) -> Iterable[str]:
    inner = shape.values or Shape()
    return inner.keys or {}


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that *word* is a slip of, if there is one."""
    if len(word) > 64:  # noqa: PLR2004  nothing we know is that long
        return None
    by_plain = {_plain_word(one): one for one in known}
    found = difflib.get_close_matches(_plain_word(word), by_plain, n=1, cutoff=0.75)
    return by_plain[found[0]] if found else None


def _plain_word(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _name(loc: tuple[int | str, ...], path: Path) -> str:
    if path and isinstance(path[-1], int):
        keys = [key for key in path if isinstance(key, str)]
        return f"item {path[-1] + 1} of `{keys[-1]}`" if keys else "an item"
    if not path:
        return "a compose file"
    # Items of a short list form are not in the tree by themselves.
    inner = [key for key in loc[loc.index(path[-1]) + 1 :] if isinstance(key, str)] if path[-1] in loc else []
    return f"`{path[-1]}`" if not inner or len(inner) > 1 else f"`{path[-1]}`"


def _last(path: Path) -> str:
    keys = [key for key in path if isinstance(key, str)]
    return keys[-1] if keys else "the file"


_TYPES: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_PATTERNS: Final = {
    "prefix": "letters, digits and `-`, at most 24, or nothing",
    "package": "`pypi:name==version` or `npm:name@version`",
    "target": "an absolute path",
    "path": "a path that begins with `/`",
    "name": "lower-case letters, digits, `-` and `_`, at most 63, beginning with a letter or digit",
}


def _message(kind: str, name: str, node: Node | None, detail: ErrorDetails) -> tuple[str, str | None]:
    context = detail.get("ctx", {})
    match kind:
        case "string_type" if isinstance(node, Scalar) and node.value is not None:
            return f"{name} must be text, not `{_shown(node)}`", "put it in quotes"
        case "literal_error":
            words = context["expected"].replace(" or ", ", ").replace("'", "`")
            known = words.replace("`", "").split(", ")
            close = closest(node.text, known) if isinstance(node, Scalar) else None
            also = f", did you mean `{close}`?" if close else ""
            if isinstance(node, Scalar):
                return f"{name} cannot be `{_shown(node)}`{also or f'; it is {words}' if not close else also}", None
            return f"{name} must be one of {words}", None
        case "value_error":
            return _sentence(name, str(context["error"])), None
        case "string_pattern_mismatch":
            wanted = _PATTERNS.get(name.strip("`"))
            return f"{name} must be {wanted}" if wanted else f"{name} is not written as it must be", None
        case "string_too_short" | "too_short":
            return f"{name} must not be empty", None
        case "too_long":
            return f"{name} has too many items; {context['max_length']} at most", None
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            words = {"greater_than_equal": "at least", "greater_than": "more than"}.get(kind, "at most")
            bound = next(value for key, value in context.items() if key in ("ge", "gt", "le", "lt"))
            return f"{name} must be {words} {bound:g}", None
        case "union_tag_not_found" | "union_tag_invalid":
            return f"{name} must say where the value comes from: `environment`, `file`, `dotenv` or `command`", None
        case _ if kind in _TYPES:
            return f"{name} must be {_TYPES[kind]}{_not(node)}", None
        case _:
            return f"{name}: {detail['msg'][:1].lower()}{detail['msg'][1:]}", None


def _sentence(name: str, text: str) -> str:
    """A validator's own words; those about a whole server name it."""
    return f"{name}: {text}"


def _not(node: Node | None) -> str:
    match node:
        case Scalar(value=None):
            return ", and is empty"
        case Scalar():
            return f", not `{_shown(node)}`"
        case Map():
            return ", not a mapping"
        case Seq():
            return ", not a list"
        case None:
            return ""


def _shown(node: Scalar) -> str:
    """The value as written, never what a variable holds; long ones shortened."""
    text = node.text.replace("\n", " ")
    return text if len(text) <= 40 else text[:39] + "…"  # noqa: PLR2004  what fits in a message
