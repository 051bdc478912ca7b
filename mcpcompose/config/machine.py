"""
The machine's policy: a file of root's that binds every project on this machine.

Nothing that a project or an ordinary user controls names it, changes it or leaves it out: it is read from one place,
and when it cannot be read, or somebody else than its owner could have written it, nothing loads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.config.document import MAX_BYTES
from mcpcompose.errors import FileProblems, Position, Problem

POLICY: Final = Path("/etc/mcp-compose/policy.yaml")
_HINT: Final = "it must belong to root, and nobody else may be able to write it or the folders it is in"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the machine's policy is, and whose it must be (tests have another place and another owner)."""

    file: Path = POLICY
    owner: int = 0
    above: Path = Path("/")
    """Folders below this one are looked at, too."""


def read_machine(machine: Machine) -> bytes | None:
    """The content of the machine's policy; None when there is none. Raises `FileProblems` when it cannot be trusted."""
    return read_trusted(machine.file, machine)


def read_trusted(file: Path, machine: Machine) -> bytes | None:
    """The content of *file*, which is as trusted as the machine's policy; None when there is none."""
    try:
        for folder in _folders(file, machine):
            _judge(folder, folder.lstat(), machine, stat.S_ISDIR)
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from error
    try:
        _judge(file, os.fstat(descriptor), machine, stat.S_ISREG)
    except FileProblems:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _unusable(file, "is larger than 1 MiB")
    return content


def _folders(file: Path, machine: Machine) -> Iterator[Path]:
    for folder in reversed(file.parents):
        if folder != machine.above and folder.is_relative_to(machine.above):
            yield folder


def _judge(path: Path, info: os.stat_result, machine: Machine, is_kind: object) -> None:
    assert callable(is_kind)  # noqa: S101  one of `stat`'s questions
    if not is_kind(info.st_mode):
        raise _unusable(path, "is a link, or not what it should be")
    if info.st_uid != machine.owner:
        raise _unusable(path, "belongs to somebody else than root")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(path, "can be written by others than root")


def _unusable(path: Path, why: str) -> FileProblems:
    problem = Problem(f"the machine's policy cannot be trusted: `{path}` {why}", Position(path, 1, 1), _HINT)
    return FileProblems((problem,))
