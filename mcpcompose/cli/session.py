"""What every command gets: the global options, the printer, and the option types they share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mcpcompose.actions.options import Options
from mcpcompose.cli.output import Output
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpcompose.actions.locate import Place


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print: for people, or as JSON.")]
Servers = Annotated[
    list[str] | None, typer.Argument(metavar="[SERVER]...", help="Only these servers.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line."""

    options: Options
    output: Output

    def place(self) -> Place:
        """The project that the options name."""
        from mcpcompose.actions.locate import locate

        return locate(self.options)


def session(context: typer.Context) -> Session:
    """The session of a command's context."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("a command ran without its session")
    return found


def check_servers(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UsageError` for a server that is not there, with the name that may have been meant."""
    known = sorted(known)
    for name in asked:
        if name not in known:
            raise UsageError(f"there is no server `{name}`" + did_you_mean(name, known), hint=_listing(known))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean …` for the nearest of *known*; empty when none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f", did you mean `{near[0]}`?" if near else ""


def _listing(known: list[str]) -> str | None:
    return f"the servers are {', '.join(f'`{name}`' for name in known)}" if known else None
