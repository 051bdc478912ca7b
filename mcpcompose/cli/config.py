"""`mcp-compose config`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session

_END = """\
\b
Variables and secrets are printed as references, never as values.
\b
Examples:
  mcp-compose config
  mcp-compose config -q                        only check it
  mcp-compose config --format json
  mcp-compose config --explain servers.github.image
  mcp-compose config --explain servers.github  everything that is set for a server, and what it relaxes
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(config)


def config(
    context: typer.Context,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="KEY", help="Say where a key's value comes from.")
    ] = None,
    servers: Annotated[bool, typer.Option("--servers", help="Only the servers' names.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check the file and print it resolved."""
    from mcpcompose.actions import config as action

    found = session(context)
    loaded = action.load(found.place())
    for remark in loaded.project.provenance.remarks:
        found.output.warning(remark)
    if explain is not None:
        origin = action.explain(loaded, explain)
        if form is Format.JSON:
            found.output.json(origin)
        else:
            for one in origin["keys"] or [origin]:
                _show_origin(one, found.output)
    elif servers:
        names = list(loaded.project.servers)
        if form is Format.JSON:
            found.output.json(names)
        else:
            found.output.text("\n".join(names))
    elif not found.options.quiet:
        if form is Format.JSON:
            found.output.json(action.printable(loaded))
        else:
            found.output.text(action.as_yaml(loaded))


def _show_origin(origin: dict[str, Any], output: Output) -> None:
    value = origin["value"]
    output.line(f"{origin['key']}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    output.line(f"  --> {origin['origin']}")
    for note in origin["notes"]:
        output.line(f"      {note}")
    if origin["relaxes"]:
        output.line(f"  relaxes the default: {origin['relaxes']}")
