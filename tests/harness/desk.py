"""The command line through its front door: a process, a project folder of its own, nothing of this user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from harness import warm
from harness.wait import until, until_ended

REPOSITORY = Path(__file__).parents[2]
ECHO = """\
import json, os, sys

print("echo starts", file=sys.stderr, flush=True)
def send(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()

TOOLS = [{"name": name, "description": "Says it again.", "inputSchema": {"type": "object"}}
         for name in os.environ.get("TOOLS", "echo").split(",")]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "echo", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        text = os.environ.get("GREETING", "") + str(params.get("arguments", {}).get("text", ""))
        result = {"content": [{"type": "text", "text": text}],
                  "isError": params.get("arguments", {}).get("fail", False)}
    else:
        send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no such method"}})
        continue
    send({"jsonrpc": "2.0", "id": message["id"], "result": result})
"""


class Desk:
    """One person at one project folder, on a machine of their own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.project = base / "p"
        self.project.mkdir()
        self.home = base / "h"
        (self.project / "echo.py").write_text(ECHO)
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MCP_COMPOSE_")},
            "MCP_COMPOSE_HOME": str(self.home),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.command = warm.COMMAND

    def write(self, text: str, name: str = "mcp-compose.yaml") -> Path:
        """Save a file as editors do, by rename."""
        file = self.project / name
        draft = self.project / f".{name}.new"
        draft.write_text(text)
        return draft.rename(file)

    def servers(self, **servers: dict[str, Any]) -> None:
        """Save a file with these servers on the process engine; each runs the echo program."""
        named = {name: {"process": [sys.executable, "-u", "echo.py"], **keys} for name, keys in servers.items()}
        self.write(f"name: desk\nengine: process\nservers: {json.dumps(named)}\n")

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return warm.run(self.command, arguments, self.project, self.environ, stdin=stdin or "", bound=60)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command that succeeds prints."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds prints with `--format json`."""
        return json.loads(self.ok(*arguments, "--format", "json"))

    def up(self) -> str:
        """Approve everything and bring it up in the background."""
        self.ok("trust", "--all")
        return self.ok("up", "-d")

    def state(self, server: str) -> dict[str, Any]:
        """One server of `ps`."""
        return next((one for one in self.json("ps")["servers"] if one["server"] == server), {})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that stays."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this machine of theirs."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MCP_COMPOSE_HOME") == str(self.home) or str(self.base) in process.cwd():
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return [one for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def gateway(self) -> psutil.Process:
        """The gateway's process."""
        return psutil.Process(self.json("ps")["gateway"]["pid"])

    def leave(self) -> None:
        """End what is left, by its pid."""
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            until_ended(process)


def eventually(condition: Callable[[], Any], bound: float = 20.0) -> Any:
    """The first true value of *condition*, within *bound* seconds."""
    return until(condition, "what was to be", bound)
