"""`mcp-compose pull` and `build`."""

from __future__ import annotations

import typer

from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import Servers, session

_END = """\
\b
Examples:
  mcp-compose {0}
  mcp-compose {0} github
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_END.format("pull"))(pull)
    app.command(epilog=_END.format("build"))(build)


def pull(context: typer.Context, servers: Servers = None) -> int:
    """Fetch the images and packages of servers anew; `up` then replaces what changed."""
    return _run(context, "pull", servers)


def build(context: typer.Context, servers: Servers = None) -> int:
    """Build the images of servers with `build`; `up` then replaces what changed."""
    return _run(context, "build", servers)


def _run(context: typer.Context, verb: str, servers: list[str] | None) -> int:
    from mcpcompose.actions.images import refresh

    found = session(context)
    with Progress(found.output) as progress:
        failed = refresh(found.place(), verb, servers or [], progress.event)
    return 1 if failed else 0
