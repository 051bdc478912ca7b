"""
Edit TOML by cutting and pasting its text.

A new entry is a table with its header, or an item of the array of tables; in a file that writes them inline, one
more inline. `tomllib` reads, so what it refuses is refused.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcpcompose.clients import edit_flow as flow
from mcpcompose.clients.edit_types import EditFailed, Step, Strict, Unreadable, Way
from mcpcompose.clients.toml_text import Statement, TomlText, index_in

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_AT: Final = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_NOTHING: Final = re.compile(r"(?:\s|#[^\n]*)*")


def parse(text: str, *, strict: Strict) -> Any:  # noqa: ARG001  there is but one TOML
    """The value of *text*, None when it is blank."""
    if _NOTHING.fullmatch(text):
        _loads(text)
        return None
    return _loads(text)


def _loads(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _AT.search(said)
        message = f"this is not TOML: {_AT.sub('', said)[:1].lower()}{_AT.sub('', said)[1:]}"
        if found and found[1]:
            raise Unreadable(message, int(found[1]), int(found[2])) from None
        raise Unreadable(message, text.count("\n") + 1, len(text) - text.rfind("\n")) from None
    except RecursionError:
        raise Unreadable("this is nested too deeply") from None


def create(text: str, value: Mapping[str, Any]) -> str:
    """The blank *text* with *value* behind its comments."""
    eol = flow.eol_of(text)
    before = text.rstrip() + eol * 2 if text.strip() else ""
    pairs = {key: item for key, item in value.items() if not _is_section(item)}
    sections = [(key, item) for key, item in value.items() if key not in pairs]
    parts = [_pairs(pairs, eol)] if pairs else []
    parts += [_section((key,), item, eol) for key, item in sections]
    return before + (eol * 2).join(parts) + eol


def _is_section(value: Any) -> bool:
    return isinstance(value, (Mapping, list)) and bool(value) and _holds_tables(value)


def _holds_tables(value: Any) -> bool:
    items = value.values() if isinstance(value, Mapping) else value
    return all(isinstance(item, Mapping) for item in items)


def insert(text: str, way: Way, key: str | None, value: Any) -> str:
    """Add a last member or item at *way*: inline where *way* is, else as a table or a pair."""
    document = TomlText(text)
    if found := document.find(way):
        place = document.collection(found[0])
        layout = flow.layout_in(place, "    ", lines=False, spaced=True)
        return flow.inserted(place, layout, lambda _: _inline_member(key, value))
    if key is None:
        return _with_section(document, way, _header(way, is_array=True) + _body(value, document), way)
    if not way and _is_section(value):
        return _with_section(document, way, _section((key,), value, flow.eol_of(text)), way)
    if len(way) == 1 and isinstance(value, Mapping):
        return _with_section(document, way, _header((*way, key)) + _body(value, document), way)
    return _with_pair(document, way, key, value)


def _with_section(document: TomlText, way: Way, section: str, container: Way) -> str:
    """The text with *section* behind the last statement of *container*, and what belongs to that."""
    text, statements = document.text, document.statements
    last = max(number for number, item in enumerate(statements) if item.way[: len(container)] == container)
    while last + 1 < len(statements) and statements[last + 1].value is not None:
        last += 1
    at = document.line_end(statements[last].end)
    at = (
        document.line_end(len(text.rstrip()))
        if last + 1 == len(statements) and not way
        else _behind_comments(document, at)
    )
    eol = flow.eol_of(text)
    return f"{text[:at]}{eol * 2}{section}{text[at:]}"


def _behind_comments(document: TomlText, at: int) -> int:
    """Behind the comments right below *at*, unless they are right above something else."""
    text, end = document.text, at
    while match := re.compile(r"\r?\n[ \t]*#[^\r\n]*").match(text, end):
        end = match.end()
    follows = re.compile(r"\r?\n[ \t]*[^\s]").match(text, end)
    return at if follows else end


def _with_pair(document: TomlText, way: Way, key: str, value: Any) -> str:
    text, eol = document.text, flow.eol_of(document.text)
    beside = [item for item in document.statements if _takes_pairs(item, way)]
    if beside:
        last = beside[-1]
        base = last.base if last.value is not None else last.way
        at = document.line_end(last.end)
        indent = flow.line_indent(text, last.start)
        pair = f"{_dotted((*way[len(base) :], key))} = {_inline(value)}"
        return f"{text[:at]}{eol}{indent}{pair}{text[at:]}"
    pair = f"{_key(key)} = {_inline(value)}"
    if way:
        return _with_section(document, way, f"{_header(way)}{eol}{pair}", way)
    return f"{pair}{eol}{eol}{text}"


def _takes_pairs(item: Statement, way: Way) -> bool:
    """Whether a pair of the table *way* can stand behind *item*."""
    if item.value is None:
        return item.way == way
    return len(item.base) <= len(way) < len(item.way) and item.way[: len(way)] == way


def replace(text: str, way: Way, value: Any) -> str:
    """Put *value* in the place of the value at *way*."""
    found = TomlText(text).find(way)
    if found:
        return text[: found[0]] + _inline(value) + text[found[1] :]
    key = way[-1]
    if not isinstance(key, str):
        raise EditFailed("a table of an array cannot be replaced by something else")
    return insert(delete(text, way), way[:-1], key, value)


def delete(text: str, way: Way) -> str:
    """Take the member or item at *way* away, wherever it is written."""
    document = TomlText(text)
    runs = list(_runs(document.statements, way))
    if runs:
        return flow.without(text, [_lines(document, first, last) for first, last in runs])
    found = document.find(way[:-1])
    if not found:
        raise EditFailed("the file is written in a way that cannot be edited safely")
    place = document.collection(found[0])
    return flow.deleted(place, index_in(place, way[-1]))


def _runs(statements: tuple[Statement, ...], way: Way) -> Iterator[tuple[Statement, Statement]]:
    """First and last of the statements next to each other that are at *way* or below."""
    first: Statement | None = None
    last: Statement | None = None
    for item in statements:
        if item.way[: len(way)] == way:
            first, last = first or item, item
        elif first and last:
            yield first, last
            first = None
    if first and last:
        yield first, last


def _lines(document: TomlText, first: Statement, last: Statement) -> tuple[int, int]:
    """The lines from *first* to *last*, with the line break and, above a header, the blank lines before them."""
    text = document.text
    start = first.start - len(flow.line_indent(text, first.start))
    end = document.line_end(last.end)
    above = text[:start]
    if above.strip() and first.value is None:
        return document.line_end(len(above.rstrip())), end
    if above.strip():
        return len(above.removesuffix("\n").removesuffix("\r")), end
    below = text[end:]
    return 0, end + len(below) - len(below.lstrip())


def source(text: str, way: Way) -> str | None:
    """The text of the value at *way*; None for tables that have headers."""
    found = TomlText(text).find(way)
    return text[found[0] : found[1]] if found else None


def restore(text: str, way: Way, source: str) -> str:
    """Put *source* in the place of the value at *way*."""
    found = TomlText(text).find(way)
    return text[: found[0]] + source + text[found[1] :] if found else text


def _section(way: tuple[str, ...], value: Any, eol: str) -> str:
    """The tables of *value*, a mapping of tables or a list of them."""
    items = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    parts: list[str] = []
    for key, item in items:
        header = _header(way, is_array=True) if key is None else _header((*way, key))
        parts.append(header + "".join(eol + line for line in _pair_lines(item)))
    return (eol * 2).join(parts)


def _header(way: Way, *, is_array: bool = False) -> str:
    name = _dotted(tuple(step for step in way if isinstance(step, str)))
    return f"[[{name}]]" if is_array else f"[{name}]"


def _body(value: Mapping[str, Any], document: TomlText) -> str:
    eol = flow.eol_of(document.text)
    return "".join(eol + line for line in _pair_lines(value))


def _pairs(value: Mapping[str, Any], eol: str) -> str:
    return eol.join(_pair_lines(value))


def _pair_lines(value: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_inline(item)}" for key, item in value.items()]


def _dotted(steps: tuple[Step, ...]) -> str:
    return ".".join(_key(str(step)) for step in steps)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _inline_member(key: str | None, value: Any) -> str:
    return _inline(value) if key is None else f"{_key(key)} = {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_inline(item) for item in value)}]"
    raise EditFailed(f"TOML has no way to write `{value}`")
