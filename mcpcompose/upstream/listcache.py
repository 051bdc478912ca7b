"""What servers offered last time, on disk by launch identity, so that a start can serve it at once."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from mcpcompose.upstream.base import Era, ServerLists

_FORMAT: Final = 1


class _Stored(msgspec.Struct):
    format: int
    era: str
    version: str
    lists: ServerLists


class ListCache:
    """
    One file per fingerprint, 0600, written atomically; one that cannot be read is as good as none.

    Lists that *redact* would change are not kept: a server that puts its secret into a description, an error of its
    own, does not get it onto the disk.
    """

    def __init__(self, folder: Path, redact: Callable[[str], str] | None = None) -> None:
        self._folder = folder
        self._redact = redact

    def load(self, fingerprint: str) -> tuple[ServerLists, Era] | None:
        """The lists and the era the server spoke."""
        try:
            stored = msgspec.json.decode(self._path(fingerprint).read_bytes(), type=_Stored)
            lists = replace(stored.lists, is_remembered=True)
            return (lists, Era(stored.era)) if stored.format == _FORMAT else None
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            return None

    def store(self, fingerprint: str, lists: ServerLists, era: Era, version: str) -> None:
        """Remember; a full disk costs only the speed of the next start."""
        path = self._path(fingerprint)
        content = msgspec.json.encode(_Stored(_FORMAT, era.value, version, lists))
        if self._redact is not None and self._redact(text := content.decode("utf-8", "replace")) != text:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:40]}.json"
