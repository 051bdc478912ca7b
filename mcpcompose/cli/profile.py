"""`mcp-compose profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, session

if TYPE_CHECKING:
    from mcpcompose.actions.profile import Listed

_LS_END = """\
\b
TOOLS counts what clients see now; it is `-` while no gateway runs.
\b
Examples:
  mcp-compose profile ls
  mcp-compose profile ls --format json
"""
_SHOW_END = """\
\b
With a running gateway the tools are listed by the names that clients see; without one, the rules of the file.
\b
Examples:
  mcp-compose profile show developer
  mcp-compose profile show developer --format json
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What each profile gives its clients.", no_args_is_help=True, rich_markup_mode=None)
    group.command("ls", epilog=_LS_END)(ls)
    group.command("show", epilog=_SHOW_END)(show)
    app.add_typer(group, name="profile")


def ls(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List the profiles with their servers and clients."""
    from mcpcompose.actions.profile import as_json, listed

    found = session(context)
    profiles = listed(found.place())
    if form is Format.JSON:
        found.output.json({"profiles": [as_json(one) for one in profiles]})
        return
    rows = [
        (one.name, ", ".join(one.servers) or "-", "-" if one.tools is None else str(one.tools), _clients(one))
        for one in profiles
    ]
    found.output.table(("PROFILE", "SERVERS", "TOOLS", "CLIENTS"), rows)


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A profile of the file.")] = "default",
    form: FormatOption = Format.TABLE,
) -> None:
    """Show one profile: its clients, its servers, and each server's tools."""
    from mcpcompose.actions.profile import as_json, shown

    found = session(context)
    one = shown(found.place(), name)
    if form is Format.JSON:
        found.output.json(as_json(one))
        return
    found.output.note(f"profile `{one.name}` of {_clients(one)}")
    rows = [(server, *_tools(one, server)) for server in one.servers]
    found.output.table(("SERVER", "TOOLS", "RULES"), rows)
    if one.live is None:
        found.output.note("no gateway serves it now; `mcp-compose up -d` starts one")


def _clients(one: Listed) -> str:
    return ", ".join(one.clients) or "-"


def _tools(one: Listed, server: str) -> tuple[str, str]:
    rules = "; ".join(one.rules.get(server, ())) or "-"
    if one.live is None:
        return "-", rules
    return ", ".join(one.live.get(server, ())) or "none", rules
