"""`mcp-compose config`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

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
    if explain is not None:
        origin = action.explain(loaded, explain)
        if form is Format.JSON:
            found.output.json(origin)
        else:
            value = origin["value"]
            found.output.line(
                f"{explain}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
            )
            found.output.line(f"  --> {origin['origin']}")
            if origin["relaxes"]:
                found.output.line(f"  relaxes the default: {origin['relaxes']}")
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
