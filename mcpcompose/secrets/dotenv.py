"""Secrets from a key of a dotenv file, kept apart from interpolation: what is in it is taken literally."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.secrets.base import Absent
from mcpcompose.secrets.file import read_regular_file

_LINE: Final = re.compile(
    r"""
    ^[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^\n]*) )
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class DotenvProvider:
    """The value of *key* in the dotenv file *path*."""

    path: Path
    key: str

    @property
    def description(self) -> str:
        """What is asked."""
        return f"key `{self.key}` of `{self.path}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"add `{self.key}=…` to `{self.path}`"

    async def read(self) -> bytes | Absent:
        """The value."""
        content = await asyncio.to_thread(read_regular_file, self.path)
        if isinstance(content, Absent):
            return content
        values = literal_values(content.decode("utf-8", "surrogateescape"))
        if self.key not in values:
            return Absent("no such key")
        return values[self.key].encode("utf-8", "surrogateescape") or Absent("empty")


def literal_values(text: str) -> dict[str, str]:
    """Keys and values of a dotenv text, without interpolation; the last of equal keys counts."""
    values: dict[str, str] = {}
    for match in _LINE.finditer(text.replace("\r\n", "\n")):
        if match["single"] is not None:
            value = match["single"]
        elif match["double"] is not None:
            value = re.sub(r"\\(.)", _unescaped, match["double"], flags=re.DOTALL)
        else:
            value = re.split(r"(?:^|\s)#", match["bare"], maxsplit=1)[0].strip()
        values[match["key"]] = value
    return values


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])
