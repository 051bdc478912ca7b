"""Text from outside, made safe for a terminal: nothing in it can move the cursor, recolour or reorder what is shown."""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """*text* on one line, with control, direction and invisible characters as backslash escapes."""
    return _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """As `printable`, but its line breaks stay."""
    return "\n".join(printable(line) for line in text.replace("\r\n", "\n").split("\n"))


def json_safe(encoded: str) -> str:
    """*encoded* JSON that means the same and holds no such characters (those below U+0020 JSON escapes itself)."""
    return re.sub(_UNSAFE.pattern.replace("\x00-\x1f", ""), _json_escape, encoded)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or (f"\\x{ord(character):02x}" if character < "\xff" else _json_escape(match))


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:  # noqa: PLR2004  the end of the basic plane
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
