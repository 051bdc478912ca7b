"""`mcp-compose catalog pull` and `catalog push`."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.printable import printable
from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import Format, FormatOption, session

_PULL_END = """\
\b
A catalog that cannot be fetched, or is none, keeps its last good copy, and the command exits with 1.
\b
Examples:
  mcp-compose catalog pull
  mcp-compose catalog pull acme
  mcp-compose catalog pull --format json
"""
_PUSH_END = """\
\b
The catalog is checked first. Credentials are those that `docker login` left.
\b
Examples:
  mcp-compose catalog push ./catalogs/acme.yaml registry.acme.example/mcp/catalog:2026-11
"""
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[CATALOG]...", help="Only these catalogs.", show_default=False)
]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The catalog's file.")]
ReferenceArgument = Annotated[str, typer.Argument(metavar="REFERENCE", help="Where to: registry/name:tag.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `catalog`."""
    group.command("pull", epilog=_PULL_END)(pull)
    group.command("push", epilog=_PUSH_END)(push)


def pull(context: typer.Context, catalogs: Names = None, form: FormatOption = Format.TABLE) -> int:
    """Fetch the catalogs that the file declares, as they are now."""
    from mcpcompose.actions import catalog_transport as action

    found = session(context)
    with Progress(found.output) as progress:

        def heard(event: action.Event) -> None:
            if found.output.live or event.get("status") != "failed":  # else said below, with what is left
                progress.event(event)

        pulled = action.pull(found.place(), catalogs or [], heard)
    for one in pulled:
        if one.state == "failed":
            kept = "its last good copy stays in use" if one.is_usable else "there is no copy of it"
            found.output.error_lines(f"catalog `{one.name}`: {printable(one.reason)}; {kept}")
            if one.hint:
                found.output.hint(printable(one.hint))
    if form is Format.JSON:
        found.output.json({"catalogs": [action.as_json(one) for one in pulled]})
    elif pulled:
        rows = [(one.name, one.state, one.digest[:19] or "-", one.source) for one in pulled]
        found.output.table(("CATALOG", "STATE", "DIGEST", "SOURCE"), rows)
    else:
        found.output.note("the file declares no catalogs")
    return 1 if any(one.state == "failed" for one in pulled) else 0


def push(
    context: typer.Context, file: FileArgument, reference: ReferenceArgument, form: FormatOption = Format.TABLE
) -> int:
    """Push a catalog to an image registry, where `oci:` finds it; prints its digest."""
    from mcpcompose.actions import catalog_transport as action

    found = session(context)
    with Progress(found.output) as progress:
        digest = action.push(found.options, file, reference, progress.event)
    name = reference.partition("@")[0]
    if form is Format.JSON:
        found.output.json({"reference": reference, "digest": digest})
    else:
        found.output.line(f"{name}@{digest}")
    return 0
