"""What is wrong with an expression, for people: the place, and what to write instead. Pure."""

from __future__ import annotations

import re
from typing import Final

_ERROR: Final = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_GRAMMAR: Final = "Syntax error: "
_LEVELS: Final = re.compile(r"recursion limit of (\d+)", re.IGNORECASE)
_WORDS: Final = re.compile(r"(?:and|or|not)\b")
_EXAMPLE: Final = "the language is that of https://cel.dev, such as `name == 'pay' && arguments.amount > 100`"
_SHOWN: Final = 100
_REST: Final = 40


def unreadable(text: str, said: str) -> tuple[str, str]:
    """The message and the hint for the expression *text*, of which the parser said *said*."""
    errors = _ERROR.findall(said.removeprefix(f"Failed to parse expression '{text}': "))
    told = next((one for one in errors if one[2].startswith(_GRAMMAR)), errors[0] if errors else None)
    one_line = " ".join(text.split())
    what = f"`{_cut(one_line, _SHOWN)}` cannot be read"
    if levels := _LEVELS.search(said):
        return f"{what}: it has more than {levels[1]} levels", _EXAMPLE
    if told is None:
        return what, _EXAMPLE
    line, column, reason = int(told[0]), int(told[1]), told[2]
    lines = text.split("\n")
    before, rest = lines[line - 1][: column - 1], lines[line - 1][column - 1 :]
    place = f"character {column}" if len(lines) == 1 else f"line {line}, character {column}"
    if not rest.strip() and line == len(lines):
        return f"{what}: it ends too early ({place})", _EXAMPLE
    why = "" if reason.startswith(_GRAMMAR) else f": {_cut(reason, _SHOWN)}"
    return f"{what} from `{_cut(rest, _REST)}` on ({place}){why}", _advice(before, rest)


def _advice(before: str, rest: str) -> str:
    if _WORDS.match(rest) or before.rstrip().endswith("not"):
        return "write `&&`, `||` and `!` for and, or and not"
    if rest.startswith("="):
        return "write `==` to compare"
    if rest.startswith(("'", '"')):
        return "a text ends with the quotation mark it begins with; `\\` is written twice"
    if before.endswith("has("):
        return "`has` is about a member, such as `has(arguments.amount)`"
    return _EXAMPLE


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
