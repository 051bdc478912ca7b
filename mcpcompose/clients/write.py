"""
Read and replace the configuration file of a client application, so that nothing of it is ever lost.

A file is replaced in one step, with a backup elsewhere, and only while it still is the one that was read; of several of
us, from whatever project, one at a time. Byte order mark, mode, owner and extended attributes stay; a symbolic link
stays one, and what it leads to is replaced.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.clients.edit_types import Unreadable
from mcpcompose.errors import McpComposeError
from mcpcompose.file_lock import alone_in
from mcpcompose.paths import private_folder

MAX_BYTES: Final = 1 << 24
_BOM: Final = b"\xef\xbb\xbf"
_BACKUPS_KEPT: Final = 10
_TRIES: Final = 5
_OTHERS: Final = 0o077
_WRITABLE: Final = 0o222
_NEW_FILE: Final = 0o600
_NEW_FOLDER: Final = 0o700


class NotWritable(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """A file that we leave alone: not regular, read-only, somebody else's, or somewhere unexpected."""


class ChangedMeanwhile(McpComposeError):  # noqa: N818
    """Another program wrote the file after it was read."""


Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FileState:
    """
    A file as it was read; one that is not there has the empty text and no *identity*.

    *path* is what was asked for, *target* where its symbolic links lead.
    """

    path: Path
    target: Path
    text: str = ""
    bom: bool = False
    mode: int | None = None
    identity: Identity | None = None

    @property
    def exists(self) -> bool:
        """Whether there was a file."""
        return self.identity is not None

    def encoded(self, text: str) -> bytes:
        """*text* as the bytes of this file. Raises `NotWritable` for what is no Unicode text."""
        try:
            return (_BOM if self.bom else b"") + text.encode()
        except UnicodeEncodeError as error:
            raise NotWritable(f"`{self.path}` cannot hold a value that is not Unicode text") from error


@dataclass(frozen=True, slots=True)
class Saved:
    """What a write did: the backup, folders it made (outermost first), SHA-256 of the content before and after."""

    backup: Path | None
    made: tuple[Path, ...]
    before: str | None
    after: str | None


