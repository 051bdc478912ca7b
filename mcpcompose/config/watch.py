"""
Say when files changed; the only importer of `watchfiles`.

Folders are watched, not files, so that saves by rename, files that are not there yet and replaced folders
are seen; what counts is what the files are afterwards, so that noise next to them is not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

from mcpcompose.log import fields

_DEBOUNCE_MS: Final = 60
_STEP_MS: Final = 20
_LOOK_AGAIN_MS: Final = 500
"""Where the system reports nothing (network file systems, a folder swapped at the wrong moment)."""
_MAX_LINKS: Final = 40
_log: Final = logging.getLogger(__name__)

Signature = tuple[int, int, int, int] | None


def changes(files: Callable[[], Iterable[Path]]) -> AsyncIterator[set[Path]]:
    """
    The files of *files* that changed since this call, again and again; *files* is asked anew each time.

    Close the iterator to stop.
    """
    return _changes(files, {file: _signature(file) for file in files()})


async def _changes(files: Callable[[], Iterable[Path]], known: dict[Path, Signature]) -> AsyncIterator[set[Path]]:
    while True:
        names = frozenset(files())
        folders = _folders(names)
        try:
            async with aclosing(_wake_ups(folders)) as wake_ups:
                async for _ in wake_ups:
                    if changed := _compare(files(), known):
                        yield changed
                    # A reload may have brought other files; a replaced folder is another one of the same name.
                    if frozenset(files()) != names or _folders(names) != folders:
                        break
        except FileNotFoundError:
            continue  # a folder went between looking and watching
        except OSError as error:  # such as no more inotify watches for this user
            _log.warning("files are looked at instead of watched", extra=fields(reason=str(error)))
            while True:
                await asyncio.sleep(_LOOK_AGAIN_MS / 1000)
                if changed := _compare(files(), known):
                    yield changed


async def _wake_ups(folders: Mapping[Path, tuple[int, int]]) -> AsyncGenerator[None]:
    """Whenever something happened in *folders*, and every half second."""
    from watchfiles import awatch  # noqa: PLC0415  only for commands that stay

    stop = asyncio.Event()
    watcher = awatch(
        *folders,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_LOOK_AGAIN_MS,
        yield_on_timeout=True,
        recursive=False,
        stop_event=stop,
        ignore_permission_denied=True,
    )
    try:
        async for _events in watcher:
            yield None
    finally:
        stop.set()


def _compare(names: Iterable[Path], known: dict[Path, Signature]) -> set[Path]:
    """The files of *names* that are not as they are *known*; notes how they are now."""
    changed = set()
    for file in names:
        now = _signature(file)
        if file not in known:
            known[file] = now
        elif known[file] != now:
            known[file] = now
            changed.add(file)
    return changed


def _signature(file: Path) -> Signature:
    """What tells one content of a file from the next; None when there is none."""
    try:
        info = os.stat(file)  # noqa: PTH116  the hot path of a watcher
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)


def _folders(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """
    The folders to watch, with their identity: of each file and of each link on the way to it, the
    folder it is in and the one above; of what is not there, the nearest that is.
    """
    folders: dict[Path, tuple[int, int]] = {}
    for file in files:
        for place in (file, *_links(file)):
            folder = place.parent
            while (found := _identity(folder)) is None and folder != folder.parent:
                folder = folder.parent
            if found is not None:
                folders[folder] = found
            if (above := _identity(folder.parent)) is not None:
                folders[folder.parent] = above
    return folders


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(folder)  # noqa: PTH116  as above
    except OSError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISDIR(info.st_mode) else None


def _links(file: Path) -> Iterator[Path]:
    """Every symbolic link that *file* is or is reached through, and where the last one leads."""
    waiting, seen = [file], set[Path]()
    while waiting and len(seen) < _MAX_LINKS:
        path = waiting.pop()
        for place in (path, *path.parents):
            if place in seen or not os.path.islink(place):  # noqa: PTH114  the hot path of a watcher
                continue
            seen.add(place)
            try:
                target = Path(os.path.normpath(place.parent / os.readlink(place)))  # noqa: PTH115  the same
            except OSError:
                continue
            yield place
            rest = path.relative_to(place)
            yield target / rest
            waiting.append(target / rest)
