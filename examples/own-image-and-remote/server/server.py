"""A server of one's own: two tools, streamable HTTP."""

import os

from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")
notes: list[str] = []


@server.tool()
def add_note(text: str) -> str:
    """Keep a note until the server is replaced."""
    notes.append(text)
    return f"{os.environ.get('GREETING', 'hello')}, that makes {len(notes)}"


@server.tool()
def list_notes() -> list[str]:
    """All notes, oldest first."""
    return notes


if __name__ == "__main__":
    server.run("streamable-http", host="0.0.0.0", port=8000)  # noqa: S104  the container's own network
