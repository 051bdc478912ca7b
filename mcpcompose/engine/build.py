"""
A build's context: which files are in it, their digest, and the tar stream an engine is sent.

`.dockerignore` follows Docker's rules: the last pattern that matches a path or one of its folders decides.
"""

from __future__ import annotations

import hashlib
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link of a context; *name* is its path inside, with `/`."""

    name: str
    path: Path


def context_digest(context: Path, dockerfile: str) -> str:
    """
    SHA-256 over everything the build is sent: names, kinds, modes, contents and which Dockerfile.

    Raises `BuildFailed` for a context or Dockerfile that does not exist or lies outside.
    """
    digest = hashlib.sha256(f"context 1\0{dockerfile}\0".encode())
    for entry in entries(context, dockerfile):
        info = entry.path.lstat()
        about = f"{entry.name}\0{stat.S_IFMT(info.st_mode):o}\0{info.st_mode & 0o777:o}\0"
        digest.update(about.encode("utf-8", "surrogateescape"))
        if stat.S_ISLNK(info.st_mode):
            digest.update(str(entry.path.readlink()).encode("utf-8", "surrogateescape"))
        elif stat.S_ISREG(info.st_mode):
            with entry.path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(b"\0")
    return digest.hexdigest()


def context_tar(context: Path, dockerfile: str) -> Iterator[bytes]:
    """The context as a tar archive, in pieces; never in memory as a whole."""
    for entry in entries(context, dockerfile):
        yield from _archived(entry)
    yield b"\0" * (2 * BLOCK)


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


def _archived(entry: Entry) -> Iterator[bytes]:
    info = tarfile.TarInfo(entry.name)
    found = entry.path.lstat()
    info.mode, info.mtime = found.st_mode & 0o7777, int(found.st_mtime)
    if stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(entry.path.readlink())
    elif stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
    else:
        info.size = found.st_size
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if info.size:
        yield from _content(entry.path, info.size)


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Exactly *size* bytes of a file that may be changing, filled up to whole blocks."""
    left = size
    with path.open("rb") as file:
        while left and (data := file.read(min(CHUNK, left))):
            left -= len(data)
            yield data
    yield b"\0" * (left + -size % BLOCK)


def archive(files: dict[str, bytes]) -> Iterator[bytes]:
    """A tar archive of generated *files*."""
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + content + b"\0" * (-len(content) % BLOCK)
    yield b"\0" * (2 * BLOCK)
