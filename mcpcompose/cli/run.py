"""`mcp-compose run --stdio`; what a client really spawns is handled by `cli.shim`, which starts faster."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpcompose.cli.session import session
from mcpcompose.errors import UsageError

_END = """\
\b
What AI clients put into their configuration (see `mcp-compose client config`). Starts the gateway when none runs.
\b
Examples:
  mcp-compose run --stdio
  mcp-compose -f /path/to/mcp-compose.yaml run --stdio --client cursor
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(run)


def run(
    context: typer.Context,
    stdio: Annotated[bool, typer.Option("--stdio", help="Speak MCP on standard input and output.")] = False,
    client: Annotated[str | None, typer.Option("--client", metavar="NAME", help="As this client of the file.")] = None,
) -> int:
    """Serve the project to one client on standard input and output."""
    if not stdio:
        raise UsageError("`run` needs `--stdio`", hint="to run the project itself use `mcp-compose up`")
    from mcpcompose.actions.stdio import run as action

    found = session(context)
    return action(found.place(), client, found.options.profile)
