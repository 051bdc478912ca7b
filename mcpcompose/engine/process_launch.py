"""
One local process: launched in a session of its own, its pipes wired straight into the event loop.

When the process ends, what it started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from mcpcompose.engine.process_records import marked
from mcpcompose.engine.streams import HeldOutput, exit_reason

MUTE_SECONDS: Final = 1.0
"""How long a process that closed its output may take to end before it counts as ended."""

LOOKS: Final = 5


class ProcessStream(HeldOutput):
    """A `ByteStream` over a process's pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._output: asyncio.ReadTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._closed = False
        self._exit: str | None = None
        self._eof = False
        self._paused = False

    def write(self, data: bytes) -> None:
        """Write to standard input; buffers when the instance does not read."""
        if self._input is not None and not self._input.is_closing():
            self._input.write(data)

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken by the other side."""
        return 0 if self._input is None else self._input.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take no more output until `resume_reading`."""
        self._paused = True
        if self._output is not None and self._output.is_reading():
            self._output.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._paused = False
        if self._output is not None and not self._output.is_closing() and not self._output.is_reading():
            self._output.resume_reading()

    async def close(self) -> None:
        """Close standard input and let go; the instance goes on or ends as it likes."""
        self._closed = True
        self.close_input()
        if self._output is not None:
            self._output.close()

    def close_input(self) -> None:
        """Let the instance see the end of its input."""
        if self._input is not None:
            self._input.close()

    async def connect(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Take over the pipes."""
        loop = asyncio.get_running_loop()
        self._input = (await loop.connect_write_pipe(asyncio.BaseProtocol, _given(stdin, loop)))[0]
        output = _given(stdout, loop)
        self._output = (await loop.connect_read_pipe(lambda: _Pipe(self.deliver, self._output_ended), output))[0]
        if self._paused:
            self.pause_reading()

    def exited(self, code: int | None) -> None:
        """The process has ended; the stream ends when its output has been read."""
        self._exit = exit_reason(code)
        self.close_input()
        if self._eof:
            self.end(self._exit)

    def _output_ended(self) -> None:
        self._eof = True
        if self._exit is not None or self._closed:
            self.end(self._exit or "closed")
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(MUTE_SECONDS, lambda: self.end(self._exit or "closed its standard output"))


class _Pipe(asyncio.Protocol):
    """Hands on what a pipe brings."""

    def __init__(self, received: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._received = received
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        self._ended()


class _Given:
    """A descriptor that whoever has it closes by itself; closing this is nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """It was closed already."""


def _given(pipe: IO[bytes], loop: asyncio.AbstractEventLoop) -> IO[bytes] | _Given:
    """
    *pipe* as *loop* is to have it.

    uvloop closes the descriptor of a pipe and then the pipe: by then another thread may have been given the number.
    """
    if not type(loop).__module__.startswith("uvloop"):
        return pipe
    descriptor = os.dup(pipe.fileno())
    pipe.close()
    return _Given(descriptor)


class LogPipe:
    """Reads a log pipe to its end."""

    def __init__(self) -> None:
        self._transport: asyncio.ReadTransport | None = None

    async def connect(self, pipe: IO[bytes], log: Callable[[bytes], None]) -> None:
        """Hand everything from *pipe* to *log*, and nothing as its end."""
        loop = asyncio.get_running_loop()
        ours = _given(pipe, loop)
        self._transport = (await loop.connect_read_pipe(lambda: _Pipe(log, lambda: log(b"")), ours))[0]

    def pause_reading(self) -> None:
        """Take no more until `resume_reading`."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        """Let go."""
        if self._transport is not None:
            self._transport.close()


def spawn(
    command: Sequence[str], environment: Mapping[str, str], cwd: str | None, output: Path | None
) -> subprocess.Popen[bytes]:
    """
    Start *command* in a session of its own. Blocks for milliseconds; call it in a thread.

    With *output*, a named pipe, everything it says goes there, and it holds both ends, so that it does not die of
    nobody reading. Raises `OSError`.
    """
    options: dict[str, Any] = {"env": dict(environment), "cwd": cwd, "start_new_session": True, "bufsize": 0}
    if output is None:
        pipe = subprocess.PIPE
        return subprocess.Popen(list(command), stdin=pipe, stdout=pipe, stderr=pipe, **options)  # noqa: S603  the file's command, approved by a person
    descriptor = os.open(output, os.O_RDWR)
    try:
        return subprocess.Popen(  # noqa: S603  the same
            list(command), stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, **options
        )
    finally:
        os.close(descriptor)


def watch(pid: int, ended: Callable[[], None]) -> Callable[[], None]:
    """Call *ended* on the loop when *pid* ends, child or not; returns how to stop watching."""
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        return _watch_in_thread(pid, loop, ended)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        handle = loop.call_soon(ended)
        return handle.cancel

    def stop() -> None:
        nonlocal descriptor
        if descriptor >= 0:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            descriptor = -1

    def readable() -> None:
        stop()
        ended()

    loop.add_reader(descriptor, readable)
    return stop


def _watch_in_thread(pid: int, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> Callable[[], None]:
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(0.2):
            try:
                os.kill(pid, 0)
                if cast("int", os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None):
                    break
            except ChildProcessError:
                continue
            except ProcessLookupError:
                break
        if not stopped.is_set():
            loop.call_soon_threadsafe(ended)

    threading.Thread(target=work, daemon=True, name=f"watch-{pid}").start()
    return stopped.set


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group of *pid*, which must surely be ours."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Strays:
    """Ends what carries an instance's mark and left its group: in a thread, one look for all that ask meanwhile."""

    def __init__(self) -> None:
        self._marks: set[str] = set()
        self._next: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, mark: str) -> asyncio.Task[None]:
        """Start to end all that carry *mark*; done when they were."""
        self._marks.add(mark)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._look())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return self._next

    async def end(self, mark: str) -> None:
        """End all that carry *mark*."""
        if mark:
            await asyncio.shield(self.begin(mark))

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        async with self._turn:
            marks, self._marks, self._next = self._marks, set(), None
            await asyncio.to_thread(_kill_marked, frozenset(marks))


def _kill_marked(marks: frozenset[str]) -> None:
    """Kill until none is left: one may start another while we look."""
    for _ in range(LOOKS):
        found = list(marked(*marks))
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
