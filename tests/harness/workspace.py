"""One project in a folder of its own, with its own state, driven through the command line as a person does."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from ruamel.yaml import YAML

from harness import warm
from harness.containers import BASE_IMAGE, Containers
from harness.wait import until, until_ended

PROGRAMS = Path(__file__).parent.parent / "e2e" / "servers"
COMMAND = warm.COMMAND


class Workspace:
    """
    A project folder and everything `mcp-compose` keeps for it.

    The environment of its commands is this process's own, without `MCP_COMPOSE_*`, plus *environ*.
    """

    def __init__(self, name: str | None = None, **environ: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="mct-", dir="/tmp"))
        self.directory = self.base / "project"
        self.directory.mkdir()
        self.home = self.base / "home"
        self.name = name or f"t{uuid.uuid4().hex[:10]}"
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MCP_COMPOSE_")},
            "MCP_COMPOSE_HOME": str(self.home),
            "MCP_COMPOSE_PYPI_RUNNER": BASE_IMAGE,
            "MCP_COMPOSE_NPM_RUNNER": BASE_IMAGE,
            **environ,
        }
        shutil.copytree(PROGRAMS, self.directory / "programs", ignore=shutil.ignore_patterns("__pycache__"))

    # --- the file

    @property
    def file(self) -> Path:
        """The compose file."""
        return self.directory / "mcp-compose.yaml"

    def save(self, servers: Mapping[str, Any], **top: Any) -> None:
        """Write the compose file the way editors do: a new file renamed over the old one."""
        text = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.dump({"name": self.name, **top, "servers": dict(servers)}, text)
        self.save_text(text.getvalue())

    def save_text(self, text: str) -> None:
        """Write *text* as the compose file, by rename."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.file)

    # --- commands

    def run(self, *arguments: str, code: int | None = 0, bound: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run one command; fails when its exit code is not *code* (None: any)."""
        done = warm.run(COMMAND, arguments, self.directory, self.environ, bound=bound)
        if code is not None and done.returncode != code:
            command = " ".join(arguments)
            raise AssertionError(f"`{command}` exited {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}")
        return done

    def up(self, *arguments: str, code: int | None = 0, bound: float = 120.0) -> subprocess.CompletedProcess[str]:
        """`up -d`."""
        return self.run("up", "-d", *arguments, code=code, bound=bound)

    def status(self) -> dict[str, Any]:
        """What `ps --format json` says."""
        return json.loads(self.run("ps", "--format", "json").stdout)

    def servers(self) -> dict[str, dict[str, Any]]:
        """The servers of `ps` by name."""
        return {server["server"]: server for server in self.status()["servers"]}

    def when_ready(self, *names: str, bound: float = 60.0) -> None:
        """Wait until these servers are ready; none named means all."""

        def ready() -> bool:
            servers = self.servers()
            return bool(servers) and all(servers.get(n, {}).get("state") == "ready" for n in names or servers)

        try:
            until(ready, f"servers {names or 'all'} ready", bound)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.run('ps', code=None).stdout}\n{self.log()}") from None

    def log(self) -> str:
        """Everything in the project's log files."""
        files = sorted(self.home.glob("state/**/*.log*"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')}" for file in files)

    # --- the gateway

    def gateway(self) -> psutil.Process:
        """The one gateway process of this project."""
        found = self.gateways()
        assert len(found) == 1, f"{len(found)} gateways run"
        return found[0]

    def gateways(self) -> list[psutil.Process]:
        """The gateway processes of this project, told by the folder their state is in."""
        return [process for process in self.processes() if "gateway" in _command_line(process)]

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this workspace or has its state folder in its environment, and descendants."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            try:
                works_here = Path(process.cwd()).is_relative_to(self.base)
                if works_here or process.environ().get("MCP_COMPOSE_HOME") == str(self.home):
                    found[process.pid] = process
                    found.update({child.pid: child for child in process.children(recursive=True)})
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return [p for p in found.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def entry(self, client: str = "default") -> dict[str, Any]:
        """What `client config` prints for an HTTP client, token included: somebody asked for it."""
        done = self.run("client", "config", client, "--http", "--show-token", "--format", "json")
        (entry,) = json.loads(done.stdout)["http"].values()
        return dict(entry)

    def endpoint(self, path: str = "/mcp") -> str:
        """The gateway's URL for *path*."""
        return str(self.status()["endpoint"]).removesuffix("/mcp") + path

    def token(self, client: str = "default") -> str:
        """The client's token, asked for as a person does."""
        return str(self.entry(client)["headers"]["Authorization"]).removeprefix("Bearer ")

    @asynccontextmanager
    async def client(
        self, mode: str = "legacy", path: str = "/mcp", name: str = "default", **options: Any
    ) -> AsyncIterator[Client]:
        """The SDK's client over HTTP; *mode* is `legacy`, `auto` or a modern protocol revision."""
        headers = {"Authorization": f"Bearer {self.token(name)}"}
        limits = httpx2.Timeout(60.0)
        async with httpx2.AsyncClient(headers=headers, timeout=limits, follow_redirects=True) as http:
            transport = streamable_http_client(self.endpoint(path), http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client

    def stdio(self) -> StdioServerParameters:
        """How a client spawns `run --stdio`."""
        environ = {**self.environ, "PYTHONUNBUFFERED": "1"}
        return StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:], "run", "--stdio"], env=environ, cwd=self.directory
        )

    # --- the end

    def destroy(self) -> None:
        """Take the project down, end what is left by its pid, remove the folder."""
        if self.file.exists():
            self.run("down", "-v", code=None, bound=120)
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            until_ended(process)
        shutil.rmtree(self.base, ignore_errors=True)


def echo(**keys: Any) -> dict[str, Any]:
    """A container server that runs `programs/echo.py` on the base image."""
    return program("echo.py", **keys)


def program(file: str, **keys: Any) -> dict[str, Any]:
    """A container server that runs one of `programs/`."""
    volumes = ["./programs:/programs:ro", *keys.pop("volumes", [])]
    return {"image": BASE_IMAGE, "command": ["python3", "-u", f"/programs/{file}"], "volumes": volumes, **keys}


def text(result: Any) -> str:
    """The text of a tool's result."""
    assert not result.is_error, result
    return "".join(item.text for item in result.content)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


__all__ = ["BASE_IMAGE", "COMMAND", "Containers", "Workspace", "echo", "program", "text"]
