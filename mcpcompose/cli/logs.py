"""`mcp-compose logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, Servers, session

_END = """\
\b
`gateway` is the gateway's own log. Secret values are replaced where they are written.
\b
Examples:
  mcp-compose logs
  mcp-compose logs -f github
  mcp-compose logs -n 20 gateway
"""
_STYLES = ("cyan", "green", "yellow", "bold")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(logs)


def logs(
    context: typer.Context,
    servers: Servers = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    tail: Annotated[int | None, typer.Option("-n", "--tail", min=0, help="Only the last lines of each server.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what servers wrote to stderr, and the gateway's own log."""
    from mcpcompose.actions.logs import lines

    found = session(context)
    output = found.output
    shown: dict[str, str] = {}
    for server, line in lines(found.place(), servers or [], follow=follow, tail=tail):
        if form is Format.JSON:
            output.json({"server": server, "line": line}, indent=None)
            continue
        style = shown.setdefault(server, _STYLES[len(shown) % len(_STYLES)])
        output.prefixed(server, line, style)  # type: ignore[arg-type]
