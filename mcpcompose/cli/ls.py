"""`mcp-compose ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, session

_END = """\
\b
Examples:
  mcp-compose ls
  mcp-compose ls --all --format json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(ls)


def ls(
    context: typer.Context,
    show_all: Annotated[bool, typer.Option("-a", "--all", help="Also those that do not run.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """List your projects on this machine."""
    from mcpcompose.actions.ls import projects

    found = session(context)
    listed = projects(found.options.environ, also_stopped=show_all)
    if form is Format.JSON:
        found.output.json(listed)
        return
    rows = [(p["name"], p["status"], p["endpoint"] or "-", ", ".join(p["files"])) for p in listed]
    found.output.table(("NAME", "STATUS", "ENDPOINT", "FILES"), rows, {"running": "green"})
