"""What the tests of clients share: one gateway, as clients reach it."""

from __future__ import annotations

from mcpcompose.clients.choice import Gateway
from mcpcompose.clients.entries import Stdio

URL = "http://127.0.0.1:26312/mcp"
TOKEN = "mcpc_Zm9yLXRlc3RzLW9ubHktbm90aGluZy1lbHNl"
HERE = Stdio(
    "/opt/mcp-compose", ("--file=/p/mcp-compose.yaml", "run", "--stdio", "--client", "x"), {"DOCKER_HOST": "unix:///d"}
)
THERE = Stdio("mcp-compose", ("run", "--stdio"))


def gateway(*, fixed: bool = False, is_open: bool = False, endpoint: str | None = URL) -> Gateway:
    """A gateway that was up."""
    return Gateway(endpoint, fixed, is_open, lambda: TOKEN, HERE, THERE)
