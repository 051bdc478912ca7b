# ruff: noqa: PTH112, PTH118, PTH120, PTH208
"""
An MCP server that looks for planted values everywhere it gets to: `probe` says what it found, by place.

It knows what they look like, not what they are. With `PROBE_HTTP` it is served over HTTP on port 8000, where whoever
reaches it gets its own secrets: a neighbour that could would have them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLANTED = re.compile(rb"planted-[a-z]+-[0-9a-f]{32}")
MOST = 4 << 20


def values(content: bytes) -> list[str]:
    return sorted({match.decode() for match in PLANTED.findall(content)})


def read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(descriptor, MOST)
        finally:
            os.close(descriptor)
    except OSError:
        return b""


def files(top: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    for folder, folders, names in os.walk(top, onerror=lambda _error: None):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
        yield from (os.path.join(folder, name) for name in names)


def of_files() -> list[str]:
    found: set[str] = set()
    for path in files("/", ("/proc", "/sys", "/usr/lib", "/usr/share", "/programs")):
        if stat.S_ISREG(_mode(path)):
            found.update(values(read(path)))
    return sorted(found)


def of_processes() -> list[str]:
    """What every process of this machine that can be seen has: environment, arguments, open files, its own root."""
    found: set[str] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline", "mountinfo", "maps"):
            found.update(values(read(f"/proc/{pid}/{name}")))
        for folder in ("fd", "root/run/secrets", "cwd"):
            for path in _entries(f"/proc/{pid}/{folder}"):
                found.update(values(read(path)))
    for path in files("/proc/sys") if os.path.isdir("/proc/sys") else ():
        found.update(values(read(path)))
    for path in (
        "/proc/keys",
        "/proc/key-users",
        "/proc/kmsg",
        "/proc/net/unix",
        "/proc/kcore",
        "/dev/mem",
        "/dev/kmsg",
    ):
        found.update(values(read(path)))
    return sorted(found)


def of_mounts() -> list[str]:
    """What lies beside the sources of this container's mounts: their paths on the host are in `mountinfo`."""
    found: set[str] = set()
    roots = [line.split()[3] for line in read("/proc/self/mountinfo").decode().splitlines()]
    for root in roots:
        for place in (root, os.path.dirname(root), os.path.dirname(os.path.dirname(root))):
            for path in [place, *_entries(place)]:
                found.update(values(read(path)))
    for link in ("/run/secrets/..", "/run/secrets/../..", "/run/secrets/../secrets"):
        for path in files(link, ("/proc", "/sys")) if link != "/run/secrets/../.." else ():
            found.update(values(read(path)))
    return sorted(found)


def of_sockets() -> dict[str, str]:
    """Every unix socket that can be seen, asked as an engine and as our own admin API."""
    said: dict[str, str] = {}
    known = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
    for path in (*known, *(path for path in files("/", ("/proc", "/sys")) if stat.S_ISSOCK(_mode(path)))):
        for request in (b"GET /containers/json HTTP/1.0\r\n\r\n", b"GET /status HTTP/1.0\r\n\r\n"):
            if answer := _ask(socket.AF_UNIX, path, request):
                said[path] = answer.decode(errors="replace")
    return said


def of_network(targets: list[str]) -> dict[str, str]:
    """What *targets* (`host:port`) say: the other servers, the gateway, the engine, under every address they have."""

    def ask(target: str) -> bytes:
        host, _, port = target.rpartition(":")
        return _ask(socket.AF_INET, (host, int(port)), b"GET /containers/json HTTP/1.0\r\nHost: x\r\n\r\n")

    with ThreadPoolExecutor(64) as all_at_once:
        answers = zip(targets, all_at_once.map(ask, targets), strict=True)
        return {target: answer.decode(errors="replace")[:2000] for target, answer in answers if answer}


def _ask(family: int, address: object, request: bytes) -> bytes:
    try:
        with socket.socket(family) as one:
            one.settimeout(0.4)
            one.connect(address)  # type: ignore[arg-type]
            one.sendall(request)
            return one.recv(1 << 16)
    except OSError:
        return b""


def _entries(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        return []


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def probe(arguments: dict[str, object]) -> dict[str, object]:
    targets = arguments.get("targets")
    return {
        "environment": values(json.dumps(dict(os.environ)).encode()),
        "files": of_files(),
        "processes": of_processes(),
        "mounts": of_mounts(),
        "sockets": of_sockets(),
        "network": of_network(targets if isinstance(targets, list) else []),
        "pids": len(list(filter(str.isdigit, os.listdir("/proc")))),
    }


def result(method: str, params: dict[str, object]) -> dict[str, object]:
    if method == "initialize":
        info = {"name": "probe", "version": "1"}
        version = params.get("protocolVersion", "2025-06-18")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": [{"name": "probe", "description": "Looks around.", "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        arguments = params.get("arguments")
        found = probe(arguments if isinstance(arguments, dict) else {})
        return {"content": [{"type": "text", "text": json.dumps(found)}]}
    return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        own = json.dumps(dict(os.environ)) + "".join(read(path).decode() for path in _entries("/run/secrets"))
        self._send(200, own.encode())

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = {
            "jsonrpc": "2.0",
            "id": message.get("id"),
            "result": result(message["method"], message.get("params") or {}),
        }
        self._send(200 if "id" in message else 202, json.dumps(reply).encode() if "id" in message else b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


def main() -> None:
    if os.environ.get("PROBE_HTTP"):
        ThreadingHTTPServer(("", 8000), Handler).serve_forever()
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            answer = result(request["method"], request.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer}), flush=True)


main()
