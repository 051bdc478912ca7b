"""
What the process engine remembers of its instances on disk, and which live processes are really theirs.

A record names a process by pid *and* kernel start time *and* boot, and every process of an instance carries a
random mark in its environment: so a later run finds what a killed one left, and never touches a pid that was reused.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mcpcompose.engine.base import HostCommand, Http, InstanceSpec, PackageImage
from mcpcompose.paths import private_folder

MARK: Final = "MCP_COMPOSE_INSTANCE"
"""The environment variable that carries an instance's mark."""

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Record:
    """One instance; *command* and *entrypoint* are templates, never values."""

    name: str
    labels: dict[str, str]
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    package: str | None = None
    """The tag of the package it runs."""
    port: int | None = None
    path: str = ""
    working_dir: str | None = None
    grace: float = 10.0
    pid: int | None = None
    started: str = ""
    """Kernel start time and boot of *pid*."""
    mark: str = ""
    exit_code: int | None = None
    image_id: str | None = None

    @property
    def is_http(self) -> bool:
        """It listens at a port instead of speaking on its standard streams."""
        return self.port is not None


@dataclass(slots=True)
class Records:
    """The records of one project, one file each, written as a whole."""

    folder: Path
    _cache: dict[str, Record] = field(default_factory=dict)

    def all(self) -> tuple[Record, ...]:
        """Every record, by name."""
        found = (self._read(file) for file in sorted(self.folder.glob("*.json"))) if self.folder.is_dir() else ()
        return tuple(record for record in found if record is not None)

    def get(self, name: str) -> Record | None:
        """The record of *name*."""
        return self._read(self._file(name))

    def put(self, record: Record) -> Record:
        """Write *record*."""
        private_folder(self.folder)
        file = self._file(record.name)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(file)
        return record

    def update(self, name: str, **changes: Any) -> None:
        """Change a record that may have gone."""
        if (found := self.get(name)) is not None:
            self.put(replace(found, **changes))

    def remove(self, name: str) -> None:
        """Forget *name*."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, file: Path) -> Record | None:
        try:
            found = json.loads(file.read_text())
            for key in ("command", "entrypoint"):
                found[key] = tuple(found[key]) if found[key] is not None else None
            return Record(**found)
        except (OSError, ValueError, TypeError, KeyError):
            return None


def record_of(spec: InstanceSpec, image_id: str | None) -> Record:
    """The record of an instance that is not started."""
    http = spec.transport if isinstance(spec.transport, Http) else None
    return Record(
        name=spec.name,
        labels=dict(spec.labels),
        command=spec.command,
        entrypoint=spec.entrypoint,
        package=spec.source.tag if isinstance(spec.source, PackageImage) else None,
        port=http.port if http else None,
        path=http.path if http else "",
        working_dir=spec.working_dir,
        grace=spec.stop_grace_period,
        image_id=None if isinstance(spec.source, HostCommand) else image_id,
    )


def is_alive(record: Record) -> bool:
    """The very process of *record* still runs."""
    return record.pid is not None and bool(record.started) and start_time(record.pid) == record.started


def start_time(pid: int) -> str:
    """When *pid* was started, and in which boot; empty when it has ended."""
    if not PROC.joinpath("self/stat").exists():
        done = subprocess.run(  # noqa: S603  our own arguments
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return ""
    return "" if fields[0] in {"Z", "X"} else f"{fields[19]} {boot}"


def marked(*marks: str) -> Iterator[int]:
    """Every live process of this user that carries one of *marks*; where the system does not say, none."""
    wanted = {f"{MARK}={mark}".encode() for mark in marks if mark}
    if not wanted or not PROC.is_dir():
        return
    for entry in os.scandir(PROC):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = Path(entry.path, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if not wanted.isdisjoint(variables) and start_time(int(entry.name)):
            yield int(entry.name)
