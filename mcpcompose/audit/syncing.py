"""
Put what was written on disk, together and in a thread of its own.

A killed process loses nothing that was written; this is for power cuts. `head` follows what is on disk.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

from mcpcompose.audit.files import sync_folder, write_head
from mcpcompose.audit.record import Link

EVERY: Final = 0.05
"""Seconds in which writes are gathered."""


class Syncing:
    """The thread of one log; it begins with the first write. Descriptors given to `retire` are closed here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: tuple[int, Link, Path] | None = None
        self._done: tuple[int, Link, Path] | None = None
        self._retired: deque[int] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._busy = False
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None
        self.failure: OSError | None = None
        """Why the last attempt failed; whoever opens the log anew takes it away."""
        self.moved = False
        """Whether the file is no longer where it was made."""

    def written(self, descriptor: int, link: Link, path: Path) -> None:
        """Everything up to *link* was written to *descriptor*, the file *path*."""
        self._written = (descriptor, link, path)
        if not self._busy:
            self._busy = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
            self._wake.set()

    def retire(self, descriptor: int) -> None:
        """No more is written to *descriptor*."""
        self._written = None
        self._retired.append(descriptor)

    def sync(self) -> None:
        """Put everything on disk now. Raises `OSError`."""
        with self._one:
            while self._retired:
                descriptor = self._retired.popleft()
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            written = self._written
            if written is None or written is self._done:
                return
            descriptor, link, path = written
            os.fdatasync(descriptor)
            if self._done is None or self._done[2] != path:
                sync_folder(self._folder)
            self.moved = self.moved or not _is_at(descriptor, path)
            write_head(self._folder, link)
            self._done = written

    def close(self) -> None:
        """Put everything on disk and end. Raises `OSError`."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10)
        self.sync()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._stop.wait(EVERY)
            self._busy = False
            try:
                self.sync()
            except OSError as error:
                self.failure = error


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False
