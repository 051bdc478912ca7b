"""Start, stop and restart servers of the running gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mcpcompose.actions.admin_client import AdminClient, Event
from mcpcompose.actions.locate import Place
from mcpcompose.errors import GatewayNotRunning


def run(place: Place, verb: str, servers: Sequence[str], on_event: Callable[[Event], None]) -> dict[str, str]:
    """Do *verb* (`start`, `stop` or `restart`) to *servers*, none named means all. Returns what failed, by server."""
    client = AdminClient(place.paths.admin_socket)
    for event in client.per_server(verb, servers):
        if event.get("event") == "done":
            return dict(event["failed"])
        on_event(event)
    raise GatewayNotRunning("the gateway ended before it was done", hint="see `mcp-compose logs gateway`")
