"""The gateway as a process of its own: found when it runs, started when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mcpcompose.actions.admin_client import AdminClient
from mcpcompose.actions.locate import Place
from mcpcompose.actions.lock import holder
from mcpcompose.errors import GatewayRunning, McpComposeError
from mcpcompose.paths import private_folder

_PATIENCE: Final = 30.0
_LOOK_EVERY: Final = 0.01
_ENDING: Final = 5.0
_DOWN: Final = 60.0
"""Seconds that a gateway which takes everything down may take."""
ENDED: Final = 0
"""The exit code of a gateway that had nothing to serve: what began early, while nobody came."""
TAKEN: Final = 75
"""The exit code of a gateway that finds another one holding the lock (EX_TEMPFAIL)."""
_begun: Final[dict[Path, subprocess.Popen[bytes]]] = {}
"""By its admin socket, what `begin` started."""


def running_gateway(place: Place) -> AdminClient | None:
    """The project's running gateway."""
    client = AdminClient(place.paths.admin_socket)
    return client if client.answers() else None


def begin(place: Place) -> None:
    """Start the project's gateway if none runs, for an `ensure_gateway` soon after: it needs a while to be there."""
    if running_gateway(place) is None and holder(place.paths) is None:
        _begun[place.paths.admin_socket] = _spawn(place)


def ensure_gateway(place: Place) -> tuple[AdminClient, subprocess.Popen[bytes] | None]:
    """
    The project's running gateway, started if need be, and its process if it was.

    It ends by itself when it is given nothing that it can serve.
    """
    client = AdminClient(place.paths.admin_socket)
    process = _begun.pop(place.paths.admin_socket, None)
    end = time.monotonic() + _PATIENCE
    while not client.answers():
        if process is not None and process.poll() not in {None, ENDED, TAKEN}:
            raise _did_not_start(place)
        if (process is None or process.poll() is not None) and holder(place.paths) is None:
            process = _spawn(place)
        if time.monotonic() > end:
            raise _does_not_answer(place)
        time.sleep(_LOOK_EVERY)
    return client, process


def wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Wait (bounded) until a gateway that has nothing to serve is gone."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING)


def wait_until_gone(pid: int) -> None:
    """Wait (bounded) until another process's process is gone."""
    end = time.monotonic() + _ENDING
    while _runs(pid) and time.monotonic() < end:
        time.sleep(_LOOK_EVERY)


def _runs(pid: int) -> bool:
    """Not so one that has ended and whose parent has not looked yet: the first process of many containers is slow."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:  # ended just now, or a system without /proc
        return not Path("/proc/self").exists()
    except OSError:
        return False
    return state[:1] not in (["Z"], ["X"])


def wait_until_free(place: Place) -> None:
    """Wait until no gateway holds the project. Raises `GatewayRunning` when one does not end."""
    end = time.monotonic() + _DOWN
    while (pid := holder(place.paths)) is not None:
        if time.monotonic() > end:
            raise GatewayRunning(
                f"the gateway (process {pid}) does not end", hint=f"end it with `kill {pid}` and try again"
            )
        time.sleep(_LOOK_EVERY)


def output_file(place: Place) -> Path:
    """Where the process writes what goes past its log; empty as a rule."""
    return place.paths.logs / "mcp_compose.out"


def _spawn(place: Place) -> subprocess.Popen[bytes]:
    """A detached process in its own session; `-P` keeps the project's folder out of Python's module path."""
    place.paths.make()
    private_folder(place.paths.logs)
    descriptor = os.open(
        output_file(place), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        return subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-P", "-m", "mcpcompose", "gateway", "serve", place.name, str(place.directory)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=place.directory,
            env=dict(place.options.environ),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _did_not_start(place: Place) -> McpComposeError:
    try:
        said = output_file(place).read_text(errors="replace").strip().splitlines()[-5:]
    except OSError:
        said = []
    return McpComposeError("\n".join(["the gateway did not start", *said]), hint="see `mcp-compose logs gateway`")


def _does_not_answer(place: Place) -> McpComposeError:
    pid = holder(place.paths)
    if pid is None:
        return McpComposeError("the gateway did not start in time", hint="see `mcp-compose logs gateway`")
    return GatewayRunning(
        f"a gateway of this project runs as process {pid} and does not answer",
        hint=f"end it with `kill {pid}` and try again",
    )
