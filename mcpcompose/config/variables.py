"""Variables for references: the process environment over `.env`, and dotenv files in Compose's syntax."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mcpcompose.config.document import read
from mcpcompose.errors import FileProblems, Position, Problem
from mcpcompose.spec.template import TemplateError, expand_variables, variable_names

MAX_TOTAL: Final = 1 << 22
"""Characters that all values of one dotenv file may have together."""
_RESERVED: Final = "MCP_COMPOSE_ENV_FILE"
_KEY: Final = re.compile(r"\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?P<sign>[=:])?[ \t]*")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


class Variables(Mapping[str, str]):
    """Names and values; the representation never shows a value."""

    def __init__(self, *layers: Mapping[str, str]) -> None:
        """*layers*: the first that has a name wins."""
        merged: dict[str, str] = {}
        for layer in reversed(layers):
            merged.update(layer)
        self._values = MappingProxyType(merged)

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Variables: {len(self)} names>"


def reserved_name(server: str, key: str) -> str:
    """The variable under which *key* of a server's `env_file` is kept; no two pairs share one."""
    plain = re.sub(r"[.-]", lambda found: "_d" if found[0] == "." else "_m", key.replace("_", "__"))
    return f"{_RESERVED}_{len(server)}_{server.replace('-', '_')}_{plain}"


def read_dotenv(
    file: Path, variables: Mapping[str, str], made_of: dict[str, tuple[str, ...]] | None = None
) -> dict[str, str]:
    """
    The variables of a dotenv file; values may refer to *variables* and to earlier lines.

    *made_of* is told which variables a value was made of.

    Raises `FileProblems` for a file that cannot be read and for every line that makes no sense.
    """
    try:
        text = read(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileProblems((Problem("the file is not UTF-8", Position(file, 1, 1)),)) from error
    values: dict[str, str] = {}
    known = ChainMap(dict(variables), values)
    problems: list[Problem] = []
    total = 0
    lines = iter(enumerate(re.split("\r\n|\r|\n", text), start=1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            pair = _pair(line, lines, known)
        except ValueError as error:
            problems.append(Problem(str(error), Position(file, number, 1)))
            continue
        if pair is None:
            continue
        total += len(pair[1])
        if total > MAX_TOTAL:
            problems.append(Problem("the values of this file are too long together", Position(file, number, 1)))
            break
        values[pair[0]] = pair[1]
        if made_of is not None:
            # What the others were made of is noted now: a later line may give them another value.
            made_of[pair[0]] = tuple(sorted({*pair[2], *(deep for name in pair[2] for deep in made_of.get(name, ()))}))
    if problems:
        raise FileProblems(tuple(problems))
    return values


def _pair(
    line: str, more: Iterator[tuple[int, str]], known: Mapping[str, str]
) -> tuple[str, str, tuple[str, ...]] | None:
    """The key, its value, and the variables that the value was made of."""
    match = _KEY.match(line)
    if match is None:
        raise ValueError("not a line of a dotenv file; write `KEY=value`")
    key, rest = match["key"], line[match.end() :]
    if not match["sign"]:
        if rest.strip():
            raise ValueError("not a line of a dotenv file; write `KEY=value`")
        return (key, known[key], (key,)) if key in known else None
    if rest[:1] in ("'", '"'):
        text = _quoted(rest, more)
        return (key, text, ()) if rest[0] == "'" else (key, *_expanded(_unescape(text), known))
    return key, *_expanded(re.sub(r"(^|\s+)#.*", "", rest).rstrip(), known)


def _quoted(rest: str, more: Iterator[tuple[int, str]]) -> str:
    """The text between the quotes, over several lines if need be."""
    quote, text = rest[0], rest[1:]
    pattern = re.compile(r"((?:\\.|[^\\\"])*)\"(.*)" if quote == '"' else r"([^']*)'(.*)", re.DOTALL)
    while (match := pattern.fullmatch(text)) is None:
        following = next(more, None)
        if following is None or len(text) > 1 << 16:
            raise ValueError(f"the quote {quote} is never closed")
        text += "\n" + following[1]
    if match[2].strip() and not match[2].lstrip().startswith("#"):
        raise ValueError("there is text after the closing quote")
    return match[1]


def _unescape(text: str) -> str:
    """Undo backslashes; an escaped dollar sign stays one."""
    return _ESCAPE.sub(lambda found: "$$" if found[1] == "$" else _ESCAPES.get(found[1], found[1]), text)


def _expanded(text: str, known: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """*text* with values in place of its references, and what it referred to."""
    if "$" not in text:
        return text, ()
    try:
        return expand_variables(text, known), tuple(sorted(variable_names(text)))
    except TemplateError as error:
        raise ValueError(str(error)) from error
