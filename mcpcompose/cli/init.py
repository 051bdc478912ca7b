"""`mcp-compose init`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.session import session

_END = """\
\b
Examples:
  mcp-compose init
  mcp-compose -f team/mcp-compose.yaml init
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(init)


def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented mcp-compose.yaml to start from."""
    from mcpcompose.actions.init import write_starter

    found = session(context)
    file = write_starter(found.options, force=force)
    found.output.line(str(file))
    found.output.note("add what an AI client has already with `mcp-compose import cursor`, or edit the file")
    found.output.note("start it with `mcp-compose up`")
