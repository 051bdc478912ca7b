"""
The client that the suite's client scenarios start: an SDK client, with our gateway between it and the suite's server.

Called with the URL of the suite's server; `MCP_CONFORMANCE_SCENARIO` names the scenario. With `CONFORMANCE_DIRECT` set
the client goes straight there, which shows what the SDK's client does by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client
from mcp_types import ElicitResult

from conformance import stage

WIRES = {"legacy": "2025-11-25", "modern": "2026-07-28"}
SCENARIOS: dict[str, tuple[str, ...]] = {
    "initialize": ("legacy",),
    "tools_call": ("legacy", "modern"),
    "elicitation-sep1034-client-defaults": ("legacy",),
    "sse-retry": ("legacy",),
    "request-metadata": ("modern",),
    "sep-2322-client-request-state": ("modern",),
    "http-standard-headers": ("modern",),
    "http-custom-headers": ("modern",),
    "http-invalid-tool-headers": ("modern",),
    "json-schema-ref-no-deref": ("modern",),
    "json-schema-2020-12-preservation": ("legacy", "modern"),
}
"""Those that concern what we are towards a server; the OAuth ones wait for our OAuth."""


async def elicit(context: Any, params: Any) -> ElicitResult:
    """Accept a form as it is filled in already; confirm what has nothing filled in."""
    fields = params.requested_schema["properties"]
    filled = {name: field["default"] for name, field in fields.items() if "default" in field}
    return ElicitResult(action="accept", content=filled or dict.fromkeys(fields, True))


async def list_tools(client: Client) -> None:
    await client.list_tools()


async def add(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("add_numbers", {"a": 5, "b": 3})


async def call_everything(client: Client) -> None:
    """Call each listed tool, with something for each argument that it must have."""
    fitting = {"string": "words", "integer": 1, "number": 1.5, "boolean": True, "object": {}, "array": [], "null": None}
    for tool in (await client.list_tools()).tools:
        fields = tool.input_schema.get("properties", {})
        given = {name: fitting[fields[name]["type"]] for name in tool.input_schema.get("required", [])}
        await client.call_tool(tool.name, given)


async def read_everything(client: Client) -> None:
    await call_everything(client)
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


async def told_calls(client: Client) -> None:
    await client.list_tools()
    for call in json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]:
        await client.call_tool(call["name"], call["arguments"])


async def echo_schema(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    await client.call_tool("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"].input_schema})


DRIVERS: dict[str, Callable[[Client], Awaitable[None]]] = {
    "initialize": list_tools,
    "tools_call": add,
    "elicitation-sep1034-client-defaults": call_everything,
    "sse-retry": call_everything,
    "request-metadata": list_tools,
    "sep-2322-client-request-state": call_everything,
    "http-standard-headers": read_everything,
    "http-custom-headers": told_calls,
    "http-invalid-tool-headers": call_everything,
    "json-schema-ref-no-deref": list_tools,
    "json-schema-2020-12-preservation": echo_schema,
}


ASKING = {"elicitation-sep1034-client-defaults", "sep-2322-client-request-state"}


@asynccontextmanager
async def client(url: str, mode: str, scenario: str) -> AsyncIterator[Client]:
    """Connect to the suite's server, through a gateway of its own or straight; who is never asked offers nothing."""
    callbacks: dict[str, Any] = {"elicitation_callback": elicit} if scenario in ASKING else {}
    if os.environ.get("CONFORMANCE_DIRECT"):
        async with Client(url, mode=mode, **callbacks) as connected:
            yield connected
        return
    with stage.gateway("http", url=url) as workspace:
        async with workspace.client(mode, stage.ENDPOINTS["server"], **callbacks) as connected:
            yield connected


async def main() -> None:
    """Drive the scenario; a modern client finds out what the server speaks."""
    modern = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] == WIRES["modern"]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    async with client(sys.argv[1], "auto" if modern else "legacy", scenario) as connected:
        await DRIVERS[scenario](connected)


if __name__ == "__main__":
    asyncio.run(main())
