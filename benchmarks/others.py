"""The other gateways: from the package index in environments of their own, or whatever answers at a URL."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from contenders import HERE, LINES, SERVERS, Contender, spawned

from harness.containers import BASE_IMAGE
from harness.load import Target

FASTMCP = "fastmcp==4.1.2"
MCP_PROXY = "mcp-proxy==0.13.0"
"""The newest releases of 2026-11."""


@contextmanager
def fastmcp() -> Iterator[Contender]:
    """FastMCP's proxy in front of the container, as its documentation sets one up."""
    python = environment(FASTMCP) / "python"
    command = [str(python), str(HERE / "fastmcp_proxy.py"), "{port}", *_docker_run()]
    with spawned(command) as (process, port):
        yield Contender("FastMCP proxy", Target(f"http://127.0.0.1:{port}/mcp"), process, is_other=True)


@contextmanager
def mcp_proxy() -> Iterator[Contender]:
    """mcp-proxy in front of the container."""
    program = environment(MCP_PROXY) / "mcp-proxy"
    command = [str(program), "--port", "{port}", "--pass-environment", "--", *_docker_run()]
    with spawned(command) as (process, port):
        yield Contender("mcp-proxy", Target(f"http://127.0.0.1:{port}/mcp"), process, eras=("legacy",), is_other=True)


def at_url(described: str) -> Contender:
    """
    A gateway that runs already: `NAME=URL`, or `NAME=URL,PID` to measure its process.

    It must have the measured server behind it (`benchmarks/servers/lines.py` or `web.py`), with `echo` under
    any name that ends so. `TOKEN_NAME` in the environment is its bearer token.
    """
    name, _, rest = described.partition("=")
    url, _, pid = rest.partition(",")
    if urlsplit(url).scheme != "http" or not name:
        raise SystemExit(f"bench: `--url {described}` is not NAME=http://HOST:PORT/PATH[,PID]")
    token = os.environ.get(f"TOKEN_{name.upper()}")
    return Contender(name, Target(url, token, tool=""), psutil.Process(int(pid)) if pid else None)


def environment(requirement: str) -> Path:
    """The `bin` folder of a virtual environment in the user's cache that has *requirement*; made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-compose-benchmarks"
    key = hashlib.sha256(f"{requirement} {sys.version}".encode()).hexdigest()[:12]
    folder = cache / f"{requirement.partition('=')[0]}-{key}"
    done = folder / "installed.json"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"bench: installing {requirement} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, requirement], check=True, stdout=sys.stderr)
        done.write_text(json.dumps(requirement))
    return folder / "bin"


def _docker_run() -> list[str]:
    hardening = ["--network", "none", "--init", "--cpus", "1", "--log-driver", "none"]
    return ["docker", "run", "--rm", "-i", *hardening, "-v", f"{SERVERS}:/servers:ro", BASE_IMAGE, *LINES]
