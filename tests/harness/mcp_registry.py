"""An MCP registry on loopback that answers in the shape of the API, of `/v0.1` or of the older `/v0`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

OFFICIAL = "io.modelcontextprotocol.registry/official"


@dataclass
class McpRegistry:
    """*servers*: `server.json` documents, the newest version of each last. *revision*: the only one it speaks."""

    servers: list[dict[str, Any]]
    revision: str = "v0.1"
    broken: int | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def item(self, server: dict[str, Any]) -> dict[str, Any]:
        newest = [one for one in self.servers if one["name"] == server["name"]][-1]
        meta = {
            "status": server.get("x-status", "active"),
            "publishedAt": "2026-01-01T00:00:00Z",
            "isLatest": server is newest,
        }
        if "x-message" in server:
            meta["statusMessage"] = server["x-message"]
        return {"server": {k: v for k, v in server.items() if not k.startswith("x-")}, "_meta": {OFFICIAL: meta}}

    def answer(self, target: str) -> tuple[int, Any]:
        self.asked.append(target)
        if self.broken is not None:
            return self.broken, "<html>sorry</html>"
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        segments = [unquote(one) for one in parts.path.strip("/").split("/")]
        if segments[:2] != [self.revision, "servers"]:
            return 404, {"error": "not found"}
        if len(segments) == 5 and segments[3] == "versions":
            return self._one(segments[2], segments[4])
        if len(segments) != 2:
            return 404, {"error": "not found"}
        items = [self.item(one) for one in self.servers]
        if query.get("version") == "latest":
            items = [one for one in items if one["_meta"][OFFICIAL]["isLatest"]]
        items = [one for one in items if query.get("search", "") in one["server"]["name"]]
        start, limit = int(query.get("cursor", "0")), min(int(query.get("limit", "30")), 100)
        page: dict[str, Any] = {
            "servers": items[start : start + limit],
            "metadata": {"count": len(items[start : start + limit])},
        }
        if start + limit < len(items):
            page["metadata"]["nextCursor"] = str(start + limit)
        return 200, page

    def _one(self, name: str, version: str) -> tuple[int, Any]:
        found = [one for one in self.servers if one["name"] == name and version in {"latest", one["version"]}]
        return (200, self.item(found[-1])) if found else (404, {"error": "Server not found"})


@contextmanager
def serving(registry: McpRegistry) -> Iterator[McpRegistry]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = registry.answer(self.path)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
