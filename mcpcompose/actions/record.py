"""
What a project leaves in its state folder for the next command: where it is, and which port and engines it used.

`ls` lists projects by it, `down` finds the engines by it, and the port stays the same from one `up` to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from mcpcompose.actions.files import read_json, write_atomically
from mcpcompose.paths import project_paths

_FILE: Final = "project.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Record:
    """*engines* are those on which something of the project may be left; *port* is the remembered one."""

    name: str
    directory: str
    files: tuple[str, ...]
    port: int | None = None
    engines: tuple[str, ...] = ()
    endpoint: str | None = None

    def on_engine(self, engine: str) -> Record:
        """The same, with *engine* among those to look at."""
        return replace(self, engines=tuple(sorted({*self.engines, engine})))

    def listening(self, endpoint: str, chosen_port: int | None) -> Record:
        """The same at *endpoint*; *chosen_port* is to be taken again the next time."""
        return replace(self, endpoint=endpoint, port=chosen_port or self.port)


def read_record(state: Path) -> Record | None:
    """The record in a project's state folder; None when there is none of this format."""
    data = read_json(state / _FILE)
    if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
        return None
    try:
        return Record(**{**data, "files": tuple(data["files"]), "engines": tuple(data["engines"])})
    except (KeyError, TypeError):
        return None


def write_record(state: Path, record: Record) -> None:
    """Keep *record*, if it is not the one already there."""
    if read_record(state) != record:
        write_atomically(state / _FILE, json.dumps({"format": _FORMAT, **asdict(record)}))


def records(environ: Mapping[str, str]) -> Iterator[tuple[str, Record]]:
    """Every project of this user by the name of its folders."""
    base = project_paths("-", environ).state.parent
    for folder in sorted(base.iterdir()) if base.is_dir() else ():
        if record := read_record(folder):
            yield folder.name, record
