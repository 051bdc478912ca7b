"""The logs of servers and of the gateway, read from their files: no gateway is needed, and none is asked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Final

from mcpcompose.actions.locate import Place
from mcpcompose.errors import UsageError
from mcpcompose.log import OWN_LOG, ServerLogs
from mcpcompose.redact import Redactor

GATEWAY: Final = "gateway"
_OWN: Final = OWN_LOG.removesuffix(".log")
_LOOK_EVERY: Final = 0.1
_CHUNK: Final = 1 << 20


def lines(place: Place, servers: Sequence[str], *, follow: bool, tail: int | None) -> Iterator[tuple[str, str]]:
    """
    Server and line; each server's last *tail* lines (all: None), then, with *follow*, what is written from now on.

    Without *servers* those of every server. `gateway` is the gateway's own log. Raises `UsageError` for an
    unknown server.
    """
    folder = place.paths.logs
    logs = ServerLogs(place.paths.make().logs, Redactor())
    asked = [_OWN if name == GATEWAY and not logs.path(name).exists() else name for name in servers]
    _check(place, asked, folder)
    following = {name: _Follow(logs.path(name)) for name in asked or _there(folder)} if follow else {}
    for name in asked or _there(folder):
        for line in logs.tail(name, tail):
            yield _shown(name, line)
    while follow:
        if not asked:
            following |= {name: _Follow(logs.path(name), old=False) for name in _there(folder) if name not in following}
        for name, file in following.items():
            for line in file.new_lines():
                yield _shown(name, line)
        time.sleep(_LOOK_EVERY)


def _there(folder: Path) -> list[str]:
    """Those that have written something; the gateway's own log only when it is asked for."""
    return sorted(file.stem for file in folder.glob("*.log") if file.name != OWN_LOG)


def _check(place: Place, asked: Sequence[str], folder: Path) -> None:
    missing = [name for name in asked if name != _OWN and not (folder / f"{name}.log").exists()]
    if not missing:
        return
    from mcpcompose.actions.config import server_names

    known = [*server_names(place), GATEWAY]
    for name in missing:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f", did you mean `{near[0]}`?" if near else ""
            raise UsageError(f"there is no server `{name}`{meant}")


def _shown(name: str, line: str) -> tuple[str, str]:
    return (GATEWAY, _own_line(line)) if name == _OWN else (name, line)


def _own_line(line: str) -> str:
    """A line of our own log for people: time, level, message, then the fields."""
    try:
        entry = json.loads(line)
        first = f"{entry.pop('time')} {entry.pop('level')} {entry.pop('message')}"
    except (ValueError, KeyError, AttributeError):
        return line
    entry.pop("logger", None)
    return " ".join([first, *(f"{key}={value}" for key, value in entry.items())])


class _Follow:
    """What is appended to one file, through its rotations."""

    def __init__(self, path: Path, *, old: bool = True) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._partial = b""
        self._open(at_end=old)

    def new_lines(self) -> Iterator[str]:
        """The lines written since the last time."""
        while self._file is not None:
            while chunk := self._file.read(_CHUNK):
                *whole, self._partial = (self._partial + chunk).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
            if not self._was_rotated():
                return
            self._open(at_end=False)
        self._open(at_end=False)

    def _was_rotated(self) -> bool:
        try:
            return self._file is not None and os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino
        except FileNotFoundError:
            return False

    def _open(self, *, at_end: bool) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return
        if at_end:
            self._file.seek(0, os.SEEK_END)
