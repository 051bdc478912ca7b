"""
The command line without its start: a process that has imported everything forks one for each command.

Commands are what they are for a person (a process of its own with its arguments, environment, folder and streams) but
for a third of a second of processor time that Python takes to import. `MCP_COMPOSE_TEST_COLD=1`, as `scripts/soak` has
it, starts each as a person does; so do the tests of what starting takes.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

COLD = bool(os.environ.get("MCP_COMPOSE_TEST_COLD") or os.environ.get("COVERAGE_PROCESS_START"))
COMMAND = [sys.executable, "-P", "-m", "mcpcompose"]
READ_AT_START = (
    "PYTHON",
    "LC_",
    "LANG",
    "MALLOC",
    "LD_",
    "COVERAGE",
    "TYPER",
    "TERMINAL_WIDTH",
    "_TYPER",
    "FORCE_COLOR",
)
"""What an interpreter or a library reads when it starts: a command with other such variables starts cold."""
LAZY = ("docker", "httpx2", "mcp", "jsonschema", "ruamel.yaml", "psutil", "uvicorn", "cryptography", "keyring")
"""What the program imports only when it needs it."""
_STARTING = threading.Lock()
_HEADER = 8
_STREAMS = 3


def run(
    program: Sequence[str],
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    *,
    stdin: str = "",
    bound: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """One command of *program* to its end, warm if that is ours: what it says, and its exit code."""
    command = [*program, *arguments]
    if COLD or list(program) != COMMAND or _read_at_start(environ) != _read_at_start(os.environ):
        return subprocess.run(
            command, cwd=folder, env=dict(environ), input=stdin, capture_output=True, text=True, timeout=bound,
            check=False,
        )  # fmt: skip
    return _server().run(list(arguments), folder, environ, stdin, bound)


def _read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    own = {"PYTHONPATH", "PYTEST_CURRENT_TEST"}
    return {key: value for key, value in environ.items() if key.startswith(READ_AT_START) and key not in own}


def _server() -> Server:
    with _STARTING:
        return _the_server()


@functools.cache
def _the_server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


class Server:
    """The process that forks, as those who ask it see it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
            code = f"import sys; sys.path.insert(1, {str(Path(__file__).parents[1])!r}); "
            code += f"from harness.warm import serve; serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code], env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )

    def close(self) -> None:
        """Nobody asks any more."""
        self._socket.close()
        self._process.wait(10)

    def run(
        self, arguments: list[str], folder: Path, environ: Mapping[str, str], stdin: str, bound: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run`, with a fork of the server."""
        answer, theirs = socket.socketpair()
        said = [os.pipe(), os.pipe()]
        with answer, tempfile.TemporaryFile() as typed:
            typed.write(stdin.encode())
            typed.seek(0)
            asked = json.dumps([arguments, str(folder), dict(environ)]).encode()
            with theirs, self._turn:
                ends = [typed.fileno(), said[0][1], said[1][1], theirs.fileno()]
                socket.send_fds(self._socket, [len(asked).to_bytes(_HEADER, "big")], ends)
                self._socket.sendall(asked)
            for _, end in said:
                os.close(end)
            readers = [Reader(end) for end, _ in said]
            pid = int.from_bytes(_whole(answer, _HEADER), "big")
            answer.settimeout(bound)
            try:
                code = int.from_bytes(_whole(answer, _HEADER), "big", signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, bound) from None
            out, err = [reader.text(bound) for reader in readers]
        return subprocess.CompletedProcess([*COMMAND, *arguments], code, out, err)


class Reader(threading.Thread):
    """Reads one of a command's streams to its end, which is when nobody has it any more."""

    def __init__(self, end: int) -> None:
        super().__init__(daemon=True)
        self._stream = os.fdopen(end, "rb")
        self._said = b""
        self.start()

    def run(self) -> None:
        with self._stream:
            self._said = self._stream.read()

    def text(self, bound: float) -> str:
        """All of it, as `subprocess` decodes it."""
        self.join(bound)
        assert not self.is_alive(), "the command has ended, and somebody still holds its output"
        return io.TextIOWrapper(io.BytesIO(self._said), encoding="utf-8").read()


def _whole(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        assert piece, "the process that forks commands has ended"
        found += piece
    return found


# --- the process that forks -------------------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Fork a process for each command that is asked for, until nobody asks any more."""
    _import_everything()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for commands
    with socket.socket(fileno=descriptor) as connection:
        while True:
            header, ends, _, _ = socket.recv_fds(connection, _HEADER, _STREAMS + 1)
            if not header:
                return None
            header += _whole(connection, _HEADER - len(header)) if len(header) < _HEADER else b""
            asked = json.loads(_whole(connection, int.from_bytes(header, "big")))
            if os.fork() == 0:
                connection.close()
                return _watch(ends, asked)
            for end in ends:
                os.close(end)


def _watch(ends: list[int], asked: list[Any]) -> None:
    """Fork the command, and tell its number and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(ends[_STREAMS])
        return _become(ends[:_STREAMS], *asked)
    for end in ends[:_STREAMS]:
        os.close(end)
    with socket.socket(fileno=ends[_STREAMS]) as answer:
        answer.sendall(pid.to_bytes(_HEADER, "big"))
        _, status = os.waitpid(pid, 0)
        answer.sendall(os.waitstatus_to_exitcode(status).to_bytes(_HEADER, "big", signed=True))
    os._exit(0)


def _become(ends: list[int], arguments: list[str], folder: str, environ: dict[str, str]) -> None:
    """This process is the command from here on."""
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    from mcpcompose import __main__ as program

    sys.argv = [str(program.__file__), *arguments]
    sys.stdin = sys.__stdin__ = _stream(0, "r")
    sys.stdout = sys.__stdout__ = _stream(1, "w")
    sys.stderr = sys.__stderr__ = _stream(2, "w", buffering=1, errors="backslashreplace")
    try:
        program.main()
    except SystemExit as ended:
        _leave(ended.code)


def _leave(code: Any) -> None:
    """End as an interpreter does, only that nothing of what was imported is taken apart, which takes a tenth."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def _stream(number: int, mode: str, **options: Any) -> TextIO:
    return cast("TextIO", open(number, mode, encoding="utf-8", closefd=False, **options))


def _import_everything() -> None:
    import mcpcompose

    for module in pkgutil.walk_packages(mcpcompose.__path__, "mcpcompose."):
        importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
