"""
Read one YAML file into a tree with positions; the only importer of `ruamel`.

YAML 1.2 core schema, one document, at most 1 MiB, capped depth and alias expansion: whatever the
bytes are, the outcome is a tree or a list of problems, quickly.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from mcpcompose.config.tree import OVERRIDE, RESET, Entry, Map, Node, Scalar, Seq
from mcpcompose.errors import FileProblems, Position, Problem

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
"""Nodes after alias expansion."""
MAX_SLOW: Final = 1 << 18
"""Characters that the slow scanner is given at most: about two seconds."""

_STANDARD: Final = "tag:yaml.org,2002:"
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}")
_BASED: Final = re.compile(r"0(?:o[0-7]{1,100}|x[0-9a-fA-F]{1,100})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read(file: Path) -> bytes:
    """The bytes of *file*, 1 MiB at most. Raises `FileProblems`."""
    start = Position(file, 1, 1)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise FileProblems((Problem("this is not a regular file", start),))
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FileProblems((Problem("the file does not exist", start),)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileProblems((Problem(f"the file cannot be read: {reason}", start),)) from error
    if len(content) > MAX_BYTES:
        raise FileProblems((Problem("the file is larger than 1 MiB", start),))
    return content


def parse(file: Path, content: bytes, most: int = MAX_NODES) -> tuple[Node | None, tuple[Problem, ...]]:
    """The tree of *content*, None if it is empty or cannot be read, and all that is wrong with it; *most* values."""
    try:
        text = _text(file, content)
        return _compose(file, text, most)
    except FileProblems as error:
        return None, error.problems
    except MarkedYAMLError as error:
        return None, (_syntax_problem(file, text, error),)
    except YAMLError as error:
        return None, (Problem(f"this is not YAML: {error}".splitlines()[0], Position(file, 1, 1)),)


def _compose(file: Path, text: str, most: int) -> tuple[Node | None, tuple[Problem, ...]]:
    """
    The tree of *text*; read again by the slow scanner where the fast one is wrong.

    libyaml refuses a `:` inside a plain scalar between brackets, such as `{image: acme/server:1}`,
    which is right since YAML 1.2 (section 7.3.3).
    """
    try:
        composer = _Composer(file, text, most)
        return composer.document(), tuple(composer.problems)
    except MarkedYAMLError as error:
        if "found unexpected ':'" not in str(error.problem) or len(text) > MAX_SLOW:
            raise
    composer = _Composer(file, text, most, pure=True)
    return composer.document(), tuple(composer.problems)


def _text(file: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8", "replace")
        problem = Problem("the file is not UTF-8", _position(file, before), "save it with UTF-8 encoding")
        raise FileProblems((problem,)) from error
    if found := _UNPRINTABLE.search(text):
        message = f"the control character U+{ord(found[0]):04X} is not allowed in YAML"
        raise FileProblems((Problem(message, _position(file, text[: found.start()])),))
    return text


def _position(file: Path, before: str) -> Position:
    lines = re.split("\r\n|\r|\n", before)
    return Position(file, len(lines), len(lines[-1]) + 1)


_SYNTAX: Final = {
    "mapping values are not allowed": "a `:` is not allowed here; is a line indented wrongly, or a quote missing?",
    "did not find expected key": "a key was expected here; is the line indented like its neighbours?",
    "expected <block end>": "a key was expected here; is the line indented like its neighbours?",
    "could not find expected ':'": "a `:` is missing after the key",
    "could not find expected ':": "a `:` is missing after the key",
    "did not find expected '-' indicator": "a list item (`- …`) was expected here",
    "found unexpected end of stream": "a quote is never closed",
    "found unexpected ':'": "a `:` is not allowed here; put the value in quotes",
    "expected the node content": "a value was expected here",
    "did not find expected node content": "a value was expected here; is a bracket never closed?",
    "did not find expected ',' or": "a `,` or the closing bracket was expected here",
}


def _syntax_problem(file: Path, text: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    position = Position(file, line + 1, column + 1)
    lines = re.split("\r\n|\r|\n", text)
    at = lines[line] if line < len(lines) else ""
    if "\t" in at[: column + 1] and not at[: column + 1].strip():
        return Problem("a tab cannot be used for indentation", position, "indent with spaces")
    said = str(error.problem or error.context or "this is not YAML")
    if "cannot start any token" in said:
        return Problem(f"`{at[column : column + 1]}` cannot start a value", position, "put the value in quotes")
    for theirs, ours in _SYNTAX.items():
        if said.startswith(theirs):
            return Problem(ours, position)
    return Problem(f"this is not YAML: {said}", position)


class _Composer:
    """Builds nodes from the parser's events; *problems* are those that do not stop it."""

    def __init__(self, file: Path, text: str, most: int, *, pure: bool = False) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events: Iterator[Any] = YAML(typ="safe", pure=pure).parse(text)
        self._anchors: dict[str, Node | None] = {}
        self._most = self._budget = most

    def document(self) -> Node | None:
        """The one document of the stream."""
        root: Node | None = None
        seen = False
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if seen:
                    self._stop("a second document starts here; a compose file is one document", event)
                seen = True
                root = self._node(next(self._events), 0)
        return root

    def _stop(self, message: str, event: Any, hint: str | None = None) -> None:
        raise FileProblems((*self.problems, Problem(message, self._at(event), hint)))

    def _at(self, event: Any) -> Position:
        return Position(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _spend(self, amount: int, event: Any) -> None:
        self._budget -= amount
        if self._budget < 0:
            self._stop(f"the file has more than {self._most} values once its aliases are expanded", event)

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", event)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._spend(1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            node: Node = self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            self._stop(f"the alias `*{event.anchor}` has no anchor `&{event.anchor}` above it", event)
        node = self._anchors[event.anchor]
        if node is None:
            self._stop(f"the anchor `&{event.anchor}` contains itself", event)
            raise AssertionError
        self._spend(node.size, event)
        return replace(node, position=self._at(event))

    def _tag(self, event: Any, *allowed: str) -> str | None:
        tag = None if event.tag is None else str(event.tag)
        if tag in (None, "!", RESET, OVERRIDE):
            return None if tag == "!" else tag
        short = tag.removeprefix(_STANDARD) if tag else ""
        if short not in allowed:
            shown = tag.replace(_STANDARD, "!!") if tag else ""
            problem = Problem(f"unknown tag `{shown}`; `!reset` and `!override` are known", self._at(event))
            self.problems.append(problem)
        return short

    def _scalar(self, event: Any) -> Scalar:
        text = event.value
        tag = self._tag(event, "str", "int", "float", "bool", "null")
        is_plain = not event.style
        value = text if tag == "str" or not is_plain else resolve(text)
        return Scalar(value, text, self._at(event), tag if tag in (RESET, OVERRIDE) else None, is_plain)

    def _sequence(self, event: Any, depth: int) -> Seq:
        tag = self._tag(event, "seq")
        items: list[Node] = []
        while not isinstance(following := next(self._events), SequenceEndEvent):
            items.append(self._node(following, depth + 1))
        size = 1 + sum(item.size for item in items)
        kept = tag if tag in (RESET, OVERRIDE) else None
        assert isinstance(event, SequenceStartEvent)  # noqa: S101  the parser has no other kind of event here
        return Seq(tuple(items), self._at(event), kept, size)

    def _mapping(self, event: Any, depth: int) -> Map:
        tag = self._tag(event, "map")
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        size = 1
        while not isinstance(following := next(self._events), MappingEndEvent):
            key = self._node(following, depth + 1)
            node = self._node(next(self._events), depth + 1)
            size += 1 + node.size
            if isinstance(key, Scalar) and key.is_plain and key.text == "<<":
                merged.append(node)
            elif not isinstance(key, Scalar) or (key.value is None and key.is_plain):
                self.problems.append(Problem("a key must be text", key.position))
            elif earlier := entries.get(key.text):
                message = f"the key `{key.text}` stands here a second time; the first is on line {earlier.key.line}"
                self.problems.append(Problem(message, key.position))
            else:
                entries[key.text] = Entry(key.position, node)
        for node in merged:
            self._merge_key(entries, node)
        return Map(entries, self._at(event), tag if tag in (RESET, OVERRIDE) else None, size)

    def _merge_key(self, entries: dict[str, Entry], node: Node) -> None:
        """`<<: *anchor`: keys that are not there yet, earlier mappings first."""
        sources = node.items if isinstance(node, Seq) else (node,)
        for source in sources:
            if not isinstance(source, Map):
                self.problems.append(Problem("`<<` needs a mapping, or a list of mappings", source.position))
                continue
            for key, entry in source.entries.items():
                entries.setdefault(key, entry)


def resolve(text: str) -> str | float | bool | None:
    """A plain scalar by the YAML 1.2 core schema; numbers of more than 100 digits stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if not text or text[0] not in "+-.0123456789":
        return text
    if text.lstrip("+-").isdigit():
        return int(text) if _INTEGER.fullmatch(text) else text
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
