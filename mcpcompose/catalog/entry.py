"""
One entry of a catalog, whatever format it was written in.

Its server is in the words of the compose file, with `${config:…}` where a value of the project goes and `${secret:…}`
where one of the entry's own secrets goes. No other `$` reference is possible: a stranger's text never reads a variable.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from mcpcompose.catalog.marked import Value

SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ENTRY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MAX_REFUSALS: Final = 50


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """
    Something of an entry that cannot be honoured: the entry can be looked at, and not be used.

    *unless*: keys of the project's own server, one of which takes its place.
    """

    message: str
    line: int
    column: int
    hint: str | None = None
    unless: tuple[str, ...] = ()


class Secret(msgspec.Struct, frozen=True, array_like=True):
    """A secret that a server needs: by *name* in `${secret:…}`, delivered as *env* or as a file."""

    name: str
    line: int
    column: int
    env: str | None = None
    target: str | None = None
    description: str = ""
    is_required: bool = True
    example: str = ""
    is_delivered: bool = True
    """It goes into the container; else only into the texts that refer to it."""


class Tool(msgspec.Struct, frozen=True, array_like=True):
    """A tool as the catalog describes it; what the server really offers may differ."""

    name: str
    description: str = ""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A server that a catalog offers. *server* is a mapping; *line* and *column* are where the entry begins."""

    name: str
    line: int
    column: int
    server: Value
    version: str = ""
    title: str = ""
    description: str = ""
    publisher: str = ""
    license: str = ""
    homepage: str = ""
    icon: str = ""
    tags: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    config: Any = None
    """The JSON Schema that the project's `config` has to fit; None where the entry takes none."""
    config_line: int = 0
    config_column: int = 0
    secrets: tuple[Secret, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    note: str = ""
    """What its publisher says about its state: deprecated, and why."""
    needs_one_of: tuple[str, ...] = ()
    """Secrets of which it needs at least one, and which is not said."""


class Summary(msgspec.Struct, frozen=True, array_like=True):
    """What a list or a search needs of an entry; *tools* are names."""

    name: str
    title: str
    description: str
    publisher: str
    version: str
    kind: str
    tags: tuple[str, ...]
    tools: tuple[str, ...]
    is_usable: bool


def kind_of(server: Value) -> str:
    """What an entry is: the key of its source."""
    return next((key for key in ("image", "build", "package", "process", "url") if key in server.fields), "")


def summary(entry: Entry) -> Summary:
    """*entry* in short."""
    return Summary(
        entry.name,
        entry.title,
        entry.description,
        entry.publisher,
        entry.version,
        kind_of(entry.server),
        entry.tags,
        tuple(tool.name for tool in entry.tools),
        not entry.refusals,
    )


def secret_name(text: str) -> str:
    """*text* as the name of one of a project's secrets."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip("_.-")[:64] or "secret"
