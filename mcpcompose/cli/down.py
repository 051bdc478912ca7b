"""`mcp-compose down`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import session

_END = """\
\b
Works without a running gateway and with a broken file. Tokens, approvals and logs stay.
\b
Examples:
  mcp-compose down
  mcp-compose down -v        also remove named volumes, and what is in them
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(down)


def down(
    context: typer.Context,
    volumes: Annotated[bool, typer.Option("-v", "--volumes", help="Also remove named volumes.")] = False,
) -> None:
    """Stop and remove everything that `up` made."""
    from mcpcompose.actions.down import down as action

    found = session(context)
    with Progress(found.output) as progress:
        removed = action(found.place(), volumes=volumes, on_event=progress.event)
    found.output.note("everything is down" if removed else "there is nothing to take down")