def load(path: Path, *, within: Path | None = None) -> FileState:
    """
    Read *path*. Its symbolic links must not lead out of the folder *within*.

    Raises `NotWritable` for what we would not replace, `Unreadable` for what is not UTF-8.
    """
    target = _target(path, within)
    try:
        if not stat.S_ISREG(target.lstat().st_mode):
            raise NotWritable(f"`{path}` is not a regular file")
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return FileState(path, target)
    except OSError as error:
        raise NotWritable(f"`{path}` cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        _check(path, info)
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise NotWritable(f"`{path}` is larger than {MAX_BYTES >> 20} MiB")
    bom = content.startswith(_BOM)
    return FileState(path, target, _decoded(content, bom=bom), bom, stat.S_IMODE(info.st_mode), _identity(info))


def _target(path: Path, within: Path | None) -> Path:
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise NotWritable(f"`{path}` is a symbolic link that leads nowhere") from error
    if path.is_symlink() and not target.exists():
        raise NotWritable(f"`{path}` is a symbolic link to `{target}`, which does not exist")
    if within is not None and not target.is_relative_to(within.resolve()):
        raise NotWritable(f"`{path}` leads to `{target}`, which is outside `{within}`", hint="nothing was changed")
    return target


def _check(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise NotWritable(f"`{path}` is not a regular file")
    if not info.st_mode & _WRITABLE:
        raise NotWritable(f"`{path}` is read-only", hint="make it writable, or add the entry where it is made")
    if info.st_nlink > 1:
        raise NotWritable(f"`{path}` has {info.st_nlink} hard links, which replacing it would separate")
    if info.st_uid != os.geteuid() and os.geteuid() != 0:
        raise NotWritable(f"`{path}` belongs to another user")


def _identity(info: os.stat_result) -> Identity:
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size


def _decoded(content: bytes, *, bom: bool) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("this is UTF-16; only UTF-8 can be edited")
    try:
        return content[len(_BOM) * bom :].decode("utf-8")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        raise Unreadable("this is not UTF-8", line, len(before) - before.rfind(b"\n")) from None


def save(state: FileState, text: str, backups: Path, *, private: bool = False) -> Saved:
    """
    Replace the file that *state* was read from, or make it, and keep a copy of it in the folder *backups*.

    *private*: the text holds a secret, so group and others lose their access before it is there.
    Raises `ChangedMeanwhile`, `NotWritable`, `StillHeld`; then the file is as it was.
    """
    with alone_in(state.target.parent):
        return _saved(state, text, backups, private=private)


def _saved(state: FileState, text: str, backups: Path, *, private: bool) -> Saved:
    _still(state)
    content = state.encoded(text)
    before = state.encoded(state.text) if state.exists else None
    backup = None if before is None else _backup(state, before, backups)
    made = tuple(_make_folders(state.target.parent))
    try:
        _replace(state, content, private=private)
    except OSError as error:
        _unmake(made)
        raise NotWritable(f"`{state.path}` cannot be written: {error.strerror}") from error
    except ChangedMeanwhile:
        _unmake(made)
        raise
    return Saved(backup, made, _digest(before), _digest(content))


def erase(state: FileState, backups: Path, *, made: Iterable[Path] = ()) -> Saved:
    """Delete a file that we once made, and those of the folders *made* for it that are empty."""
    if not state.exists or state.path != state.target:
        raise NotWritable(f"`{state.path}` is not a file of ours to delete")
    before = state.encoded(state.text)
    with alone_in(state.target.parent):
        backup = _backup(state, before, backups)
        _still(state)
        try:
            state.target.unlink()
        except OSError as error:
            raise NotWritable(f"`{state.path}` cannot be deleted: {error.strerror}") from error
    _unmake(made)
    return Saved(backup, (), _digest(before), None)


def reopen(path: Path, mode: int) -> None:
    """Give *path* back the *mode* that it had before a secret closed it, unless somebody changed its mode since."""
    now = load(path)
    if now.exists and now.mode == mode & ~_OTHERS:
        now.target.chmod(mode)


def change(
    path: Path,
    function: Callable[[FileState], str],
    backups: Path,
    *,
    within: Path | None = None,
    private: bool = False,
) -> tuple[FileState, Saved | None]:
    """
    Load, let *function* give the new text, save; again when another program wrote in between. None: nothing to change.

    Raises `ChangedMeanwhile` when the file never stands still.
    """
    for _ in range(_TRIES - 1):
        with suppress(ChangedMeanwhile):
            return _changed_once(path, function, backups, within=within, private=private)
    return _changed_once(path, function, backups, within=within, private=private)


def _changed_once(
    path: Path, function: Callable[[FileState], str], backups: Path, *, within: Path | None, private: bool
) -> tuple[FileState, Saved | None]:
    with alone_in(_target(path, within).parent):
        state = load(path, within=within)
        text = function(state)
        if state.exists and text == state.text:
            return state, None
        return state, _saved(state, text, backups, private=private)


def _replace(state: FileState, content: bytes, *, private: bool) -> None:
    target = state.target
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if state.exists:
                _like(target, temporary)
            mode = _NEW_FILE if state.mode is None else state.mode
            os.fchmod(descriptor, mode & ~_OTHERS if private else mode)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        _still(state)
        if state.exists:
            temporary.replace(target)
        else:
            _appear(temporary, state)
        _last(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _like(target: Path, temporary: Path) -> None:
    """Give *temporary* the owner and the extended attributes of *target*."""
    info = target.stat()
    if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.chown(temporary, info.st_uid, info.st_gid)
    shutil.copystat(target, temporary)
    os.utime(temporary)


def _appear(temporary: Path, state: FileState) -> None:
    """Make a file that was not there, and not over one that appeared meanwhile."""
    try:
        os.link(temporary, state.target)
    except FileExistsError:
        raise ChangedMeanwhile(f"`{state.path}` was made by another program meanwhile") from None
    except OSError:  # a file system without hard links
        temporary.replace(state.target)


def _still(state: FileState) -> None:
    """Raise `ChangedMeanwhile` unless the file is the one that was read."""
    try:
        info = state.target.lstat()
    except FileNotFoundError:
        now = None
    else:
        now = _identity(info)
    if now != state.identity or state.path.resolve() != state.target:
        raise ChangedMeanwhile(f"`{state.path}` was changed by another program meanwhile", hint="try again")


def _last(folder: Path) -> None:
    """Make a rename in *folder* outlive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path) -> list[Path]:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        try:
            parent.mkdir(mode=_NEW_FOLDER)
        except OSError as error:
            raise NotWritable(f"`{parent}` cannot be made: {error.strerror}") from error
    return missing[::-1]


def _unmake(made: Iterable[Path]) -> None:
    for folder in sorted(made, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _backup(state: FileState, content: bytes, folder: Path) -> Path:
    """A copy of *content* in *folder*; of one file the last ten are kept."""
    private_folder(folder)
    kind = hashlib.sha256(os.fsencode(state.target)).hexdigest()[:12]
    backup = folder / f"{kind}-{time.time_ns()}-{state.target.name[:100]}"
    try:
        _write_new(backup, content)
    except OSError as error:
        backup.unlink(missing_ok=True)
        raise NotWritable(f"no backup of `{state.path}` can be kept: {error.strerror}") from error
    for old in sorted(folder.glob(f"{kind}-*"))[:-_BACKUPS_KEPT]:
        old.unlink(missing_ok=True)
    return backup


def _write_new(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _NEW_FILE)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
