"""The tools of a project as its clients see them, and calls through the same pipeline as theirs."""

from __future__ import annotations

from typing import Any

from mcpcompose.actions.admin_client import AdminClient
from mcpcompose.actions.locate import Place
from mcpcompose.errors import UpstreamError


def tools(place: Place, profile: str | None) -> list[dict[str, Any]]:
    """The exposed tools of *profile*, as MCP tool objects; `_mcpcompose` says whose they are."""
    return AdminClient(place.paths.admin_socket).tools(profile)


def withheld(place: Place) -> list[dict[str, Any]]:
    """The servers, as `ps` shows them, of which something is withheld or looks poisoned."""
    servers = AdminClient(place.paths.admin_socket).status()["servers"]
    return [server for server in servers if server.get("withheld") or server.get("findings")]


def call_tool(place: Place, tool: str, arguments: dict[str, Any], profile: str | None) -> dict[str, Any]:
    """The tool's result. Raises `UpstreamError` when the call was answered with an error."""
    request = {"tool": tool, "arguments": arguments, "profile": profile}
    answer = AdminClient(place.paths.admin_socket).call(request)
    if "error" in answer:
        raise UpstreamError(str(answer["error"].get("message")), hint="list the tools with `mcp-compose tools ls`")
    result: dict[str, Any] = answer["result"]
    return result
