"""
A build's context: which files are in it, their digest, and the tar stream an engine is sent.

`.dockerignore` follows Docker's rules: the last pattern that matches a path or one of its folders decides.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.errors import BuildFailed

BLOCK: Final = 512
CHUNK: Final = 1 << 16
MAX_FILES: Final = 250_000
MAX_BYTES: Final = 4 << 30
"""What a context may hold: it is read in every round, before anybody approved anything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link of a context; *name* is its path inside, with `/`."""

    name: str
    path: Path


def context_digest(context: Path, dockerfile: str) -> str:
    """
    SHA-256 over everything the build is sent: names, kinds, modes, contents and which Dockerfile.

    Raises `BuildFailed` for a context or Dockerfile that does not exist or lies outside, is too large or unreadable.
    """
    digest = _Digest(dockerfile)
    for entry in entries(context, dockerfile):
        for _ in _archived(entry, digest):
            pass
    return digest.hexdigest()


def context_tar(context: Path, dockerfile: str, *, expected: str = "") -> Iterator[bytes]:
    """
    The context as a tar archive, in pieces; never in memory as a whole.

    Raises `BuildFailed` before the archive is complete when what was sent has another digest than *expected*: files
    that change after they were approved are not built.
    """
    digest = _Digest(dockerfile)
    for entry in entries(context, dockerfile):
        yield from _archived(entry, digest)
    if expected and digest.hexdigest() != expected:
        raise BuildFailed(f"the build context `{context}` changed while it was sent", hint="run `mcp-compose up` again")
    yield b"\0" * (2 * BLOCK)


class _Digest:
    """Takes note of what is sent, and of how much it is."""

    def __init__(self, dockerfile: str) -> None:
        self._hash = hashlib.sha256(f"context 2\0{dockerfile}\0".encode())
        self._files = self._bytes = 0

    def entry(self, name: str, info: tarfile.TarInfo) -> None:
        """One entry begins."""
        self._files += 1
        self._bytes += info.size
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise BuildFailed(
                f"the build context has more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB (at `{name}`)",
                hint="leave out what the build does not need, with a `.dockerignore`",
            )
        about = json.dumps([name, info.type.decode(), info.mode, info.linkname, info.size])
        self._hash.update(f"{len(about)} {about}".encode())

    def update(self, data: bytes) -> None:
        """Content that is sent."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """The digest of all of it."""
        return self._hash.hexdigest()


def entries(context: Path, dockerfile: str) -> Iterator[Entry]:
    """The context's files in a fixed order, ignored ones left out; links are not followed."""
    if not context.is_dir():
        raise BuildFailed(f"the build context `{context}` is not a folder", hint="check `build`")
    root = context.resolve()
    named = root / dockerfile
    if not named.is_file():
        raise BuildFailed(f"there is no `{dockerfile}` in `{context}`", hint="check `build`")
    if not named.resolve().is_relative_to(root):
        raise BuildFailed(f"`{dockerfile}` lies outside the build context `{context}`")
    own = named.with_name(named.name + ".dockerignore")
    ignore = Ignore.read(own if own.is_file() else root / ".dockerignore")
    always = {named.relative_to(root).as_posix(), ".dockerignore"}
    return _walk(root, "", ignore, frozenset(always))


def _walk(folder: Path, prefix: str, ignore: Ignore, always: frozenset[str]) -> Iterator[Entry]:
    for found in sorted(os.scandir(folder), key=lambda item: item.name):
        name = prefix + found.name
        is_folder = found.is_dir(follow_symlinks=False)
        wanted = name in always or not ignore.ignores(name)
        if not is_folder:
            if wanted and (found.is_symlink() or found.is_file(follow_symlinks=False)):
                yield Entry(name, Path(found.path))
            continue
        inside = ignore.has_exceptions or any(one.startswith(name + "/") for one in always)
        if wanted:
            yield Entry(name, Path(found.path))
        if wanted or inside:
            yield from _walk(Path(found.path), name + "/", ignore, always)


class Ignore:
    """The patterns of a `.dockerignore`."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in text.lstrip("\ufeff").splitlines():
            if line.startswith("#") or not (pattern := line.strip()):
                continue
            keeps = pattern.startswith("!")
            pattern = os.path.normpath(pattern[keeps:].strip().strip("/") or ".")
            if pattern != ".":
                self._rules.append((re.compile(_regex(pattern) + r"(?:/.*)?\Z", re.DOTALL), keeps))
        self.has_exceptions = any(keeps for _, keeps in self._rules)

    @classmethod
    def read(cls, file: Path) -> Ignore:
        """The patterns of *file*; none when it does not exist."""
        try:
            return cls(file.read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return cls("")

    def ignores(self, name: str) -> bool:
        """Whether the path *name* inside the context is left out."""
        ignored = False
        for pattern, keeps in self._rules:
            if ignored == keeps and pattern.match(name):
                ignored = not keeps
        return ignored


def _regex(pattern: str) -> str:
    """Go's `filepath.Match` with `**` for any number of folders, as a regular expression."""
    out, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            out, index = out + "(?:.*/)?", index + 3
        elif pattern.startswith("**", index):
            out, index = out + ".*", index + 2
        elif pattern[index] == "*":
            out, index = out + "[^/]*", index + 1
        elif pattern[index] == "?":
            out, index = out + "[^/]", index + 1
        elif pattern[index] == "[" and (end := pattern.find("]", index + 2)) > 0:
            body = pattern[index + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out, index = f"{out}[{body}]", end + 1
        elif pattern[index] == "\\" and index + 1 < len(pattern):
            out, index = out + re.escape(pattern[index + 1]), index + 2
        else:
            out, index = out + re.escape(pattern[index]), index + 1
    return out


def _archived(entry: Entry, digest: _Digest) -> Iterator[bytes]:
    try:
        info = tarfile.TarInfo(entry.name)
        found = entry.path.lstat()
        info.mode, info.mtime = found.st_mode & 0o7777, int(found.st_mtime)
        if stat.S_ISLNK(found.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, str(entry.path.readlink())
        elif stat.S_ISDIR(found.st_mode):
            info.type = tarfile.DIRTYPE
        elif stat.S_ISREG(found.st_mode):
            info.size = found.st_size
        digest.entry(entry.name, info)
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if info.size:
            for data in _content(entry.path, info.size):
                digest.update(data)
                yield data
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise BuildFailed(
            f"`{entry.name}` of the build context cannot be read: {reason}", hint="leave it out with a `.dockerignore`"
        ) from error


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Exactly *size* bytes of a file that may be changing, filled up to whole blocks; a link or pipe is not opened."""
    left = size
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  opened without following a link
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BuildFailed(f"`{path.name}` of the build context is not a regular file any more")
        while left and (data := file.read(min(CHUNK, left))):
            left -= len(data)
            yield data
    while left:
        yield b"\0" * (now := min(CHUNK, left))
        left -= now
    yield b"\0" * (-size % BLOCK)


def archive(files: dict[str, bytes]) -> Iterator[bytes]:
    """A tar archive of generated *files*."""
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + content + b"\0" * (-len(content) % BLOCK)
    yield b"\0" * (2 * BLOCK)
