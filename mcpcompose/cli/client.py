"""`mcp-compose client`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, session

_CONFIG_END = """\
\b
Paste one of the two entries into the client's configuration. The token is only printed with --show-token; without it
the entry refers to the environment variable MCP_COMPOSE_TOKEN, as most clients understand it.
\b
Examples:
  mcp-compose client config
  mcp-compose client config cursor --show-token
  mcp-compose client config --stdio
"""
_ROTATE_END = "\b\nExamples:\n  mcp-compose client rotate cursor\n"
Name = Annotated[str, typer.Argument(metavar="[CLIENT]", help="A client of the file; `default` is always there.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How AI clients connect.", no_args_is_help=True, rich_markup_mode=None)
    group.command("config", epilog=_CONFIG_END)(config)
    group.command("rotate", epilog=_ROTATE_END)(rotate)
    app.add_typer(group, name="client")


def config(
    context: typer.Context,
    name: Name = "default",
    show_token: Annotated[bool, typer.Option("--show-token", help="Print the token itself.")] = False,
    stdio: Annotated[bool, typer.Option("--stdio", help="Only the entry for clients that spawn a command.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Only the entry for clients that connect by HTTP.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Print what a client needs to connect, ready to paste."""
    from mcpcompose.actions.clients import entries

    found = session(context)
    made = entries(found.place(), name, show_token=show_token)
    wanted = [kind for kind, asked in (("http", http), ("stdio", stdio)) if asked or http == stdio]
    if form is Format.JSON:
        found.output.json({key: value for key, value in made.items() if key in wanted or key not in {"http", "stdio"}})
        return
    for kind in wanted:
        found.output.note(
            {"http": "for clients that connect by HTTP:", "stdio": "for clients that spawn a command:"}[kind]
        )
        found.output.json({"mcpServers": made[kind]})
    if "http" in wanted and not show_token:
        found.output.note("`MCP_COMPOSE_TOKEN` stands for the token; `--show-token` prints it")


def rotate(context: typer.Context, name: Name = "default", form: FormatOption = Format.TABLE) -> None:
    """Give a client another token; the old one is worth nothing from now on."""
    from mcpcompose.actions.clients import rotate as action

    found = session(context)
    action(found.place(), name)
    if form is Format.JSON:
        found.output.json({"client": name, "rotated": True})
    else:
        found.output.line(
            f"client `{name}` has another token; print it with `mcp-compose client config {name} --show-token`"
        )
