"""`mcp-compose plan`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session

_END = """\
\b
Examples:
  mcp-compose plan
  mcp-compose plan --format json
"""
UP_TO_DATE = "everything is up to date"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(plan)


def plan(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """Show what `up` would do, and why, without doing it."""
    from mcpcompose.actions.plan import planned

    found = session(context)
    show_plan(planned(found.place()), form, found.output)


def show_plan(plan: Mapping[str, Any], form: Format, output: Output) -> None:
    """Print a plan: one step a line, with its cause."""
    if form is Format.JSON:
        output.json(plan)
        return
    for step in plan["steps"]:
        who = f"{step['server']}: " if step["server"] else ""
        output.line(f"{who}{step['operation']} ({step['cause']})")
    if not plan["steps"]:
        output.line(UP_TO_DATE)
    for one in plan["unapproved"]:
        output.warning(f"needs approval first: {one['kind']} {one['subject']} ({one['hash']}); see `mcp-compose trust`")
