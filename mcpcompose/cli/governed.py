"""`mcp-compose session`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mcpcompose.cli.ps import age
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.errors import UsageError

_HELP = """\
What clients have read, and are pinned to.

A session is a client's token, as `flow` and `session-pin` see it: reconnecting, a second connection or
another endpoint is the same session. It ends after `session.idle` of silence (30 minutes by default), or by `reset`.
"""
_END = """\
\b
Examples:
  mcp-compose session ls               who has read what, and is held to what
  mcp-compose session reset cursor     a refused client may begin anew; end its conversation first
  mcp-compose session reset shared     the one of everybody without a token of their own
\b
What labels and pins decide: docs/built-ins.md. What was refused and why: `mcp-compose audit tail --outcome refused`.
"""
_LS_END = """\
\b
READ says what a client has read that rules of `flow` are about, PINNED what a `session-pin` holds it to. Neither is
cleared by reconnecting. `(shared)` is everybody without a token of their own; `session reset shared` ends it.
\b
Examples:
  mcp-compose session ls
  mcp-compose session ls --format json
"""
_RESET_END = """\
\b
The client begins anew: end its conversation first, since what was read may still be in it.
\b
Examples:
  mcp-compose session reset cursor
  mcp-compose session reset --all
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=_HELP, epilog=_END, no_args_is_help=True, rich_markup_mode=None)
    group.command("ls", epilog=_LS_END)(ls)
    group.command("reset", epilog=_RESET_END)(reset)
    app.add_typer(group, name="session")


def ls(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List the sessions of clients, as interceptors see them."""
    from mcpcompose.actions.session import listed

    found = session(context)
    sessions = listed(found.place())
    if form is Format.JSON:
        found.output.json(sessions)
        return
    now = time.time()
    rows = [
        (str(one["client"]), age(now - one["since"]), age(now - one["last"]), _labels(one), _pins(one))
        for one in sessions
    ]
    found.output.table(("CLIENT", "SINCE", "SILENT", "READ", "PINNED"), rows)


def reset(
    context: typer.Context,
    clients: Annotated[list[str] | None, typer.Argument(metavar="[CLIENT]...", show_default=False)] = None,
    everybody: Annotated[bool, typer.Option("--all", help="The sessions of all clients.")] = False,
) -> None:
    """End sessions: what was read is forgotten, and pins are taken away."""
    from mcpcompose.actions import session as actions

    if bool(clients) is everybody:
        raise UsageError("name clients, or `--all`", hint="see `mcp-compose session ls`")
    found = session(context)
    for client in actions.reset(found.place(), None if everybody else clients):
        found.output.note(f"the session of `{client}` is over")


def _labels(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} ({source})" for label, source in one["labels"].items()) or "-"


def _pins(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in one["pins"].items()) or "-"
