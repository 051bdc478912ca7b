"""
What is written for people to look at later: the servers' logs and our own.

Everything passes the `Redactor` on its way to disk; files are bounded, rotated and readable by their user only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO
from weakref import WeakSet

from mcpcompose.paths import private_folder
from mcpcompose.redact import MASK, RedactedStream, Redactor

__all__ = ["MASK", "OWN_LOG", "RedactedStream", "Redactor", "ServerLogs", "fields", "setup"]

OWN_LOG: Final = "mcp_compose.log"
"""The gateway's own log among the servers'; the `_` keeps it apart from every server's name."""

_BACKLOG: Final = 1000
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _RotatedFile:
    """One 0600 file that becomes `.1`, `.2`, … when it is full; older ones are gone."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        os.fchmod(self._fd, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Append *data*, in as many files as it needs."""
        for start in range(0, len(data), self._max_bytes):
            part = data[start : start + self._max_bytes]
            if self._size and self._size + len(part) > self._max_bytes:
                self._rotate()
            view = memoryview(part)
            while view:
                view = view[os.write(self._fd, view) :]
            self._size += len(part)

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            with suppress(FileNotFoundError):
                newer.replace(older)
        if not self._keep:
            self._path.unlink(missing_ok=True)
        self._open()

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class ServerLogs:
    """
    The logs of a project's servers, one rotated file each; a `LogSink` for the engines.

    Called with an instance's name and a chunk, an empty one at its end. A disk that is full or gone costs log lines,
    never a server.
    """

    def __init__(
        self, folder: Path, redactor: Redactor, *, project: str = "", max_bytes: int = 4 << 20, keep: int = 2
    ) -> None:
        self._folder, self._redactor, self._project = folder, redactor, project
        self._max_bytes, self._keep = max_bytes, keep
        self._files: dict[str, _RotatedFile] = {}
        self._streams: dict[str, RedactedStream] = {}
        self._followers: WeakSet[_Follower] = WeakSet()
        private_folder(folder)

    def __call__(self, instance: str, chunk: bytes) -> None:
        """Write a chunk of what *instance* wrote."""
        if not chunk:
            self.ended(instance)
            return
        stream = self._streams.get(instance)
        if stream is None:
            stream = self._streams[instance] = RedactedStream(self._redactor)
        self._write(self.server_of(instance), stream.feed(chunk))

    def ended(self, instance: str) -> None:
        """The instance ended: write what was held back."""
        if stream := self._streams.pop(instance, None):
            self._write(self.server_of(instance), stream.end())

    def server_of(self, instance: str) -> str:
        """The server that the instance's name stands for."""
        name = instance.removeprefix(f"{self._project}-") if self._project else instance
        head, dash, number = name.rpartition("-")
        name = head if dash and number.isdigit() and name != instance else name
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "_"

    def path(self, server: str) -> Path:
        """The server's newest log file, there or not."""
        return self._folder / f"{server}.log"

    def tail(self, server: str, lines: int | None = None) -> list[str]:
        """The last *lines* lines (all: None), rotated files included, oldest first."""
        wanted: deque[str] = deque(maxlen=lines)
        for number in range(self._keep, -1, -1):
            path = self.path(server) if not number else self._folder / f"{server}.log.{number}"
            with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
                wanted.extend(line.rstrip("\n") for line in file)
        return list(wanted)

    def follow(self, servers: Iterable[str] | None = None) -> AsyncIterator[tuple[str, str]]:
        """
        Server and line of everything written from this call on.

        A reader that is too slow loses the oldest lines; one that is forgotten costs nothing.
        """
        follower = _Follower(None if servers is None else frozenset(servers))
        self._followers.add(follower)
        return _lines(follower)

    def close(self) -> None:
        """Write what was held back and close the files."""
        for instance in list(self._streams):
            self.ended(instance)
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, server: str, data: bytes) -> None:
        if not data:
            return
        with suppress(OSError):
            file = self._files.get(server)
            if file is None:
                file = self._files[server] = _RotatedFile(self.path(server), self._max_bytes, self._keep)
            file.write(data)
        for follower in list(self._followers):
            follower.feed(server, data)


class _Follower:
    """One reader of new lines: a bounded queue that drops the oldest."""

    def __init__(self, servers: frozenset[str] | None) -> None:
        self._servers = servers
        self._partial: dict[str, bytes] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_BACKLOG)
        self._ready = asyncio.Event()

    def feed(self, server: str, data: bytes) -> None:
        if self._servers is not None and server not in self._servers:
            return
        *whole, rest = (self._partial.get(server, b"") + data).split(b"\n")
        self._partial[server] = rest[-(64 << 10) :]
        if whole:
            self._lines.extend((server, line.decode("utf-8", "replace")) for line in whole)
            self._ready.set()

    async def next(self) -> tuple[str, str]:
        while not self._lines:
            self._ready.clear()
            await self._ready.wait()
        return self._lines.popleft()


async def _lines(follower: _Follower) -> AsyncIterator[tuple[str, str]]:
    while True:
        yield await follower.next()


def fields(**values: Any) -> dict[str, Any]:
    """The fields of one log line: `log.info("server failed", extra=fields(server=name))`."""
    return {"fields": values}


class _JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the fields; redacted as a whole."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {key: value for key, value in vars(record).items() if key not in _STANDARD and key != "fields"}
        for key, value in {**given, **vars(record).get("fields", {})}.items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(self._redactor.tree(_plain(line)), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """*value* as what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotating file with mode 0600."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")  # noqa: PTH123  of a descriptor


def setup(
    folder: Path | None, redactor: Redactor, *, level: int = logging.INFO, stream: TextIO | None = None
) -> logging.Logger:
    """
    Set up our own log: JSON lines to `OWN_LOG` in *folder*, to *stream*, or to both. Can be called again.

    With neither, warnings go to standard error.
    """
    logger = logging.getLogger("mcpcompose")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if folder is not None:
        handlers.append(_PrivateFile(private_folder(folder) / OWN_LOG, maxBytes=4 << 20, backupCount=2, delay=True))
    if stream is not None or folder is None:
        handlers.append(logging.StreamHandler(stream or sys.stderr))
    for handler in handlers:
        handler.setFormatter(_JsonLines(redactor))
        logger.addHandler(handler)
    logger.setLevel(level if handlers and (folder or stream) else logging.WARNING)
    logger.propagate = False
    return logger
