"""Which client applications there are, and how the entries of this project in their files are doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.connections import ledger_of, machine_of, target_of
from mcpcompose.actions.locate import Place
from mcpcompose.actions.record import read_record
from mcpcompose.clients.connect import state_of
from mcpcompose.clients.detect import Evidence, detected
from mcpcompose.clients.edit import read
from mcpcompose.clients.entries import parse_entry
from mcpcompose.clients.ledger import Connection
from mcpcompose.clients.places import Machine, candidates
from mcpcompose.clients.registry import Application, Scope, applications
from mcpcompose.clients.write import load
from mcpcompose.errors import McpComposeError

if TYPE_CHECKING:
    from mcpcompose.spec.project import Project


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One entry for this project. *state*: connected, changed, gone or unreadable as the file says; `moved`, when it leads
    to where the gateway is no more; `by hand`, when somebody else wrote it.
    """

    scope: str
    file: Path
    name: str
    state: str
    kind: str | None
    client: str | None
    profile: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One program; *evidence* is None when it was not found on this machine."""

    application: Application
    evidence: Evidence | None
    entries: tuple[Seen, ...]

    @property
    def is_interesting(self) -> bool:
        """Whether it is there, or has an entry of ours."""
        return self.evidence is not None or bool(self.entries)


def rows(place: Place, project: Project | None) -> tuple[Row, ...]:
    """Every program that is known. *project* is None when the file cannot be loaded."""
    machine = machine_of(place)
    found = detected(machine)
    record = read_record(place.paths.state)
    endpoint = record.endpoint if record is not None else None
    profiles = {name: bound.profile for name, bound in project.clients.items()} if project is not None else {}
    ours: dict[str, list[Seen]] = {}
    for connection in ledger_of(place).connections():
        seen = _seen(place, connection, endpoint, profiles)
        ours.setdefault(connection.application, []).append(seen)
    made = []
    for name, application in applications().items():
        entries = ours.get(name, [])
        if name in found and endpoint is not None:
            entries += _by_hand(application, machine, endpoint, {(one.file, one.name) for one in entries})
        made.append(Row(application, found.get(name), tuple(entries)))
    return tuple(made)


def as_json(row: Row) -> dict[str, Any]:
    """What `client ls` tells programs."""
    application = row.application
    return {
        "application": application.id,
        "name": application.name,
        "status": application.status,
        "evidence": {"what": row.evidence.what, "where": str(row.evidence.where)} if row.evidence else None,
        "scopes": [name for name, scope in application.scopes.items() if scope.writable],
        "entries": [
            {
                "scope": one.scope,
                "file": str(one.file),
                "name": one.name,
                "state": one.state,
                "kind": one.kind,
                "client": one.client,
                "profile": one.profile,
            }
            for one in row.entries
        ],
    }


def _seen(place: Place, connection: Connection, endpoint: str | None, profiles: Mapping[str, str]) -> Seen:
    about = connection.about
    client = str(about.get("client", "default"))
    try:
        target = target_of(place, connection)
        state = state_of(target.application, target.load().text, connection.pieces)
    except McpComposeError:
        state = "unreadable"
    url = about.get("url")
    moved = state == "connected" and isinstance(url, str) and endpoint is not None and not _is_same(url, endpoint)
    return Seen(
        scope=connection.scope,
        file=connection.file,
        name=str(about.get("name", connection.pieces[0].name)),
        state="moved" if moved else state,
        kind=str(about["kind"]) if "kind" in about else None,
        client=client,
        profile=profiles.get(client, "default" if client == "default" else None),
    )


def _is_same(url: str, endpoint: str) -> bool:
    """Whether *url* is *endpoint*, by whatever name its program calls this machine."""
    return url.rpartition(":")[2] == endpoint.rpartition(":")[2]


def _by_hand(application: Application, machine: Machine, endpoint: str, known: set[tuple[Path, str]]) -> list[Seen]:
    found = []
    for scope in application.scopes.values():
        for file in candidates(scope, machine):
            for name, entry in _entries(application, scope, file, machine).items():
                if (file, name) not in known and parse_entry(entry).url == endpoint:
                    found.append(Seen(scope.name, file, name, "by hand", "http", None, None))
    return found


def _entries(application: Application, scope: Scope, file: Path, machine: Machine) -> dict[str, Mapping[str, Any]]:
    """The entries in *file* by name; none of a file that cannot be read."""
    try:
        here: Any = read(application.format, load(file).text, strict=application.strict)
    except McpComposeError:
        return {}
    for step in scope.key:
        here = here.get(step.replace("{project}", str(machine.project))) if isinstance(here, Mapping) else None
    if isinstance(here, list) and application.list_of is not None:
        here = {
            one[application.list_of]: one for one in here if isinstance(one, Mapping) and application.list_of in one
        }
    if not isinstance(here, Mapping):
        return {}
    return {str(name): one for name, one in here.items() if isinstance(one, Mapping)}
