"""
The files of one project's audit log, and where each of them ends.

A file is named by the number of its first record and never renamed. `head` says what was safely on disk last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.audit.record import LAST_SEQ, START, Link, hash_of, opened

HEAD: Final = "head"
_PATTERN: Final = "audit-*.jsonl"
_LOOK_BACK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class End:
    """
    Where a file ends: its last whole record, *torn* bytes after it that are none, and their SHA-256; both with the
    newline that is added when they do not end with one.

    *last* None: not one record in it is whole.
    """

    last: Link | None
    torn: int = 0
    digest: str = ""
    newline: bool = True
    """Whether the file ends with one."""


def files(folder: Path) -> list[Path]:
    """The files there are, oldest first. Raises `OSError`."""
    try:
        found = [path for path in folder.iterdir() if first_of(path) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: first_of(path) or 0)


def first_of(path: Path) -> int | None:
    """The number of a file's first record, by its name; None for something else."""
    number = path.name.removeprefix("audit-").removesuffix(".jsonl")
    return int(number) if path.match(_PATTERN) and number.isascii() and number.isdigit() else None


def path_of(folder: Path, first: int) -> Path:
    """The file that begins with the record *first*."""
    return folder / f"audit-{first:012d}.jsonl"


def oldest_of(path: Path) -> int | None:
    """The number of the oldest record that was kept when *path* was begun. Raises `OSError`."""
    with path.open("rb") as file:
        found = opened(file.readline(_LOOK_BACK).rstrip(b"\n"))
    oldest = found[0].get("oldest") if found is not None else None
    return oldest if isinstance(oldest, int) else None


def end_of(path: Path) -> End:
    """Where *path* ends. Raises `OSError`."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _LOOK_BACK)
        file.seek(start)
        found = _end(file.read(), whole=start == 0)
        if found is None:
            file.seek(0)
            found = _end(file.read(), whole=True)
    return found or End(None)


def _end(data: bytes, *, whole: bool) -> End | None:
    """The end of *data*, the last part of a file or (*whole*) all of it; None when more has to be looked at."""
    newline = data.endswith(b"\n") or not data
    lines = data.split(b"\n")
    at = len(data)
    after = lines.pop()
    at -= len(after)
    for index in range(len(lines) - 1, -1, -1):
        link = _good(lines, index, first=whole and index == 0)
        if link is not None:
            return _ended(link, data[at:], newline=newline)
        at -= len(lines[index]) + 1
    return _ended(None, data, newline=newline) if whole else None


def _ended(last: Link | None, torn: bytes, *, newline: bool) -> End:
    if not torn:
        return End(last)
    torn += b"" if newline else b"\n"
    return End(last, len(torn), hashlib.sha256(torn).hexdigest(), newline)


def _good(lines: list[bytes], index: int, *, first: bool) -> Link | None:
    """The record at *index*, when it is one and is chained to the line before it."""
    found = opened(lines[index])
    if found is None:
        return None
    record, stated = found
    if first:
        before = record.get("prev")
    else:
        above = opened(lines[index - 1]) if index else None
        before = above[1] if above is not None else record.get("prev")
    if not isinstance(before, str) or hash_of(before, lines[index]) != stated:
        return None
    return Link(record["seq"], stated)


def read_head(folder: Path) -> Link | None:
    """What was on disk last; START when nothing was, None when that is lost. Raises no `OSError`."""
    with contextlib.suppress(OSError, ValueError):
        text = (folder / HEAD).read_text("ascii")
        seq, _, digest = text.strip().partition(" ")
        if len(digest) == len(START.hash) and 0 <= int(seq) <= LAST_SEQ:
            return Link(int(seq), digest)
    return None


def write_head(folder: Path, link: Link) -> None:
    """Keep that everything up to *link* is on disk. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / HEAD, flags, 0o600)
    try:
        text = f"{link.seq:020d} {link.hash}\n".encode()
        write_whole(descriptor, text)
        os.ftruncate(descriptor, len(text))
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of *data*; some of it may be there after an error. Raises `OSError`."""
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_file(path: Path) -> int:
    """A new file of the log, to be appended to. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """The names in *folder* are on disk too. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writable(path: Path, *, newline: bool) -> tuple[int, int]:
    """A descriptor of a file that is there, and its size; with the *newline* it lacks. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if newline:
            os.write(descriptor, b"\n")
        return descriptor, os.fstat(descriptor).st_size
    except OSError:
        os.close(descriptor)
        raise


def drop(found: list[Path], keep: int) -> list[Path]:
    """Remove the oldest of *found* so that *keep* are left; those that are. Raises `OSError`."""
    for path in found[: max(0, len(found) - keep)]:
        path.unlink(missing_ok=True)
    return found[max(0, len(found) - keep) :]
