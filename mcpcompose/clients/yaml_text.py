"""
Where the nodes of a YAML text are, and what they mean by the core schema of YAML 1.2.

Whatever the text is, the outcome is a tree or `Unreadable`: one document, capped depth and alias expansion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from mcpcompose.clients.edit_types import EditFailed, Step, Unreadable, Way

MAX_DEPTH: Final = 100
MAX_NODES: Final = 200_000
"""Nodes after alias expansion."""
MAX_SLOW: Final = 1 << 18
"""Characters that the slow scanner is given at most: about two seconds."""

_OTHER_BREAKS: Final = re.compile("[\x85\u2028\u2029]|\r(?!\n)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_COLON: Final = re.compile(r"[ \t]*:")


@dataclass(slots=True)
class Node:
    """A node from *start* to *end*, anchor and tag included, comments behind it not."""

    kind: Literal["map", "list", "scalar", "alias"]
    start: int
    end: int
    column: int
    value: Any = None
    is_flow: bool = False
    is_shared: bool = False
    members: list[Entry] = field(default_factory=list["Entry"])
    size: int = 1


@dataclass(slots=True)
class Entry:
    """A member of a mapping with its *key*, or an item of a list; *after* is where its value may start."""

    key: str | None
    start: int
    after: int
    node: Node


class YamlText:
    """A text and its tree; *root* is None for a blank one. Raises `Unreadable`."""

    def __init__(self, text: str) -> None:
        self.text = text
        if found := _OTHER_BREAKS.search(text):
            self._stop("a line ends with a character that not every reader of YAML takes for a line end", found.start())
        self.root = self._read()

    def _read(self) -> Node | None:
        try:
            return _Reader(self.text, pure=False).document()
        except MarkedYAMLError as error:
            if "found unexpected ':'" not in str(error.problem) or len(self.text) > MAX_SLOW:
                self._explain(error)
        except YAMLError as error:
            raise Unreadable(f"this is not YAML: {str(error).splitlines()[0]}") from None
        try:  # libyaml refuses `{url: http://host}`, which is right since YAML 1.2 (section 7.3.3)
            return _Reader(self.text, pure=True).document()
        except MarkedYAMLError as error:
            self._explain(error)
        except YAMLError as error:
            raise Unreadable(f"this is not YAML: {str(error).splitlines()[0]}") from None

    def _explain(self, error: MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Unreadable(f"this is not YAML: {error.problem or error.context}", line, column) from None

    def _stop(self, message: str, position: int) -> NoReturn:
        _stop(self.text, message, position)

    def node(self, way: Way) -> Node:
        """The node at *way*. Raises `EditFailed` when it, or one above it, is shared with another place."""
        node = self.root
        assert node is not None  # noqa: S101  a way is only asked for in a text that has a root
        for step in way:
            self._own(node)
            node = self.entry(node, step).node
        self._own(node)
        return node

    def _own(self, node: Node) -> None:
        if node.is_shared or node.kind == "alias" or any(entry.key == "<<" for entry in node.members):
            raise EditFailed("the entry's place in the file is shared by an anchor, an alias or a `<<`")

    @staticmethod
    def entry(node: Node, step: Step) -> Entry:
        """The member or item *step* of *node*."""
        if isinstance(step, int):
            return node.members[step]
        return next(entry for entry in node.members if entry.key == step)


def _stop(text: str, message: str, position: int) -> NoReturn:
    before = text[:position]
    raise Unreadable(message, before.count("\n") + 1, position - before.rfind("\n"))


class _Reader:
    """Builds nodes from the parser's events."""

    def __init__(self, text: str, *, pure: bool) -> None:
        self._text = text
        self._events: Iterator[Any] = YAML(typ="safe", pure=pure).parse(text)
        self._anchors: dict[str, Node | None] = {}

    def document(self) -> Node | None:
        root: Node | None = None
        seen = False
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if seen:
                    _stop(self._text, "a second document starts here", event.start_mark.index)
                seen = True
                root = self._node(next(self._events), 0)
        if root and root.kind == "scalar" and root.start == root.end:
            return None
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            _stop(self._text, f"nested deeper than {MAX_DEPTH} levels", event.start_mark.index)
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, AliasEvent):
            return self._alias(event, start, end)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            node = Node("scalar", start, end, event.start_mark.column, self._scalar(event))
            if event.style in {"|", ">"}:
                node.end = self._block_end(start, end)
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor is not None:
            node.is_shared = True
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, start: int, end: int) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            _stop(self._text, f"the alias `*{event.anchor}` has no anchor above it", start)
        node = Node("alias", start, end, event.start_mark.column, target.value, size=target.size)
        self._spend(node)
        return node

    def _spend(self, node: Node) -> None:
        if node.size > MAX_NODES:
            _stop(self._text, f"more than {MAX_NODES} values once aliases are expanded", node.start)

    def _scalar(self, event: Any) -> Any:
        tag = str(event.tag or "").removeprefix("tag:yaml.org,2002:")
        if event.style or tag in {"str", "!"}:
            return event.value
        return resolve(event.value)

    def _block_end(self, start: int, end: int) -> int:
        """Behind the last character of a block scalar; with `+` its blank lines belong to it."""
        block = self._text[start:end]
        if "+" in block.split("\n", 1)[0].split("#", 1)[0]:
            return start + len(block.removesuffix("\n").removesuffix("\r"))
        return start + len(block.rstrip())

    def _sequence(self, event: Any, depth: int) -> Node:
        node = self._collection("list", event)
        values: list[Any] = []
        while not isinstance(following := next(self._events), SequenceEndEvent):
            item = self._node(following, depth + 1)
            dash = item.start if node.is_flow else self._dash(node, item.start)
            if item.kind == "scalar" and item.start == item.end:
                item.start = item.end = dash + 1
            node.members.append(Entry(None, dash, item.start if node.is_flow else dash + 1, item))
            values.append(item.value)
        return self._finished(node, values, following)

    def _dash(self, node: Node, before: int) -> int:
        """The `-` of the item that starts at or behind *before*'s line, in the column of the list."""
        after = node.members[-1].node.end if node.members else node.start
        found = re.compile(rf"^[^\n]{{{node.column}}}-(?=\s|$)", re.MULTILINE)
        start = self._text.rfind("\n", 0, after) + 1
        dashes = [match.end() - 1 for match in found.finditer(self._text, start, before + 1)]
        return next((dash for dash in dashes if dash >= after), before)

    def _mapping(self, event: Any, depth: int) -> Node:
        node = self._collection("map", event)
        value: dict[str, Any] = {}
        merged: list[Node] = []
        while not isinstance(following := next(self._events), MappingEndEvent):
            key = self._node(following, depth + 1)
            if key.kind != "scalar":
                _stop(self._text, "a key must be text", key.start)
            name = str(following.value)
            item = self._node(next(self._events), depth + 1)
            colon = _COLON.match(self._text, key.end)
            after = colon.end() if colon else -1
            if item.kind == "scalar" and item.start == item.end:
                item.start = item.end = after if colon else item.start
            node.members.append(Entry(name, key.start, after, item))
            if name == "<<" and not following.style:
                merged.append(item)
            elif name in value:
                _stop(self._text, f"the key `{name}` stands twice in one mapping", key.start)
            else:
                value[name] = item.value
        for item in merged:
            self._merge(value, item)
        return self._finished(node, value, following)

    def _merge(self, value: dict[str, Any], item: Node) -> None:
        sources = item.value if isinstance(item.value, list) else [item.value]
        for source in sources:
            if not isinstance(source, dict):
                _stop(self._text, "`<<` needs a mapping, or a list of mappings", item.start)
            for key, inherited in source.items():
                value.setdefault(key, inherited)

    def _collection(self, kind: Literal["map", "list"], event: Any) -> Node:
        mark = event.start_mark
        is_flow = self._text[event.end_mark.index - 1 : event.end_mark.index] in {"{", "["} and bool(event.flow_style)
        return Node(kind, mark.index, mark.index, mark.column, is_flow=is_flow)

    def _finished(self, node: Node, value: Any, end: Any) -> Node:
        node.value = value
        node.end = end.end_mark.index if node.is_flow else node.members[-1].node.end
        node.size += sum(entry.node.size for entry in node.members)
        self._spend(node)
        return node


def resolve(text: str) -> Any:
    """A plain scalar by the core schema; numbers of more than 100 digits stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
