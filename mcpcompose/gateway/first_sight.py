"""
What servers offered when they were first seen, or a person accepted it: on this machine, outside the repository.

The file is only its user's, and written whole or not at all. What cannot be read counts as nothing accepted, and what
cannot be kept was not seen: both withhold, neither lets through. Servers whose record was lost with such a file are
not seen for the first time again: they wait for a person, also when another one has been accepted and written since.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mcpcompose.errors import McpComposeError
from mcpcompose.paths import private_folder
from mcpcompose.spec.lockfile import LockedServer

_VERSION: Final = 1
_MOST: Final = 64 << 20
"""Bytes of the file; a larger one is none of ours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One server: *held* has the digests, and in `launch` how it is written in the file.

    *texts* are the definitions themselves, by kind and name, to show a person what became of them; those that hold a
    secret value or are very long are not kept.
    """

    held: LockedServer
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def text(self, kind: str, name: str) -> str | None:
        """The definition that was accepted, as canonical JSON."""
        return self.texts.get(kind, {}).get(name)


class FirstSight:
    """The records in *file* by server; without a file they last as long as the process."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen: dict[str, Seen] | None = None
        self.broken: str | None = None
        """Why the file cannot be read."""
        self.lost: frozenset[str] = frozenset()
        """Servers that may have been accepted in a file that could not be read."""

    def of(self, server: str) -> Seen | None:
        """What is known of *server*."""
        return self._all().get(server)

    def lose(self, servers: Iterable[str]) -> None:
        """What is `broken` may have had records of these."""
        self.lost |= frozenset(servers)

    def keep(self, server: str, seen: Seen) -> None:
        """From now on *seen* is known of *server*. Raises `McpComposeError`, and then nothing has changed."""
        known = {**self._all(), server: seen}
        lost = self.lost - {server}
        try:
            self._write(known, lost)
        except (OSError, McpComposeError) as error:
            why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else error.message
            message = f"what servers offer cannot be kept in `{self._file}`: {why}"
            raise McpComposeError(message, hint="make room, or let this user write there") from error
        self._seen, self.lost, self.broken = known, lost, None

    def _all(self) -> dict[str, Seen]:
        if self._seen is None:
            try:
                self._seen, self.lost = self._read()
                self.broken = None
            except OSError as error:  # may be mended by itself: looked at again
                self.broken = (error.strerror or "").lower()
                return {}
            except (ValueError, RecursionError):
                self._seen, self.broken = {}, "it is damaged"
        return self._seen

    def _read(self) -> tuple[dict[str, Seen], frozenset[str]]:
        """The records, and the servers whose record was lost."""
        if self._file is None:
            return {}, frozenset()
        try:
            with self._file.open("rb") as stream:
                content = json.loads(stream.read(_MOST))
        except FileNotFoundError:
            return {}, frozenset()
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise ValueError("another version")
        if not isinstance(servers := content.get("servers"), dict):
            raise ValueError("no servers")  # noqa: TRY004  as damaged as any other
        if not isinstance(lost := content.get("lost", []), list):
            raise ValueError("no list of servers")  # noqa: TRY004  as damaged as any other
        return {str(name): _seen(entry) for name, entry in servers.items()}, frozenset(map(str, lost))

    def _write(self, known: Mapping[str, Seen], lost: Iterable[str]) -> None:
        if self._file is None:
            return
        servers = {
            name: {"held": one.held.model_dump(mode="json", exclude_none=True), "texts": one.texts}
            for name, one in known.items()
        }
        content = json.dumps({"version": _VERSION, "servers": servers, "lost": sorted(lost)})
        if len(content) > _MOST:  # in ASCII
            raise McpComposeError("it would be too large to be read again")
        folder = private_folder(self._file.parent)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{self._file.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self._file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def _seen(entry: Any) -> Seen:
    """One record. Raises `ValueError`, also when its fingerprint is another one."""
    try:
        held = LockedServer.model_validate(entry["held"])
        texts = {str(kind): {str(k): str(v) for k, v in named.items()} for kind, named in entry["texts"].items()}
    except (ValidationError, TypeError, KeyError, AttributeError) as error:
        raise ValueError("no record") from error
    if held.fingerprint != held.whole():
        raise ValueError("changed by hand")
    return Seen(held, texts)
