"""`mcp-compose client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpcompose.cli import connect as connecting
from mcpcompose.cli.session import Format, FormatOption, Session, session
from mcpcompose.errors import McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.actions.client_ls import Row
    from mcpcompose.actions.locate import Place
    from mcpcompose.clients.registry import Application

_CONFIG_END = """\
\b
Prints the entry in the application's own format, to be pasted. The token is only printed with --show-token; without it
the entry refers to the environment variable MCP_COMPOSE_TOKEN, as the application understands it.
\b
Examples:
  mcp-compose client config
  mcp-compose client config cursor --show-token
  mcp-compose client config codex --stdio
  MCP_COMPOSE_TOKEN=$(mcp-compose client config codex --token) codex
"""
_ROTATE_END = "\b\nExamples:\n  mcp-compose client rotate cursor\n"
_LS_END = "\b\nExamples:\n  mcp-compose client ls\n  mcp-compose client ls --all\n"
Name = Annotated[
    str,
    typer.Argument(
        metavar="[CLIENT]", help="A client application, or a client of the file; `default` is always there."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How AI clients connect.", no_args_is_help=True, rich_markup_mode=None)
    group.command("ls", epilog=_LS_END)(ls)
    group.command("connect", epilog=connecting.CONNECT_END)(connecting.connect)
    group.command("disconnect", epilog=connecting.DISCONNECT_END)(connecting.disconnect)
    group.command("undo", epilog=connecting.UNDO_END)(connecting.undo)
    group.command("config", epilog=_CONFIG_END)(config)
    group.command("rotate", epilog=_ROTATE_END)(rotate)
    app.add_typer(group, name="client")


def ls(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that were not found here, too.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the client applications of this machine and whether they are connected."""
    from mcpcompose.actions.client_ls import as_json, rows
    from mcpcompose.actions.config import load

    found = session(context)
    place = found.place()
    try:
        project = load(place).project
    except McpComposeError:
        found.output.warning("the file cannot be loaded, so profiles are not shown; see `mcp-compose config -q`")
        project = None
    shown = [row for row in rows(place, project) if everything or row.is_interesting]
    if form is Format.JSON:
        found.output.json([as_json(row) for row in shown])
        return
    if not shown:
        found.output.note("no client application was found; `--all` lists those that are known")
        return
    lines = [line for row in shown for line in _lines(row)]
    found.output.table(("CLIENT", "STATE", "SCOPE", "PROFILE", "FOUND BY"), lines, {"connected": "green"})


def config(
    context: typer.Context,
    name: Name = "default",
    show_token: Annotated[bool, typer.Option("--show-token", help="Print the token itself.")] = False,
    only_token: Annotated[bool, typer.Option("--token", help="Print the token and nothing else.")] = False,
    stdio: Annotated[bool, typer.Option("--stdio", help="Only the entry for clients that spawn a command.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Only the entry for clients that connect by HTTP.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Print what a client needs to connect, ready to paste."""
    from mcpcompose.actions.clients import token
    from mcpcompose.clients.registry import find

    found = session(context)
    place = found.place()
    application = find(name)
    client = _client(place, name, application)
    if only_token:
        found.output.line(token(place, client))
        return
    kinds = [kind for kind, asked in (("http", http), ("stdio", stdio)) if asked or http == stdio]
    if application is not None:
        _config_of(found, place, application, client, kinds, form, show_token=show_token)
        return
    from mcpcompose.actions.clients import entries

    made = entries(place, client, show_token=show_token)
    if form is Format.JSON:
        found.output.json(_picked(made, kinds))
        return
    for kind in kinds:
        found.output.note(
            {"http": "for clients that connect by HTTP:", "stdio": "for clients that spawn a command:"}[kind]
        )
        found.output.json({"mcpServers": made[kind]})
    if "http" in kinds and not show_token:
        found.output.note("`MCP_COMPOSE_TOKEN` stands for the token; `--show-token` prints it")


def rotate(context: typer.Context, name: Name = "default", form: FormatOption = Format.TABLE) -> None:
    """Give a client another token; the old one is worth nothing from now on."""
    from mcpcompose.actions.clients import rotate as action
    from mcpcompose.actions.connections import holding_token
    from mcpcompose.clients.registry import find

    found = session(context)
    place = found.place()
    client = _client(place, name, find(name))
    action(place, client)
    stale = holding_token(place, client)
    if form is Format.JSON:
        found.output.json({"client": client, "rotated": True, "connect_again": stale})
        return
    found.output.line(
        f"client `{client}` has another token; print it with `mcp-compose client config {client} --show-token`"
    )
    for one in stale:
        found.output.warning(f"`{one}` still has the old one: run `mcp-compose client connect {one}` again")


def _client(place: Place, name: str, application: Application | None) -> str:
    """The file's client that *name* stands for."""
    if application is None:
        return name
    from mcpcompose.actions.client_config import client_of

    try:
        return client_of(place, name)
    except UsageError:
        raise
    except McpComposeError:  # a broken file: a gateway that runs may know the client
        return name


def _config_of(
    found: Session,
    place: Place,
    application: Application,
    client: str,
    kinds: list[str],
    form: Format,
    *,
    show_token: bool,
) -> None:
    """Print the application's own entries."""
    from mcpcompose.actions.client_config import snippets
    from mcpcompose.actions.clients import entries

    made = snippets(place, application, client, show_token=show_token)
    if form is Format.JSON:
        shown = _picked(entries(place, client, show_token=show_token, without_endpoint=True), kinds)
        found.output.json({**shown, "application": _picked(made, kinds)})
        return
    files = ", ".join(f"`{file}` ({scope})" for scope, file in made["files"].items())
    for kind in kinds:
        if made[kind] is None:
            continue
        what = "by the gateway's URL" if kind == "http" else "by a command"
        found.output.note(f"{application.name}, {what}{f', in {files}' if files else ''}:")
        found.output.text(made[kind].rstrip("\n"))
    for kind, reason in made["why"].items():
        if kind in kinds:
            found.output.note(f"no entry by {'URL' if kind == 'http' else 'command'}: {reason}")
    for step in made["steps"]:
        found.output.note(f"next: {step}")
    if "http" in kinds and made["http"] and not show_token:
        found.output.note("`MCP_COMPOSE_TOKEN` stands for the token; `--show-token` prints it")
    if made["files"]:
        found.output.note(f"`mcp-compose client connect {application.id}` writes it")


def _picked(made: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key in kinds or key not in {"http", "stdio"}}


def _lines(row: Row) -> list[tuple[str, ...]]:
    """The lines of the table for one application."""
    application = row.application
    evidence = str(row.evidence) if row.evidence is not None else ""
    if not row.entries:
        scopes = ", ".join(name for name, scope in application.scopes.items() if scope.writable)
        state = "not connected" if row.evidence else "not found"
        return [(application.id, state if scopes else "paste", scopes, "", evidence)]
    return [(application.id, one.state, one.scope, one.profile or "", evidence or str(one.file)) for one in row.entries]
