"""The conformance server by itself, and our gateway in front of it with a decoy beside it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.containers import BASE_IMAGE
from harness.wait import until
from harness.workspace import Workspace, program

MODERN_WIRE = "2026-07-28"

SERVER = "x"
TESTS = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "everything"
COMMAND = ["python3", "-m", "conformance.everything"]
ENDPOINTS = {"server": f"/servers/{SERVER}/mcp", "aggregate": "/mcp"}


@contextmanager
def http_server(*arguments: str) -> Iterator[str]:
    """Run the server on a free port; gives its URL."""
    port = _free_port()
    command = [sys.executable, "-m", "conformance.everything", "--http", str(port), *arguments]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)}) as process:
        try:
            until(lambda: _listens(port) or process.poll() is not None, "the server listens")
            if process.poll() is not None:
                raise RuntimeError("the conformance server does not start")
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def era_on_stdio(wire: str) -> str:
    """The era in which a server on stdio is spoken to when nothing is to come between it and a client on *wire*."""
    return "modern" if wire == MODERN_WIRE else "legacy"


@contextmanager
def gateway(upstream: str, era: str = "auto", *, url: str = "", server_era: str = "both") -> Iterator[Workspace]:
    """
    Bring up a project with the server as `x`, its names kept bare, and a decoy beside it.

    *upstream* is `http` (the server at *url*), `stdio` (in a container built for it) or `process`. A server on stdio
    speaks one era for as long as it runs: *era* says which, and clients of the other one are served across the eras.
    """
    workspace = Workspace()
    try:
        server = _server(workspace, upstream, url, server_era)
        contained = upstream == "stdio"
        echo = program("echo.py") if contained else {"process": [sys.executable, "-u", "programs/echo.py"]}
        top = {} if contained else {"engine": "process"}
        if upstream != "http" and era != "modern":  # on stdio a question does not say which call it belongs to
            server |= {"scope": "session", "instances": {"warm": 2}}
        # What it offers changes when its tests say so, which is what trust on first sight is there to hold back.
        servers = {SERVER: {**server, "era": era, "prefix": "", "integrity": "off"}, "decoy": echo}
        workspace.save(servers, gateway={"auth": "none"}, **top)
        workspace.run("trust", "--all", code=None)
        done = workspace.up(code=None, bound=600)
        if done.returncode:
            raise RuntimeError(f"`up` exited {done.returncode}:\n{done.stdout}\n{done.stderr}\n{workspace.log()}")
        workspace.when_ready(bound=120)
        yield workspace
    finally:
        workspace.destroy()


def _server(workspace: Workspace, upstream: str, url: str, era: str) -> dict[str, Any]:
    if upstream == "http":
        return {"url": url}
    if upstream == "process":
        return {
            "process": [sys.executable, "-m", "conformance.everything", "--era", era],
            "environment": {"PYTHONPATH": str(TESTS)},
        }
    shutil.copytree(FOLDER, workspace.directory / "everything", ignore=shutil.ignore_patterns("__pycache__"))
    return {"build": {"context": "./everything", "args": {"BASE": BASE_IMAGE}}, "command": [*COMMAND, "--era", era]}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
