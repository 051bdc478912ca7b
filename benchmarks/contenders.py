"""The gateways that are measured, each in front of the same server in a container, and gone afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import docker
import psutil

from harness.containers import BASE_IMAGE
from harness.load import Target
from harness.wait import until
from harness.workspace import Workspace

HERE = Path(__file__).parent
SERVERS = HERE / "servers"
LINES = ["python3", "-u", "/servers/lines.py"]


@dataclass
class Contender:
    """
    One gateway that runs. Without a process of ours its CPU and memory are not known; *eras* are what it speaks.

    No bound needs the exact figures of one that *is_other*.
    """

    name: str
    target: Target
    process: psutil.Process | None = None
    eras: tuple[str, ...] = ("legacy", "modern")
    is_other: bool = False

    def cpu(self) -> float:
        """CPU seconds so far."""
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        """Resident MiB."""
        return self.process.memory_info().rss / 2**20 if self.process is not None else 0.0


def declared(**keys: Any) -> dict[str, Any]:
    """The measured server in a container, as an entry of the compose file."""
    return {"image": BASE_IMAGE, "command": LINES, "volumes": [f"{SERVERS}:/servers:ro"], **keys}


@contextmanager
def ours(
    servers: dict[str, Any] | None = None, tool: str = "s__echo", name: str = "mcp-compose", **top: Any
) -> Iterator[tuple[Contender, Workspace]]:
    """`mcp-compose up -d`, as anybody would: the token is checked, nothing is switched off; *top*: keys of the file."""
    workspace = Workspace()
    try:
        workspace.save(servers or {"s": declared()}, **top)
        workspace.run("trust", "--all", code=None)  # the folder of the server's program is not in the project's
        workspace.up(bound=900)
        workspace.when_ready(bound=900)
        target = Target(workspace.endpoint(), workspace.token(), tool)
        yield Contender(name, target, workspace.gateway()), workspace
    finally:
        workspace.destroy()


@contextmanager
def container() -> Iterator[str]:
    """The measured server in a container of its own, with the CPU that ours has; its id."""
    client = docker.from_env(timeout=60)
    made = client.containers.create(
        BASE_IMAGE,
        LINES,
        stdin_open=True,
        volumes=[f"{SERVERS}:/servers:ro"],
        network_mode="none",
        init=True,
        nano_cpus=1_000_000_000,
        log_config={"Type": "none"},
    )
    try:
        made.start()
        yield str(made.id)
    finally:
        made.remove(force=True)
        client.close()


@contextmanager
def forwarder() -> Iterator[Contender]:
    """The bare forwarder."""
    with container() as made, spawned([sys.executable, str(HERE / "forwarder.py"), made, "{port}"]) as (process, port):
        yield Contender("bare forwarder", Target(f"http://127.0.0.1:{port}/mcp"), process)


@contextmanager
def direct(**environ: str) -> Iterator[Contender]:
    """The same server over HTTP, with nothing in front."""
    with spawned([sys.executable, str(SERVERS / "web.py"), "{port}"], **environ) as (process, port):
        yield Contender("direct (HTTP)", Target(f"http://127.0.0.1:{port}/mcp"), process)


@contextmanager
def spawned(command: list[str], **environ: str) -> Iterator[tuple[psutil.Process, int]]:
    """A process of ours that listens on a free port; its output is shown when it does not."""
    port = free_port()
    with tempfile.TemporaryFile("w+") as output:
        words = [word.format(port=port) for word in command]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environ}
        )
        try:
            until(lambda: process.poll() is not None or _listens(port), f"{words[0]} listens", 90)
            if process.poll() is not None:
                output.seek(0)
                raise AssertionError(f"`{' '.join(words)}` ended: {output.read()[-2000:]}")
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
