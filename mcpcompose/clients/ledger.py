"""
What we wrote into which file of which client application, so that we know what is ours.

One file per project, for its owner alone. It holds names and hashes of what was written, never a value.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mcpcompose.clients.edit_merge import leaves
from mcpcompose.clients.edit_types import Container, Undo
from mcpcompose.errors import McpComposeError
from mcpcompose.file_lock import lock
from mcpcompose.paths import private_folder

VERSION: Final = 1
_PATIENCE: Final = 10.0
_MISSING: Final = "-"

State = Literal["missing", "ours", "changed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry in a file: where it is, the ways to its *fields*, and a salted hash of their values."""

    path: tuple[str, ...]
    name: str
    fields: tuple[tuple[str, ...], ...]
    digest: str
    undo: Undo = field(default_factory=Undo)
    container: Container = "map"
    identifier: str | None = None

    @classmethod
    def of(
        cls,
        path: tuple[str, ...],
        name: str,
        entry: Mapping[str, Any],
        undo: Undo,
        *,
        container: Container = "map",
        identifier: str | None = None,
    ) -> Piece:
        """The record of *entry* as it is about to be written."""
        fields = tuple(leaves(entry))
        return cls(path, name, fields, _digest(entry, fields, secrets.token_hex(8)), undo, container, identifier)

    def state(self, current: Any | None) -> State:
        """Whether the entry that is *current*ly in the file still has what we wrote; more fields may be there."""
        if current is None:
            return "missing"
        return "ours" if _digest(current, self.fields, self.digest.split(":")[0]) == self.digest else "changed"

    def holds(self, entry: Mapping[str, Any]) -> bool:
        """Whether *entry* is what was written, no more and no less."""
        return set(leaves(entry)) == set(self.fields) and self.state(entry) == "ours"


@dataclass(frozen=True, slots=True)
class Connection:
    """All that we wrote into one *file*: *made* are folders and the file itself if they were not there."""

    application: str
    scope: str
    file: Path
    pieces: tuple[Piece, ...]
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    made: tuple[Path, ...] = ()
    change: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, Path]:
        """What tells connections apart."""
        return self.application, self.scope, self.file


class Ledger:
    """The record in *folder*. Raises `McpComposeError` when it is spoilt: then nothing can be told to be ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "clients.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes the record or, through us, its files. Raises `McpComposeError` after ten seconds."""
        private_folder(self._folder)
        file = self._folder / "clients.lock"
        try:
            descriptor = lock(file, _PATIENCE)
        except OSError as error:
            raise McpComposeError(f"`{file}` cannot be locked: {error.strerror}") from error
        if descriptor is None:
            raise McpComposeError("another `mcp-compose client` is at work on this project", hint="try again")
        try:
            yield
        finally:
            os.close(descriptor)

    def connections(self) -> tuple[Connection, ...]:
        """All of them, in the order in which they were first made."""
        try:
            return self._read(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise self._spoilt() from error

    def _read(self, text: str) -> tuple[Connection, ...]:
        try:
            value = json.loads(text)
            if value["version"] != VERSION:
                raise self._spoilt()
            return tuple(_connection(item) for item in value["connections"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._spoilt() from error

    def find(self, application: str, scope: str, file: Path) -> Connection | None:
        """The connection of *application* by *file*; None when there is none."""
        key = (application, scope, file)
        return next((connection for connection in self.connections() if connection.key == key), None)

    def keep(self, connection: Connection) -> None:
        """Add *connection*, or put it in the place of the one with its key."""
        known = {item.key: item for item in self.connections()}
        self._write({**known, connection.key: connection})

    def forget(self, connection: Connection) -> None:
        """Take *connection* out."""
        self._write({item.key: item for item in self.connections() if item.key != connection.key})

    def take_back(self, text: str | None, file: Path) -> None:
        """Make what is known of *file* what the record *text* knew of it; None knew nothing."""
        others = [one for one in self.connections() if one.file != file]
        before = [one for one in self._read(text) if one.file == file] if text is not None else []
        self._write({one.key: one for one in (*others, *before)})

    def _spoilt(self) -> McpComposeError:
        hint = "remove it, then take the entries out of the client's files by hand; backups are beside it"
        return McpComposeError(f"`{self._file}`, the record of what was written, cannot be read", hint=hint)

    def _write(self, connections: Mapping[tuple[str, str, Path], Connection]) -> None:
        private_folder(self._folder)
        value = {"version": VERSION, "connections": [_as_json(item) for item in connections.values()]}
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".clients.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(value, stream, indent=1)
                stream.flush()
                os.fsync(descriptor)
            Path(name).replace(self._file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _digest(entry: Any, fields: tuple[tuple[str, ...], ...], salt: str) -> str:
    held = [[list(way), _value(entry, way)] for way in sorted(fields)]
    text = json.dumps(held, sort_keys=True, default=repr)
    return f"{salt}:{hashlib.sha256(f'{salt}{text}'.encode()).hexdigest()}"


def _value(entry: Any, way: tuple[str, ...]) -> Any:
    for step in way:
        if not isinstance(entry, Mapping) or step not in entry:
            return _MISSING
        entry = entry[step]
    return [entry]


def _as_json(connection: Connection) -> dict[str, Any]:
    return {
        "application": connection.application,
        "scope": connection.scope,
        "file": str(connection.file),
        "pieces": [_piece_as_json(piece) for piece in connection.pieces],
        "about": dict(connection.about),
        "made": [str(path) for path in connection.made],
        "change": connection.change,
    }


def _piece_as_json(piece: Piece) -> dict[str, Any]:
    return {
        "path": list(piece.path),
        "name": piece.name,
        "fields": [list(way) for way in piece.fields],
        "digest": piece.digest,
        "undo": piece.undo.as_json(),
        "container": piece.container,
        "identifier": piece.identifier,
    }


def _connection(value: Mapping[str, Any]) -> Connection:
    return Connection(
        value["application"],
        value["scope"],
        Path(value["file"]),
        tuple(_piece(piece) for piece in value["pieces"]),
        value["about"],
        tuple(Path(path) for path in value["made"]),
        value["change"],
    )


def _piece(value: Mapping[str, Any]) -> Piece:
    return Piece(
        tuple(value["path"]),
        value["name"],
        tuple(tuple(way) for way in value["fields"]),
        value["digest"],
        Undo.of_json(value["undo"]),
        value["container"],
        value["identifier"],
    )
