"""
Files of the project that a command of an interceptor names: approved by their content, and run only with that content.

Whoever may write in the repository, an AI client for one, could otherwise change what was approved without changing
the command. What such a file loads by itself is not looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from mcpcompose.interceptors.base import InterceptorFailed
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import Project

_LARGEST: Final = 64 << 20
_LONGEST: Final = 4096
"""Characters of a path."""
_PARTS: Final = re.compile(r"[\s=;&|<>()'\"`]+")
"""What stands between the names of files in a command for a shell, or in an option."""
Signature = tuple[int, int, int, int, int]


def contents(interceptor: Interceptor, directory: Path, words: Iterable[str]) -> dict[str, str]:
    """
    What the files that *words* of a command name hold, by path: a digest, or where a link leads that leads out.

    Those below the project's *directory* and below the folder that the command runs in; what is elsewhere is not the
    project's. Raises `OSError` for a file that cannot be read.
    """
    folder = directory / (interceptor.working_dir or "")
    ours = {Path(os.path.normpath(folder)), directory}
    inside = {Path(os.path.realpath(one)) for one in ours}
    found: dict[str, str] = {}
    for name in dict.fromkeys(_names(words)):
        path = Path(os.path.normpath(folder / name))
        real = Path(os.path.realpath(path))
        is_inside = any(map(real.is_relative_to, inside))
        if (is_inside or any(map(path.is_relative_to, ours))) and os.path.isfile(real):  # noqa: PTH113  false for a name too long
            found[str(path)] = content_of(real) if is_inside else f"leads to {real}"
    return found


def named_by(interceptor: Interceptor, directory: Path, words: Iterable[str]) -> frozenset[str]:
    """The paths that *words* of a command may mean. Pure."""
    folder = directory / (interceptor.working_dir or "")
    return frozenset(os.path.normpath(folder / name) for name in _names(words))


def words_of(interceptor: Interceptor) -> tuple[str, ...]:
    """The words of *interceptor* that may name files of the project."""
    if interceptor.python is not None:
        return ("-m", interceptor.python.partition(":")[0])
    return interceptor.run or ()


def content_of(path: Path) -> str:
    """The digest of a file. Raises `OSError`, also for one that is too large to be looked at."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise OSError(f"`{path}` is larger than {_LARGEST >> 20} MiB")
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class PinnedFiles:
    """The files of *interceptor* as they were when *project* was last loaded and approved."""

    def __init__(self, interceptor: Interceptor, project: Callable[[], Project]) -> None:
        self._interceptor, self._project = interceptor, project
        self._seen: dict[str, tuple[Signature, str | None]] = {}

    async def check(self, words: Iterable[str]) -> None:
        """Raise `InterceptorFailed` when a file that *words* name is not as it was approved."""
        project = self._project()
        if self._interceptor not in project.interceptors[: project.provenance.imposed]:  # those are root's own
            await asyncio.to_thread(self._check, tuple(words), project)

    def _check(self, words: tuple[str, ...], project: Project) -> None:
        directory, approved = project.directory, project.provenance.programs
        try:
            names = named_by(self._interceptor, directory, words)
            state = {path: (_signature(path), approved.get(path)) for path in sorted(names)}
            if state == self._seen:
                return
            now = contents(self._interceptor, directory, words)
        except OSError as error:
            raise InterceptorFailed(f"a file of its command cannot be read: {error}") from None
        changed = [path for path in sorted(names | now.keys()) if now.get(path) != approved.get(path)]
        if changed:
            raise InterceptorFailed(
                f"`{os.path.relpath(changed[0], directory)}` is not what was approved any more",
                hint="look at it, and approve it with `mcp-compose up` or `mcp-compose trust`",
            )
        self._seen = state


def _names(words: Iterable[str]) -> Iterator[str]:
    """Everything in *words* that could be a file's name."""
    before = ""
    for word in words:
        for part in dict.fromkeys((word, *_PARTS.split(word))):
            if part and "\0" not in part and len(part) <= _LONGEST:
                yield part
                if before == "-m":
                    yield from _module(part)
        before = word


def _module(name: str) -> Iterator[str]:
    """The files of a module and of the packages it is in."""
    folder = ""
    for part in name.split("."):
        folder = f"{folder}{part}/"
        yield f"{folder}__init__.py"
        yield from (f"{folder}__init__{suffix}" for suffix in EXTENSION_SUFFIXES)
    yield from (f"{folder.rstrip('/')}{suffix}" for suffix in EXTENSION_SUFFIXES)  # which go before `.py`
    yield from (f"{folder.rstrip('/')}.py", f"{folder}__main__.py")


def _signature(path: str) -> Signature:
    try:
        info = os.stat(path)  # noqa: PTH116  a text
    except OSError:
        return (0, 0, 0, 0, 0)
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
