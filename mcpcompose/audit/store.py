"""
The end of the chain on disk: appending, rotating, and going on after whatever happened to the files.

Every way to fail leaves the chain as it was and raises `OSError`; the next append looks at the files anew. What was
torn, removed or changed meanwhile is never passed over: a record in the chain says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mcpcompose.audit.ending import look
from mcpcompose.audit.files import drop, files, first_of, make_file, path_of, writable, write_head, write_whole
from mcpcompose.audit.record import START, Clock, Link, members, sealed
from mcpcompose.audit.syncing import Syncing
from mcpcompose.errors import McpComposeError
from mcpcompose.paths import private_folder

_CLOSED: Final = -1
_AGAIN: Final = 0.1
"""Seconds between two looks at a folder that cannot be written."""


class Store:
    """One writer of one folder; *rotate*, *keep* and *always* are the settings, and may change at any time."""

    def __init__(self, folder: Path, clock: Clock, said: Callable[[Mapping[str, Any]], None]) -> None:
        self.rotate = 64 << 20
        self.keep = 32
        self.always = False
        self._folder = folder
        self._clock = clock
        self._said = said
        self._sync = Syncing(folder)
        self._descriptor = _CLOSED
        self._path = folder
        self._size = 0
        self._oldest = 1
        self._link: Link | None = None
        """The last record this writer wrote; None before the first."""
        self._why: str | None = None
        """Why the log is opened anew."""
        self._refused: OSError | None = None
        self._look_again = 0.0

    def append(self, said: Sequence[str]) -> None:
        """Write the records of which `record.members` are *said*, all or nothing. Raises `OSError`."""
        if self._descriptor == _CLOSED or self._sync.failure is not None or self._sync.moved:
            self._open()
        else:
            info = os.fstat(self._descriptor)
            if info.st_nlink == 0 or info.st_size != self._size:
                self._let_go("the file was removed" if info.st_nlink == 0 else "something else wrote to the file")
                self._open()
            elif self._size >= self.rotate:
                self._rotate()
        self._write(said)

    @property
    def is_open(self) -> bool:
        """Whether there is a file that is written to."""
        return self._descriptor != _CLOSED

    def sync(self) -> None:
        """Put everything on disk. Raises `OSError`."""
        self._sync.sync()

    def close(self) -> None:
        """Put everything on disk and close. Raises `OSError`."""
        try:
            self._sync.close()
        finally:
            if self._descriptor != _CLOSED:
                os.close(self._descriptor)
                self._descriptor = _CLOSED

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, said: Sequence[str], before: Link | None = None) -> None:
        """Records after *before*, or after the last one."""
        data, link = sealed(before or self._link or START, said)
        descriptor = self._descriptor
        try:
            write_whole(descriptor, data)
            if self.always:
                os.fdatasync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._size)
            self._let_go(error.strerror or str(error))
            raise
        self._size += len(data)
        self._link = link
        self._sync.written(descriptor, link, self._path)

    def _event(self, event: str, **more: Any) -> list[str]:
        return [members({"time": self._clock(), "event": event, **more})]

    def _let_go(self, why: str) -> None:
        self._why = why
        descriptor, self._descriptor = self._descriptor, _CLOSED
        self._sync.retire(descriptor)

    # --- files ------------------------------------------------------------------------------------------------------

    def _rotate(self) -> None:
        """Go on in a new file, and drop the oldest ones."""
        last = self._link or START
        found = files(self._folder)
        there = first_of(found[0]) or 1 if found else last.seq + 1
        if there > self._oldest:
            self._write(self._event("gap", **{"from": self._oldest, "to": there - 1}))
        left = found[-self.keep :]
        self._oldest = first_of(left[0]) or 1 if left else last.seq + 1
        self._begin(self._link or last)  # says what is kept before the rest goes: who reads meanwhile misses none
        drop(found, self.keep)

    def _begin(self, last: Link) -> None:
        """A new file after the record *last*."""
        path = path_of(self._folder, last.seq + 1)
        descriptor = make_file(path)
        if self._descriptor != _CLOSED:
            self._sync.retire(self._descriptor)
        self._descriptor, self._path, self._size = descriptor, path, 0
        self._write(self._event("file", prev=last.hash, oldest=self._oldest), last)

    def _open(self) -> None:
        """Find the end of the chain, say in it what happened, and go on there. Raises `OSError`."""
        if self._descriptor != _CLOSED:
            self._let_go("the file was moved" if self._sync.moved else f"not on disk: {self._sync.failure}")
        if self._refused is not None and time.monotonic() < self._look_again:
            raise self._refused
        self._sync.failure, self._sync.moved = None, False
        try:
            self._go_on()
        except OSError as error:
            if self._descriptor != _CLOSED:
                self._let_go(error.strerror or str(error))
            self._refused, self._look_again = error, time.monotonic() + _AGAIN
            raise
        self._why = self._refused = None

    def _go_on(self) -> None:
        try:
            private_folder(self._folder)
        except McpComposeError as error:
            raise OSError(errno.EACCES, error.message) from error
        found = look(self._folder, self._link)
        self._oldest = found.oldest
        if not found.has_head:
            write_head(self._folder, found.before)
        if found.path is None:
            self._begin(found.before)
        else:
            self._descriptor, self._size = writable(found.path, newline=found.needs_newline)
            self._path, self._link = found.path, found.before
        for remark in found.remarks:
            self._said(remark)
            self._write(self._event(**remark))
        self._write(self._event("start" if self._why is None else "resume", **self._introduction()))

    def _introduction(self) -> dict[str, Any]:
        return {"why": self._why} if self._why is not None else {"pid": os.getpid()}
