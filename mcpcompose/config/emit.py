"""
Plain data as YAML for people, in block style.

Pure, and our own: the library takes longer to write a large file than everything else takes to read and check it.
Whatever could be anything but this very text to some reader of YAML 1.1 or 1.2 is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_PLAIN: Final = re.compile(
    r"[A-Za-z_/$.][A-Za-z0-9_./@$={}()+*%!?~^|<>;,\\-]*(?: [A-Za-z0-9_./@$={}()+*%!?~^|<>;,\\-]+)*"
)
_INNER_COLON: Final = re.compile(r":(?=[^\s:])")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"})
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_EXPONENT: Final = re.compile(r"\.[0-9]")


def emit(value: Any) -> str:
    """*value* (mappings with text keys, lists and scalars) as YAML, in its order."""
    out: list[str] = []
    if isinstance(value, Mapping) and value:
        _mapping(out, value, "")
    elif _is_list(value) and value:
        _sequence(out, value, "")
    else:
        return f"{_scalar(value)}\n"
    return "".join(out)


def _mapping(out: list[str], value: Mapping[str, Any], indent: str, first: str | None = None) -> None:
    """One line or more for each key; *first* stands before the first one instead of *indent*."""
    for key, inner in value.items():
        out.append(f"{indent if first is None else first}{_text(str(key))}:")
        first = None
        if _is_list(inner) and inner:
            out.append("\n")
            _sequence(out, inner, indent)
        else:
            _inner(out, inner, indent)


def _sequence(out: list[str], value: Sequence[Any], indent: str) -> None:
    for inner in value:
        if isinstance(inner, Mapping) and inner:
            _mapping(out, inner, f"{indent}  ", f"{indent}- ")
        elif _is_list(inner) and inner:
            out.append(f"{indent}-\n")
            _sequence(out, inner, f"{indent}  ")  # a list in a list stands deeper than what it is in
        else:
            out.append(f"{indent}-")
            _inner(out, inner, indent)


def _inner(out: list[str], value: Any, indent: str) -> None:
    """What stands after a key or a dash, and is no list with something in it."""
    if isinstance(value, Mapping) and value:
        out.append("\n")
        _mapping(out, value, f"{indent}  ")
    elif isinstance(value, str) and "\n" in value:
        out.append(_lines(value, f"{indent}  "))
    else:
        out.append(f" {_scalar(value)}\n")


def _lines(text: str, indent: str) -> str:
    """A text of several lines, as a literal block where that is the same text to every reader."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    is_plain = bool(lines[0].strip()) and not lines[0].startswith((" ", "\t")) and bool(lines[-1].strip())
    if not is_plain or not all(line.isprintable() for line in lines):
        return f" {_quoted(text)}\n"
    chomp = "|" if text != body else "|-"
    return f" {chomp}\n" + "".join(f"{indent}{line}\n" if line else "\n" for line in lines)


def _scalar(value: Any) -> str:
    """A scalar, or an empty collection."""
    match value:
        case str():
            return _text(value)
        case float():
            text = repr(value).replace("inf", ".inf").replace("nan", ".nan")
            return text if "." in text else text.replace("e", ".0e")
        case None | bool() | int():
            return json.dumps(value)
        case _:
            return "{}" if isinstance(value, Mapping) else "[]"


def _text(text: str) -> str:
    if _is_plain(text):
        return text
    if text.isprintable() and text.isascii():
        return "'" + text.replace("'", "''") + "'"
    return _quoted(text)


def _quoted(text: str) -> str:
    """Between double quotes; what cannot be seen is escaped as YAML does it, which is not JSON's way beyond 16 bits."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable() and character != "\ufeff":
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"  # noqa: PLR2004  16 bits


def _is_plain(text: str) -> bool:
    """It is this text without quotes: no indicator, no number, no word that means something."""
    if text.lower() in _WORDS or _EXPONENT.match(text):
        return False
    return _PLAIN.fullmatch(_INNER_COLON.sub("-", text)) is not None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
