"""A server on the SDK: tools, prompts, resources, progress; over stdio, or over HTTP on a port (`PORT`, `PORT sse`)."""

from __future__ import annotations

import asyncio
import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("everyday", instructions="Ask me anything.")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def slow(ctx: Context, steps: int = 3) -> str:
    """Report progress, then end."""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        await asyncio.sleep(0.01)
    return "done"


@server.tool()
async def forever() -> str:
    """Never end."""
    await asyncio.sleep(3600)
    return "never"


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}"


@server.resource("memo://today")
def today() -> str:
    """Today's memo."""
    return "buy milk"


@server.resource("memo://{day}/entry")
def entry(day: str) -> str:
    """One day's memo."""
    return f"memo of {day}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("sse" if "sse" in sys.argv else "streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
