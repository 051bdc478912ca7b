"""
A program of the host as an interceptor runs it: in a session of its own, with nothing of our environment.

It ends with everything it started: its process group, and what left the group but carries its mark. What a killed
gateway left is ended by the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Final

from mcpcompose.engine.base import Receiver
from mcpcompose.engine.process_launch import LogPipe, ProcessStream, Strays, signal_group, spawn, watch
from mcpcompose.engine.process_records import MARK, PROC, start_time
from mcpcompose.interceptors.base import InterceptorFailed

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOG_RATE: Final = 256 << 10
"""Bytes of standard error that are taken in one second; a program that says more waits."""
_KIND: Final = "interceptor"
_KILL_SECONDS: Final = 5.0

Log = Callable[[bytes], None]


class HostProcesses:
    """
    Starts the processes of one interceptor of the project in *directory*, in *folder*.

    *host* is where `PATH` and `HOME` come from.
    """

    def __init__(self, directory: Path, folder: Path, host: Mapping[str, str], log: Callable[[], Log]) -> None:
        self._directory, self._folder, self._log = directory, folder, log
        self._ground = {"PATH": host.get("PATH") or DEFAULT_PATH, "HOME": host.get("HOME") or str(Path.home())}
        self._strays = Strays()
        self._sweep = asyncio.get_running_loop().create_task(asyncio.to_thread(end_orphans, directory))

    async def start(self, argv: Sequence[str], variables: Mapping[str, str]) -> HostProcess:
        """Start *argv* with *variables*. Raises `InterceptorFailed`."""
        mark = f"{mark_of(self._directory)}{secrets.token_hex(8)}"
        environment = {**self._ground, **variables, MARK: mark}
        try:
            child = await asyncio.to_thread(spawn, argv, environment, str(self._folder), None)
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it cannot be run"
            where = "" if self._folder.is_dir() else f" (the folder `{self._folder}` is not there)"
            raise InterceptorFailed(f"`{argv[0]}` cannot be started: {why}{where}") from None
        process = HostProcess(child, mark, self._strays)
        try:
            await process.connect(self._log())
        except BaseException:
            await process.end()
            raise
        return process

    async def close(self) -> None:
        """Wait for what is being ended."""
        await asyncio.wait({self._sweep})
        await self._strays.close()


class HostProcess:
    """One that runs (`running.Running`)."""

    def __init__(self, child: Popen[bytes], mark: str, strays: Strays) -> None:
        self._child, self._mark, self._strays = child, mark, strays
        self._stream = ProcessStream()
        self._errors = LogPipe()
        self._ended = asyncio.Event()
        self._stop_watching: Callable[[], None] = lambda: None
        self.listen: Callable[[Receiver], None] = self._stream.listen
        self.write: Callable[[bytes], None] = self._stream.write

    async def connect(self, log: Log) -> None:
        """Take over its pipes."""
        child = self._child
        self._stop_watching = watch(child.pid, self._has_ended)
        if child.stdin is not None and child.stdout is not None and child.stderr is not None:
            await self._stream.connect(child.stdin, child.stdout)
            await self._errors.connect(child.stderr, _Slowed(self._errors, log))

    def close_input(self) -> None:
        """Let it see the end of its input."""
        self._stream.close_input()

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken."""
        return self._stream.write_backlog

    async def end(self) -> None:
        """End it and everything it started."""
        if not self._ended.is_set():
            signal_group(self._child.pid, signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await self._ended.wait()
        await self._strays.end(self._mark)
        self._stop_watching()
        await self._stream.close()
        self._errors.close()

    def _has_ended(self) -> None:
        """Its group ends with it, before its number can be anyone else's."""
        signal_group(self._child.pid, signal.SIGKILL)
        self._stream.exited(self._child.wait())
        self._strays.begin(self._mark)
        self._ended.set()


class _Slowed:
    """Hands on what comes, so much a second; until the second is over, nothing more is read."""

    def __init__(self, pipe: LogPipe, log: Log) -> None:
        self._pipe, self._log = pipe, log
        self._left = LOG_RATE
        self._refill: asyncio.TimerHandle | None = None

    def __call__(self, data: bytes) -> None:
        self._log(data)
        self._left -= len(data)
        if self._refill is None and data:
            self._refill = asyncio.get_running_loop().call_later(1.0, self._refilled)
        if self._left <= 0:
            self._pipe.pause_reading()

    def _refilled(self) -> None:
        self._refill, self._left = None, LOG_RATE
        self._pipe.resume_reading()


def mark_of(directory: Path) -> str:
    """What the marks of this process's interceptors of the project in *directory* begin with."""
    return f"{_project(directory)}{os.getpid()}:{start_time(os.getpid()).replace(' ', '-')}:"


def end_orphans(directory: Path) -> None:
    """End the interceptors in *directory* whose gateway has ended without ending them."""
    for pid in list(_orphans(_project(directory))):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _project(directory: Path) -> str:
    return f"{_KIND}:{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}:"


def _orphans(project: str) -> Iterator[int]:
    wanted = f"{MARK}={project}".encode()
    if not PROC.is_dir():
        return
    for entry in os.scandir(PROC):
        if not entry.name.isdigit():
            continue
        try:
            variables = Path(entry.path, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mark = next((one for one in variables if one.startswith(wanted)), None)
        if mark is not None:
            owner, _, rest = mark[len(wanted) :].decode(errors="replace").partition(":")
            started = start_time(int(owner)).replace(" ", "-") if owner.isdigit() else ""
            if not started or not rest.startswith(f"{started}:"):
                yield int(entry.name)
