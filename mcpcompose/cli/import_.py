"""`mcp-compose import`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, session

if TYPE_CHECKING:
    from mcpcompose.actions.import_ import Imported
    from mcpcompose.cli.output import Output

_END = """\
\b
SOURCE is a client application (`mcp-compose client ls --all` lists them), `docker-mcp` for the folder of Docker's MCP
Toolkit, or a file: an mcp.json, a client's own, a Docker MCP catalog or profile. Servers are added to mcp-compose.yaml;
none that is there is changed. Tokens in it go to the keyring (or where --secrets says) and never into the file.
\b
Examples:
  mcp-compose import cursor
  mcp-compose import claude-code github linear
  mcp-compose import ./mcp.json --dry-run
  mcp-compose import docker-mcp --output team.yaml
"""


class Secrets(StrEnum):
    """Where tokens that are found go."""

    KEYRING = "keyring"
    DOTENV = "dotenv"
    ENVIRONMENT = "environment"


class Scope(StrEnum):
    """Which of a client's files."""

    USER = "user"
    PROJECT = "project"
    LOCAL = "local"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", epilog=_END)(import_)


def import_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A client application, `docker-mcp`, or a file.")],
    servers: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVER]...", help="Only these, as they are named there.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write (or add to) this file.")
    ] = None,
    secrets: Annotated[Secrets, typer.Option("--secrets", help="Where tokens that are found go.")] = Secrets.KEYRING,
    scope: Annotated[
        Scope | None, typer.Option("--scope", help="Only this one of the client's files; default: all that count here.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, write and keep nothing.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Take over the servers of an AI client or an mcp.json."""
    from mcpcompose.actions.import_ import Wish, import_servers
    from mcpcompose.actions.import_secrets import Keeper

    found = session(context)
    wish = Wish(
        source=source,
        only=tuple(servers or ()),
        output=output,
        keeper=Keeper(secrets.value),
        scope=scope.value if scope else None,
        dry_run=dry_run,
    )
    done = import_servers(found.options, wish)
    if form is Format.JSON:
        found.output.json(_as_json(done))
        return
    if dry_run:
        found.output.text(done.text.rstrip("\n"))
    _show(done, found.output, dry_run=dry_run)


def _show(done: Imported, output: Output, *, dry_run: bool) -> None:
    if not dry_run:
        rows = [(one.name, one.kind, "; ".join(one.remarks) or "-") for one in done.servers]
        if rows:
            output.table(("SERVER", "KIND", "REMARKS"), rows)
    for name in done.unchanged:
        output.note(f"server `{name}` is in `{done.file.name}` already, just so")
    for one in done.left:
        output.warning(f"`{one.name}` is not imported: {one.why}")
    for remark in done.remarks:
        output.note(remark)
    _next_steps(done, output, dry_run=dry_run)


def _next_steps(done: Imported, output: Output, *, dry_run: bool) -> None:
    if dry_run:
        output.note(f"nothing is written; without `--dry-run` this is `{done.file}`")
        return
    if not done.is_written:
        return
    output.note(f"wrote `{done.file}`")
    if any(one.kind != "process" and one.keys.get("network") == "open" for one in done.servers):
        output.note("imported servers keep the network they had (`network: open`); take it away where it is not needed")
    steps = []
    for secret in done.to_set:
        match secret.source:
            case {"environment": name}:
                steps.append(f"set the environment variable `{name}`")
            case {"dotenv": {"file": file, "key": key}}:
                steps.append(f"add `{key}` to `{file}`")
            case _:
                steps.append(f"mcp-compose secret set {secret.name}")
    if done.waits:
        steps.append("mcp-compose trust          look at what the servers may do here, and approve it")
    steps.append("mcp-compose up")
    output.hint("next: " + "\n      ".join(steps))


def _as_json(done: Imported) -> dict[str, object]:
    return {
        "file": str(done.file),
        "from": done.title,
        "written": done.is_written,
        "servers": [
            {"name": one.name, "was": one.was, "kind": one.kind, "remarks": list(one.remarks)} for one in done.servers
        ],
        "unchanged": list(done.unchanged),
        "not_imported": [{"name": one.name, "reason": one.why} for one in done.left],
        "secrets": [
            {"name": one.name, "source": one.source, "kept": one.value is not None, "to_set": one in done.to_set}
            for one in done.secrets
        ],
        "remarks": list(done.remarks),
        "waits_for_approval": done.waits,
        "content": done.text,
    }
