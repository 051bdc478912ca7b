"""
Edit YAML by cutting and pasting its text, at the marks of a parser.

A new entry is written in block style unless its place is inside brackets. What is inserted starts behind the last
line of what is before it, comment included, so taking those lines away again restores the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcpcompose.clients import edit_flow as flow
from mcpcompose.clients.edit_flow import Collection, Member
from mcpcompose.clients.edit_types import EditFailed, Strict, Way
from mcpcompose.clients.yaml_text import Entry, Node, YamlText

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./%?=&+~@-]|:(?=[A-Za-z0-9/]))*")
_WORD: Final = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_COMMENT: Final = re.compile(r"(?:(?<=[\s,{}\[\]])|^)#[^\n]*")


def parse(text: str, *, strict: Strict) -> Any:  # noqa: ARG001  there is but one YAML
    """The value of *text*, None when it is blank."""
    root = YamlText(text).root
    return None if root is None else root.value if root.value is not None else ""


def create(text: str, value: Mapping[str, Any]) -> str:
    """The blank *text* with *value* behind its comments."""
    eol = flow.eol_of(text)
    before = text if not text or text.endswith("\n") else text + eol
    lines = _block(value, 0, _Style(2, 2))
    return (before if text.strip() else "") + eol.join(lines) + eol


class _Style:
    """How deep a mapping (*step*) and a list (*offset*) stand below the key they belong to."""

    def __init__(self, step: int, offset: int) -> None:
        self.step = step
        self.offset = offset

    @classmethod
    def of(cls, document: YamlText) -> _Style:
        """By the first of each kind in *document*."""
        step = offset = None
        for above, node in _nested_blocks(document.root):
            depth = node.column - above.column
            if node.kind == "map" and step is None and depth > 0:
                step = depth
            if node.kind == "list" and offset is None and depth >= 0:
                offset = depth
        step = step or 2
        return cls(step, step if offset is None else offset)


def _nested_blocks(root: Node | None) -> Iterator[tuple[Node, Node]]:
    """Block collections right below the key of a block mapping, in order, with the mapping."""
    waiting = [root] if root else []
    while waiting:
        node = waiting.pop()
        for entry in node.members:
            if node.kind == "map" and entry.node.members and not entry.node.is_flow:
                yield node, entry.node
        waiting += [entry.node for entry in reversed(node.members)]


def insert(text: str, way: Way, key: str | None, value: Any) -> str:
    """Add a last member or item at *way*."""
    document = YamlText(text)
    node = document.node(way)
    if node.is_flow:
        above = document.node(way[:-1]) if way else None
        at_margin = node.start == text.rfind("\n", 0, node.start) + 1
        if not node.members and (not above.is_flow if above else at_margin):
            return _with_block(document, way, [value] if key is None else {key: value})
        place = _collection(document, node)
        layout = flow.layout_in(place, "  ", lines=False, spaced=True)
        return flow.inserted(place, layout, lambda _: _inline_member(key, value))
    lines = _block([value] if key is None else {key: value}, node.column, _Style.of(document))
    at = _behind_comments(text, _line_end(text, node.end), node.column)
    eol = flow.eol_of(text)
    return text[:at] + "".join(eol + line for line in lines) + text[at:]


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    return end - 1 if end > position and text[end - 1] == "\r" else end


def _behind_comments(text: str, at: int, column: int) -> int:
    """Behind the comment lines right below *at* that stand deeper than *column*: they belong to what is above."""
    comment = re.compile(rf"\r?\n {{{column + 1},}}#[^\r\n]*")
    while found := comment.match(text, at):
        at = found.end()
    return at


def _with_block(document: YamlText, way: Way, value: Any) -> str:
    """The text with the block collection *value* in the place of an empty or null value."""
    text, eol, style = document.text, flow.eol_of(document.text), _Style.of(document)
    if not way:
        root = document.node(())
        return text[: root.start] + eol.join(_block(value, 0, style)) + text[root.end :]
    above = document.node(way[:-1])
    entry = _plain_entry(document, above, way)
    depth = above.column + (style.step if isinstance(value, Mapping) else style.offset)
    lines = "".join(eol + line for line in _block(value, depth, style))
    at = _line_end(text, entry.node.end)
    return text[: entry.after] + text[entry.node.end : at] + lines + text[at:]


def _plain_entry(document: YamlText, above: Node, way: Way) -> Entry:
    entry = document.entry(above, way[-1])
    if entry.after < 0:
        raise EditFailed("the file uses a `?` key, which cannot be edited")
    return entry


def replace(text: str, way: Way, value: Any) -> str:
    """Put *value* in the place of the value at *way*."""
    document = YamlText(text)
    above = document.node(way[:-1])
    entry = _plain_entry(document, above, way)
    if above.is_flow or above.kind == "list":
        return text[: entry.node.start] + _inline(value) + text[entry.node.end :]
    if value and isinstance(value, (Mapping, list, tuple)):
        return _with_block(document, way, value)
    return f"{text[: entry.after]} {_scalar(value)}{text[entry.node.end :]}"


def delete(text: str, way: Way) -> str:
    """Take the member or item at *way* away; a mapping or list that is left empty becomes `{}` or `[]`."""
    document = YamlText(text)
    if not way:
        root = document.node(())
        return flow.without(text, [_lines(text, root.start, root.end)])
    above = document.node(way[:-1])
    if above.is_flow:
        place = _collection(document, above)
        return flow.deleted(place, place.index(way[-1]))
    entry = document.entry(above, way[-1])
    if len(above.members) == 1:
        return _emptied(document, way[:-1], above)
    if text[text.rfind("\n", 0, entry.start) + 1 : entry.start].strip():
        following = above.members[above.members.index(entry) + 1]
        return text[: entry.start] + text[following.start :]
    return flow.without(text, [_lines(text, entry.start, entry.node.end)])


def _lines(text: str, start: int, end: int) -> tuple[int, int]:
    """The lines from *start* to *end*, with the line break before them; with that behind them at the top."""
    end = _line_end(text, end)
    start = text.rfind("\n", 0, start)
    if start < 0:
        return 0, end + len(re.compile(r"(?:\r?\n)?").match(text, end)[0])  # type: ignore[index]  # it always matches
    return start - (text[start - 1] == "\r"), end


def _emptied(document: YamlText, way: Way, node: Node) -> str:
    text, nothing = document.text, "{}" if node.kind == "map" else "[]"
    if not way:
        return text[: node.start] + nothing + text[_line_end(text, node.end) :]
    entry = _plain_entry(document, document.node(way[:-1]), way)
    start, end = _lines(text, node.start, node.end)
    if start < entry.after:
        raise EditFailed("the file is written in a way that cannot be edited safely")
    return f"{text[: entry.after]} {nothing}{text[entry.after : start]}{text[end:]}"


def source(text: str, way: Way) -> str | None:
    """The text of the value at *way*, from right behind its colon."""
    document = YamlText(text)
    start, end = _span(document, way)
    return text[start:end]


def restore(text: str, way: Way, source: str) -> str:
    """Put *source* in the place of the value at *way*."""
    start, end = _span(YamlText(text), way)
    return text[:start] + source + text[end:]


def _span(document: YamlText, way: Way) -> tuple[int, int]:
    node = document.node(way)
    if not way:
        return node.start, node.end
    return _plain_entry(document, document.node(way[:-1]), way).after, node.end


def _collection(document: YamlText, node: Node) -> Collection:
    """The flow collection *node*, with comments as spaces in *bare*."""
    text, bare, ends = document.text, document.text, set[int]()
    starts = [node.start + 1, *(entry.node.end for entry in node.members)]
    for start, end in zip(starts, [*(entry.start for entry in node.members), node.end], strict=True):
        for comment in _COMMENT.finditer(text, start, end):
            ends.add(comment.start() + len(comment[0].rstrip()))
            bare = bare[: comment.start()] + " " * len(comment[0]) + bare[comment.end() :]
    members = tuple(Member(entry.key, entry.start, entry.node.start, entry.node.end) for entry in node.members)
    return Collection(text, bare, node.start, node.end, members, frozenset(ends))


def _block(value: Any, column: int, style: _Style) -> list[str]:
    """The lines of a mapping or list that is not empty, from *column* on."""
    space, lines = " " * column, list[str]()
    if isinstance(value, Mapping):
        for key, item in value.items():
            if item and isinstance(item, (Mapping, list, tuple)):
                depth = style.step if isinstance(item, Mapping) else style.offset
                lines += [f"{space}{_string(key)}:", *_block(item, column + depth, style)]
            else:
                lines.append(f"{space}{_string(key)}: {_scalar(item)}")
        return lines
    for item in value:
        if item and isinstance(item, Mapping):
            first, *rest = _block(item, column + 2, style)
            lines += [f"{space}- {first.lstrip(' ')}", *rest]
        else:
            lines.append(f"{space}- {_inline(item)}")
    return lines


def _scalar(value: Any) -> str:
    return _string(value) if isinstance(value, str) else _inline(value)


def _string(text: str) -> str:
    """*text* as it is where no reader of any YAML takes it for something else, else in quotes."""
    return text if _PLAIN.fullmatch(text) and not _WORD.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _inline_member(key: str | None, value: Any) -> str:
    return _inline(value) if key is None else f"{_quoted(key)}: {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)
