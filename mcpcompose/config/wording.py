"""What is wrong with a value, in the words of the file: pydantic's findings turned into messages for people."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import Final

from pydantic_core import ErrorDetails

from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq
from mcpcompose.errors import Problem
from mcpcompose.spec.secret import PROVIDERS


def message(detail: ErrorDetails, path: Path, node: Node | None) -> tuple[str, str | None]:
    """What is wrong with the value *node* at *path*, and the next step where it is known."""
    kind = detail["type"]
    if kind == "string_type" and isinstance(node, Scalar) and node.value is not None:
        return f"{_name(path)} must be text, not `{_shown(node)}`", "put it in quotes"
    wording = _WORDINGS.get(kind, _as_pydantic_says)
    return wording(detail, path, node), None


def in_order(problems: Iterable[Problem], files: tuple[FilePath, ...]) -> tuple[Problem, ...]:
    """In the order of the files, then of their lines; each once."""
    rank = {file: index for index, file in enumerate(files)}

    def place(problem: Problem) -> tuple[int, int, int]:
        position = problem.position
        return (rank.get(position.file, len(rank)), position.line, position.column) if position else (-1, 0, 0)

    return tuple(sorted(dict.fromkeys(problems), key=place))


def last_key(path: Path) -> str:
    """The innermost key of *path*."""
    keys = [key for key in path if isinstance(key, str)]
    return keys[-1] if keys else "the file"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that *word* is a slip of, if there is one."""
    if len(word) > 64:  # noqa: PLR2004  nothing we know is that long
        return None
    by_plain = {_plain_word(one): one for one in known}
    found = difflib.get_close_matches(_plain_word(word), by_plain, n=1, cutoff=0.76)
    swapped = [one for one in by_plain if sorted(one) == sorted(_plain_word(word))]
    return by_plain[(found or swapped)[0]] if found or swapped else None


def _plain_word(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _name(path: Path) -> str:
    if not path:
        return "a compose file"
    last = path[-1]
    return f"item {last + 1} of `{last_key(path)}`" if isinstance(last, int) else f"`{last}`"


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
_LABEL: Final = "a word of lower-case letters, digits and `-`, at most 32"
_PATTERNS: Final = {
    ("prefix", "prefix"): "letters, digits and `-`, at most 24, or nothing",
    ("package", "package"): "`pypi:name==version` or `npm:name@version`",
    ("transport", "path"): "a path that begins with `/`",
    ("volumes", "target"): "an absolute path inside the container",
    ("secrets", "target"): "the name of a file below `/run/secrets`",
    ("secrets", "env"): "a variable's name",
    ("secrets", "keyring"): "letters, digits and `_.@:/-`, at most 200",
    ("secrets", "docker"): "a secret's name: letters, digits and `_.-`, at most 128",
    ("secrets", "podman"): "a secret's name: letters, digits and `_.-`, at most 128",
    ("interceptors", "name"): "letters, digits and `_.-`, at most 64, beginning with a letter or digit",
    ("interceptors", "python"): "`module:function`",
    ("interceptors", "limit"): "so many in so much time, such as `30/minute` or `5/10 second`",
    ("interceptors", "labels"): _LABEL,
    ("interceptors", "after"): _LABEL,
    ("interceptors", "to"): _LABEL,
    ("interceptors", "env"): "a variable's name",
    ("interceptors", "target"): "the name of a file",
    ("name", "name"): "lower-case letters, digits, `-` and `_`, at most 63, beginning with a letter or digit",
}
"""What the patterns of the models mean, by section and key."""


def _wrong_type(detail: ErrorDetails, path: Path, node: Node | None) -> str:
    wanted = _TYPES[detail["type"]]
    if detail["type"] == "tuple_type" and path[:1] == ("secrets",) and len(path) == 2:  # noqa: PLR2004  secrets, name
        wanted = "a mapping such as `{environment: NAME}`"
    return f"{_name(path)} must be {wanted}{_not(node)}"


def _wrong_pattern(_detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    section = path[2] if path[0] == "servers" and len(path) > 2 else path[0]  # noqa: PLR2004  servers, name, key
    return f"{_name(path)} must be {_PATTERNS.get((str(section), last_key(path)), 'written otherwise')}"


def _out_of_bounds(detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    words = {"greater_than_equal": "at least", "greater_than": "more than"}.get(detail["type"], "at most")
    bound = next(value for key, value in detail["ctx"].items() if key in ("ge", "gt", "le", "lt"))
    return f"{_name(path)} must be {words} {bound:g}"


def _validators_own(detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    """A validator's own words; those about a whole server name it."""
    text = str(detail["ctx"]["error"])
    if text.startswith("a server "):
        return f"server {_name(path)} {text.removeprefix('a server ')}"
    return f"{_name(path)}: {text}"


def _not_a_word(detail: ErrorDetails, path: Path, node: Node | None) -> str:
    words = detail["ctx"]["expected"].replace(" or ", ", ").replace("'", "`")
    if not isinstance(node, Scalar):
        return f"{_name(path)} must be one of {words}"
    close = closest(node.text, words.replace("`", "").split(", "))
    return f"{_name(path)} cannot be `{_shown(node)}`" + (f", did you mean `{close}`?" if close else f"; it is {words}")


def _no_source(_detail: ErrorDetails, path: Path, node: Node | None) -> str:
    for key in node.entries if isinstance(node, Map) else ():
        if close := closest(key, PROVIDERS):
            return f"unknown key `{key}`, did you mean `{close}`?"
    known = ", ".join(f"`{key}`" for key in PROVIDERS[:-1])
    return f"{_name(path)} must say where the value comes from: {known} or `{PROVIDERS[-1]}`"


def _empty(_detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    return f"{_name(path)} must not be empty"


def _too_many(detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    return f"{_name(path)} has too many items; {detail['ctx']['max_length']} at most"


def _too_long(detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    return f"{_name(path)} must have at most {detail['ctx']['max_length']} characters"


def _as_pydantic_says(detail: ErrorDetails, path: Path, _node: Node | None) -> str:
    return f"{_name(path)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


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


_WORDINGS: Final[dict[str, Callable[[ErrorDetails, Path, Node | None], str]]] = {
    **dict.fromkeys(_TYPES, _wrong_type),
    **dict.fromkeys(("greater_than_equal", "greater_than", "less_than_equal", "less_than"), _out_of_bounds),
    **dict.fromkeys(("string_too_short", "too_short"), _empty),
    "string_too_long": _too_long,
    **dict.fromkeys(("union_tag_not_found", "union_tag_invalid"), _no_source),
    "too_long": _too_many,
    "literal_error": _not_a_word,
    "value_error": _validators_own,
    "string_pattern_mismatch": _wrong_pattern,
}
