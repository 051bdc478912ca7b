"""The echo server over streamable HTTP (JSON answers, no sessions), on port 8000; it wants the header in `HEADER`."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen_headers: dict[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen_headers.update(self.headers)
        if "id" not in message:
            self._send(202, b"")
            return
        reply = {"jsonrpc": "2.0", "id": message["id"], **outcome(message["method"], message.get("params") or {})}
        self._send(200, json.dumps(reply).encode())

    def do_GET(self) -> None:
        self._send(405, b"")

    do_DELETE = do_GET  # noqa: N815  the standard library's own name

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


def outcome(method: str, params: dict[str, dict[str, str]]) -> dict[str, object]:
    if method == "initialize":
        info = {"name": "web", "version": "1"}
        return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}}
    if method == "tools/list":
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        return {"result": {"tools": [{"name": "header", "description": "A header's value", "inputSchema": schema}]}}
    if method == "tools/call":
        name = params["arguments"].get("text", "").lower()
        value = {key.lower(): value for key, value in seen_headers.items()}.get(name, "")
        return {"result": {"content": [{"type": "text", "text": value}]}}
    if method == "ping":
        return {"result": {}}
    return {"error": {"code": -32601, "message": "no such method"}}


ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
