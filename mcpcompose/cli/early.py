"""
`up -d` begins before the command line is there: its gateway starts while everything else is still imported.

What this small reading of the arguments does not know begins nothing, and the command line does it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mcpcompose.cli.words import PROJECT, Said, options, read

_QUIET: Final = frozenset({"-q", "--quiet"})
_FORMATS: Final = frozenset({"json", "table"})
_OF_UP: Final = frozenset({"-d", "--detach", "--locked", "--no-watch"})


def begin(arguments: Sequence[str]) -> None:
    """Start the gateway that *arguments* will ask for, if none runs; the command line then finds it on its way."""
    said = parsed(arguments)
    if said is None:
        return
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.spawn import begin as begin_gateway
    from mcpcompose.errors import McpComposeError

    # Whatever it is, the command line meets it again, and says it.
    with suppress(McpComposeError, OSError, RuntimeError, ValueError):
        begin_gateway(locate(options(said)))


def parsed(arguments: Sequence[str]) -> Said | None:
    """The values of the options; None unless this is an `up` that is wholly understood."""
    seen: list[str] = []

    def bare(word: str) -> bool:
        known = word == "up" or word in _QUIET or ("up" in seen and word in _OF_UP)
        if known:
            seen.append(word)
        return known

    def place(word: str) -> str | None:
        return "format" if word == "--format" and "up" in seen else PROJECT.get(word)

    said = read(arguments, place, bare)
    if said is None or seen.count("up") != 1 or not _FORMATS.issuperset(said.pop("format", ())):
        return None
    return said
