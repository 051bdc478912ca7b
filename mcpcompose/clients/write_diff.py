"""
Show a change of a client's file without showing a secret of it.

What changes is ours: known values and whatever looks like a credential are masked. What stays is the user's: of that
only keys are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final

from mcpcompose.redact import MASK, Redactor

_CONTEXT: Final = 3
_LONG: Final = 300
_KEPT: Final = 60
_STRING: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_TOKEN: Final = re.compile(rf"(?P<comment>(?:(?<=\s)|^)(?://|#).*)|{_STRING}|[^\s\"'\[\]{{}},:=]+|.", re.DOTALL)
_WORD_OR_STRING: Final = re.compile(rf"{_STRING}|[^\s\"'\[\]{{}},]+")
_MAKES_A_KEY: Final = re.compile(r"\s*[:=](?=\s|$|[\[{\"'])")
_KEY_BEFORE: Final = re.compile(rf"(?:{_STRING}|[\w.-]+)\s*[:=]\s*$")
_OPEN_VALUE: Final = re.compile(r"\"\"|''|true|false|null|[0-9.]{1,6}|---|-")
_HEADER: Final = re.compile(r"\[\[?[A-Za-z_][\w.-]*\]\]?\s*")
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}|\{env:[^}]*\}|\$[A-Za-z_]\w*")
_SCHEME: Final = re.compile(rf"(?i)\b(bearer|basic|token)(\s+)({_REFERENCE.pattern}|[^\s\"'\\,}}]+)")
_NAMED: Final = re.compile(
    r"(?i)([\w.-]*(?:token|secret|passw|api[_-]?key|authorization|cookie|credential)[\w.-]*[\"']?\s*[:=]\s*)"
    rf"({_STRING}|[^\s\"'\[\]{{}},]+)"
)
_LOOKS_SECRET: Final = re.compile(r"(?<![\w./-])(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{24,}(?![\w./])")


def diff(before: str, after: str, name: str, *, secrets: Iterable[str] = ()) -> str:
    """
    What changes from *before* to *after* as a unified diff of the file *name*, *secrets* masked; empty for no change.

    Very long lines are cut to the part that differs.
    """
    if before == after:
        return ""
    mask = Redactor(secrets)
    old, new = before.splitlines(), after.splitlines()
    lines = [f"--- {name}", f"+++ {name}"]
    for group in _groups(old, new):
        first, last = group[0], group[-1]
        lines.append(f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@")
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                lines += [" " + _cut(_theirs(line)) for line in old[i1:i2]]
            else:
                lines += _changed(old[i1:i2], new[j1:j2], mask)
    return "\n".join(lines) + "\n"


def _groups(old: list[str], new: list[str]) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """`difflib`'s groups of what differs; it is only asked about the part between what is the same at both ends."""
    start, end = _common(old, new)
    start, end = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    matcher = SequenceMatcher(None, old[start : len(old) - end], new[start : len(new) - end], autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        yield [(kind, i1 + start, i2 + start, j1 + start, j2 + start) for kind, i1, i2, j1, j2 in group]


def _common(old: list[str] | str, new: list[str] | str) -> tuple[int, int]:
    """How much of the two is the same at the start and at the end."""
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    end = next((at for at in range(shorter - start) if old[-1 - at] != new[-1 - at]), shorter - start)
    return start, end


def _changed(old: list[str], new: list[str], mask: Redactor) -> list[str]:
    gone: list[str] = []
    come: list[str] = []
    for one, other in zip_longest(old, new):
        if one is None or other is None:
            gone += [f"-{_cut(_ours(one, mask))}"] if one is not None else []
            come += [f"+{_cut(_ours(other, mask))}"] if other is not None else []
            continue
        start, end = _common(one, other)
        gone.append(f"-{_part(one, start, len(one) - end, mask)}")
        come.append(f"+{_part(other, start, len(other) - end, mask)}")
    return gone + come


def _part(line: str, start: int, end: int, mask: Redactor) -> str:
    """*line*, which is ours from *start* to *end* and the user's around it; ours is widened to whole members."""
    for token in _WORD_OR_STRING.finditer(line):
        if token.start() < start < token.end() or token.start() <= start < end <= token.end():
            start = token.start()
        if token.start() < end < token.end():
            end = token.end()
    near = max(0, start - _LONG)
    if start < end and (key := _KEY_BEFORE.search(line[near:start])):
        start = near + key.start()
    before, after = _theirs(line[:start], line[start:]), _theirs(line[end:])
    if len(before) > _LONG:
        before = "…" + before[-_KEPT:]
    if len(after) > _LONG:
        after = after[:_KEPT] + "…"
    return before + _ours(line[start:end], mask) + after


def _ours(line: str, mask: Redactor) -> str:
    line = mask.text(line)
    line = _SCHEME.sub(lambda found: found[0] if _is_open(found[3]) else f"{found[1]}{found[2]}{MASK}", line)
    line = _NAMED.sub(lambda found: found[0] if _is_open(found[2]) else f'{found[1]}"{MASK}"', line)
    return _LOOKS_SECRET.sub(MASK, line)


def _is_open(value: str) -> bool:
    """Whether *value* says where a secret is, not what it is."""
    return bool(_REFERENCE.search(value)) or MASK in value


def _theirs(line: str, behind: str = "") -> str:
    """The keys and the brackets of *line*; *behind* is what follows it."""
    if _HEADER.fullmatch(line):
        return line
    parts: list[str] = []
    whole = line + behind
    for token in _TOKEN.finditer(line):
        text = token[0]
        if token["comment"]:
            text = f"{'#' if text[0] == '#' else '//'} …"
        elif (len(text) > 1 or text.isalnum()) and not _OPEN_VALUE.fullmatch(text):
            is_key = _MAKES_A_KEY.match(whole, token.end())
            text = text if is_key else '"…"' if text[0] in "\"'" else "…"
        parts.append(text)
    return re.sub(r"…(?:[ :=]*…)+", "…", "".join(parts))


def _cut(line: str) -> str:
    return line if len(line) <= _LONG else line[:_LONG] + "…"
