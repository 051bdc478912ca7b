"""
A small MCP server with nothing but Python: newline-delimited JSON-RPC on its standard streams.

It remembers every call it got (`seen`), so that a scenario can tell lost and repeated ones. The environment
sets it up: `WAIT_FOR` is a file to wait for before it answers, `TOOLS` are further tools' names,
`NOISE` is written to stderr at the start and with every call.
"""

from __future__ import annotations

import json
import os
import sys
import time

calls: list[str] = []


def tool(name: str) -> dict[str, object]:
    return {
        "name": name,
        "description": f"The tool {name}",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    }


def tools() -> list[dict[str, object]]:
    return [tool(name) for name in ("echo", "seen", "env", "read", *os.environ.get("TOOLS", "").split())]


def call(name: str, arguments: dict[str, str]) -> str:
    text = arguments.get("text", "")
    if name == "seen":
        return json.dumps(calls)
    if name == "env":
        return os.environ.get(text, "")
    if name == "read":
        with open(text) as file:
            return file.read()
    calls.append(text)
    return text


def answer(method: str, params: dict[str, object]) -> dict[str, object] | None:
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "version": os.environ.get("VERSION", "1")},
        }
    if method == "tools/list":
        return {"tools": tools()}
    if method == "tools/call":
        content = [{"type": "text", "text": call(str(params["name"]), params.get("arguments") or {})}]  # type: ignore[arg-type]
        return {"content": content}
    return {} if method == "ping" else None


def main() -> None:
    noise = os.environ.get("NOISE", "")
    if noise:
        print(noise, file=sys.stderr, flush=True)
    while (path := os.environ.get("WAIT_FOR")) and not os.path.exists(path):
        time.sleep(0.05)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        if noise:
            print(noise, file=sys.stderr, flush=True)
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            result = answer(message["method"], message.get("params") or {})
        except OSError as error:
            result = {"content": [{"type": "text", "text": str(error)}], "isError": True}
        if result is None:
            reply["error"] = {"code": -32601, "message": "no such method"}
        else:
            reply["result"] = result
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


main()
