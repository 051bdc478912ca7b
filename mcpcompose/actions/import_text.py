"""The text of imported servers: for a new file, or added to one that is there without touching what it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcpcompose.config.document import parse
from mcpcompose.config.tree import Map, Node, Scalar
from mcpcompose.errors import UsageError

_PLAIN: Final = re.compile(r"(?:-{1,2}(?=[A-Za-z])|\./|~/)?[A-Za-z_/][A-Za-z0-9_./@=-]*(?: [A-Za-z0-9_./@=-]+)*")
_INNER_COLON: Final = re.compile(r"(?<=[^\s:]):(?=[^\s:])")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_WIDTH: Final = 110
_ESCAPED: Final = re.compile("[^\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of a section: *value* with what is to be said of it, and beside its keys; *is_tall*: on many lines."""

    name: str
    value: Any
    remarks: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    beside: str = ""
    is_tall: bool = False


Sections = Mapping[str, Sequence[Block]]


def new_file(head: Sequence[str], sections: Sections, tail: Sequence[str]) -> str:
    """A whole file: comments, sections, comments."""
    parts = ["".join(f"# {_one_line(one)}\n" for one in head)]
    parts += [f"{key}:\n" + _blocks(blocks, "  ") for key, blocks in sections.items() if blocks]
    if not sections.get("servers"):
        parts.insert(1, "servers: {}\n")
    if tail:
        parts.append("".join(f"# {_one_line(one)}\n" for one in tail))
    return "\n".join(parts)


