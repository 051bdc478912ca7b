"""`mcp-compose start`, `stop` and `restart`."""

from __future__ import annotations

import typer

from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import Servers, session

_END = """\
\b
Examples:
  mcp-compose {0}
  mcp-compose {0} github notion
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_END.format("start"))(start)
    app.command(epilog=_END.format("stop"))(stop)
    app.command(epilog=_END.format("restart"))(restart)


def start(context: typer.Context, servers: Servers = None) -> int:
    """Start servers that were stopped."""
    return _run(context, "start", servers)


def stop(context: typer.Context, servers: Servers = None) -> int:
    """Stop servers; they stay stopped until `start`, `restart` or `up`."""
    return _run(context, "stop", servers)


def restart(context: typer.Context, servers: Servers = None) -> int:
    """Stop servers and start them again."""
    return _run(context, "restart", servers)


def _run(context: typer.Context, verb: str, servers: list[str] | None) -> int:
    from mcpcompose.actions.lifecycle import run

    found = session(context)
    with Progress(found.output) as progress:
        return 1 if run(found.place(), verb, servers or [], progress.event) else 0
