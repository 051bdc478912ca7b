"""An MCP server over stdio (or HTTP on `PORT`) whose one tool runs Python code, and says what it printed or raised."""

import io
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

socket.setdefaulttimeout(4)
LOCK = threading.Lock()
TOOL = {
    "name": "run",
    "description": "Runs code.",
    "inputSchema": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
}


def run(code: str) -> str:
    out = io.StringIO()
    try:
        exec(code, {"print": lambda *said: print(*said, file=out)})
    except BaseException as error:  # noqa: BLE001  told to the test
        return f"{out.getvalue()}raised {type(error).__name__}: {error}"
    return out.getvalue()


def serve(line: str) -> None:
    if said := answer(json.loads(line)):
        with LOCK:
            print(json.dumps(said), flush=True)


def answer(message: dict) -> dict | None:
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        result = {**said, "serverInfo": {"name": "prober", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [TOOL]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": run(params["arguments"]["code"])}]}
    elif "id" in message:
        result = {}
    else:
        return None
    return {"jsonrpc": "2.0", "id": message["id"], "result": result} if "id" in message else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        said = answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = json.dumps(said).encode() if said else b""
        self.send_response(200 if said else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(405)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object):
        pass


if __name__ == "__main__":
    if port := os.environ.get("PORT"):
        ThreadingHTTPServer(("0.0.0.0", int(port)), Handler).serve_forever()
    for line in sys.stdin:
        threading.Thread(target=serve, args=(line,), daemon=True).start()