def added(file: Path, text: str, sections: Sections, tail: Sequence[str]) -> str:
    """*text* of *file* with *sections* added to its own. Raises `UsageError` where that cannot be done safely."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(end)
    for key, blocks in sections.items():
        if blocks:
            lines = _with_section(file, lines, key, blocks)
    remarks = [remark for one in tail if (remark := f"# {_one_line(one)}") not in lines]
    if remarks:
        while lines and not lines[-1]:
            lines.pop()
        lines += ["", *remarks, ""]
    result = end.join(lines)
    _unharmed(file, text, result, sections)
    return result


def tree_of(file: Path, text: str) -> Map:
    """The tree of *text*, an empty one for no text. Raises `UsageError` when it is no mapping."""
    node, problems = parse(file, text.encode())
    if problems:
        raise UsageError(
            f"`{file}` cannot be added to: {problems[0].message}", hint="`mcp-compose config` shows what is wrong"
        )
    if node is None or (isinstance(node, Scalar) and node.value is None):
        node, _ = parse(file, b"{}\n")
    if not isinstance(node, Map):
        raise UsageError(f"`{file}` cannot be added to: it is no mapping")
    return node


def plain(node: Node | None) -> Any:
    """*node* without its places."""
    match node:
        case Map(entries):
            return {key: plain(entry.node) for key, entry in entries.items()}
        case Scalar():
            return node.value
        case None:
            return None
        case _:
            return [plain(item) for item in node.items]


def _with_section(file: Path, lines: list[str], key: str, blocks: Sequence[Block]) -> list[str]:
    tree = tree_of(file, "\n".join(lines))
    entry = tree.entries.get(key)
    if entry is None:
        while lines and not lines[-1].strip():
            lines = lines[:-1]
        gap = [""] if lines else []
        return [*lines, *gap, f"{key}:", *_blocks(blocks, "  ").splitlines(), ""]
    node = entry.node
    start = entry.key.line - 1
    if isinstance(node, Map) and node.entries:
        first = next(iter(node.entries.values())).key
        if first.line - 1 == start or lines[first.line - 1][: first.column - 1].strip():
            raise _by_hand(file, key)
        indent = " " * (first.column - 1)
        at = _end(lines, tree, start)
        gap = [""] if any(block.is_tall for block in blocks) and lines[at - 1].strip() else []
        return [*lines[:at], *gap, *_blocks(blocks, indent).splitlines(), *lines[at:]]
    bare = re.fullmatch(r"(\S+?:)\s*(?:\{\s*\}|null|~)?\s*(#.*)?", lines[start])
    if bare is None or not (isinstance(node, Map) or (isinstance(node, Scalar) and node.value is None)):
        raise _by_hand(file, key)
    head = f"{bare[1]}  {bare[2]}" if bare[2] else bare[1]
    return [*lines[:start], head, *_blocks(blocks, "  ").splitlines(), *lines[start + 1 :]]


def _end(lines: list[str], tree: Map, start: int) -> int:
    """Behind the last line of the section that starts at *start*."""
    following = [entry.key.line - 1 for entry in tree.entries.values() if entry.key.line - 1 > start]
    at = min(following, default=len(lines))
    while at > start + 1 and (not lines[at - 1].strip() or not lines[at - 1].startswith((" ", "\t"))):
        at -= 1
    return at


def _by_hand(file: Path, key: str) -> UsageError:
    return UsageError(
        f"`{key}` in `{file}` is written in a way that cannot be added to",
        hint="write it over several lines, or import to another file with `--output`",
    )


def _unharmed(file: Path, before: str, after: str, sections: Sections) -> None:
    """Raise `UsageError` unless *after* is *before* and *sections*, and nothing else."""
    wanted = plain(tree_of(file, before))
    for key, blocks in sections.items():
        if blocks:
            wanted[key] = {**(wanted.get(key) or {}), **{block.name: block.value for block in blocks}}
    found = plain(tree_of(file, after))
    if found != wanted:
        raise UsageError(
            f"`{file}` is written in a way that cannot be added to", hint="import to another file with `--output`"
        )


def _blocks(blocks: Sequence[Block], indent: str) -> str:
    between = "\n" if any(block.is_tall for block in blocks) else ""
    return between.join(_block(block, indent) for block in blocks)


def _block(block: Block, indent: str) -> str:
    beside = f"  # {_one_line(block.beside)}" if block.beside else ""
    if not block.is_tall:
        return f"{indent}{text(block.name)}: {line(block.value)}{beside}\n"
    inner = indent + "  "
    lines = [f"{indent}{text(block.name)}:{beside}"]
    lines += [f"{inner}# {_one_line(remark)}" for remark in block.remarks]
    for key, value in block.value.items():
        note = block.notes.get(key)
        lines += _pair(key, value, inner, f"  # {_one_line(note)}" if note else "")
    return "\n".join(lines) + "\n"


def _pair(key: str, value: Any, indent: str, beside: str) -> list[str]:
    whole = f"{indent}{text(key)}: {line(value)}{beside}"
    if len(whole) <= _WIDTH or not isinstance(value, (Mapping, list)) or not value:
        return [whole]
    lines = [f"{indent}{text(key)}:{beside}"]
    if isinstance(value, Mapping):
        for name, inner in value.items():
            lines += _pair(str(name), inner, f"{indent}  ", "")
        return lines
    return [*lines, *(f"{indent}  - {line(item)}" for item in value)]


def line(value: Any) -> str:
    """*value* behind a key: on one line, and a text alone with colons as people write them."""
    if isinstance(value, str) and _INNER_COLON.search(value):
        bare = _INNER_COLON.sub("-", value)
        return value if text(bare) == bare else text(value)
    return flow(value)


def flow(value: Any) -> str:
    """*value* on one line, also within brackets, where older readers know no colon in a text."""
    match value:
        case str():
            return text(value)
        case Mapping():
            return "{" + ", ".join(f"{text(str(key))}: {flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(flow(item) for item in value) + "]"
        case _:
            return json.dumps(value)


def text(value: str) -> str:
    """A text, in quotes where it could be anything else to some reader."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return '"' + _ESCAPED.sub(_escape, value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")) + '"'


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004  half a character: no text at all
        return "\\ufffd"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  16 bits


def _one_line(remark: str) -> str:
    return re.sub(r"[^\x20-\x7e\xa0-\u024f\u2010-\u2027]+", " ", remark).strip()[:400]
