"""
What a project writes into the files of client applications: planned, carried out, taken away and taken back.

A plan is made of the file as it is and shown; what is carried out is made anew of the file as it is then, under the
project's lock and the client's own.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcpcompose.actions import last_change
from mcpcompose.actions.locate import Place
from mcpcompose.actions.record import records
from mcpcompose.clients import client_lock, write
from mcpcompose.clients.choice import Choice
from mcpcompose.clients.connect import Connected, NotOurs, with_entry, without_entry
from mcpcompose.clients.edit import read
from mcpcompose.clients.entries import parse_entry
from mcpcompose.clients.ledger import Connection, Ledger, Piece
from mcpcompose.clients.parts import parts
from mcpcompose.clients.places import Machine
from mcpcompose.clients.registry import Application, Scope, named
from mcpcompose.clients.write import FileState, Saved
from mcpcompose.clients.write_diff import diff
from mcpcompose.errors import McpComposeError
from mcpcompose.paths import private_folder, project_paths

TOKEN_PREFIX: Final = "mcpc_"  # noqa: S105  what every token of ours starts with
_HOLDER: Final = "holds_token"


@dataclass(frozen=True, slots=True)
class Target:
    """One file of one program; *within* is the folder that its symbolic links must stay in."""

    application: Application
    scope: Scope
    file: Path
    project: Path

    @property
    def within(self) -> Path | None:
        """A project's file must not lead out of the project: it may come from somebody else."""
        return self.project if self.scope.name == "project" and self.file.is_relative_to(self.project) else None

    def load(self) -> FileState:
        """The file as it is."""
        return write.load(self.file, within=self.within)


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One change of one file. *after* is None for a file that goes.

    *shown* is its diff without secrets; *keeps*: another program reads the same entry, so it stays.
    """

    target: Target
    name: str
    before: FileState
    after: str | None
    shown: str
    choice: Choice | None = None
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    force: bool = False
    keeps: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the file would be another one."""
        return self.after != (self.before.text if self.before.exists else None)


def machine_of(place: Place) -> Machine:
    """The person's machine, with the project of *place*."""
    return Machine(place.options.home, place.options.environ, place.directory)


def folder_of(place: Place) -> Path:
    """Where the project keeps what it knows of clients' files, and backups of them."""
    return place.paths.state / "clients"


def ledger_of(place: Place) -> Ledger:
    """What the project wrote where."""
    return Ledger(folder_of(place))


def plan_connect(
    place: Place, target: Target, name: str, choice: Choice, about: Mapping[str, Any], *, force: bool = False
) -> Plan:
    """What `connect` would change. Raises what `with_entry` raises."""
    state = target.load()
    try:
        ledger = ledger_of(place)
        made = _connected(ledger, target, name, choice, state, known=_known(ledger, target), force=force)
    except NotOurs as error:
        raise _of_whom(place, target, name) or error from error
    shown = diff(state.text, made.text, str(target.file), secrets=[choice.secret] if choice.secret else [])
    return Plan(target, name, state, made.text, shown, choice, about, force)


def connect(place: Place, plan: Plan) -> Saved | None:
    """
    Carry it out; None when the file was as it should be.

    What is written is known before it is written, so that nothing of ours can be in a file without being known.
    """
    target, choice, ledger = plan.target, plan.choice, ledger_of(place)
    if choice is None:
        raise ValueError("this plan takes an entry away")
    private_folder(place.paths.state)
    with ledger.held():
        known, snapshot = _known(ledger, target), last_change.snapshot(folder_of(place))
        about = {**plan.about, "name": plan.name, _HOLDER: choice.secret is not None}
        made: list[Connected] = []

        def text(state: FileState) -> str:
            found = _connected(ledger, target, plan.name, choice, state, known=known, force=plan.force)
            before = known or _by_name(ledger, target, found.pieces[0].path, found.pieces[0].name)
            folders = before.made if before is not None else ()
            made[:] = [found]
            ledger.keep(_connection(target, found, about, folders if state.exists else _to_make(target.file)))
            return found.text

        try:
            with client_lock.held(target.file, target.application.lock):
                state, saved = write.change(
                    target.file, text, _backups(place), within=target.within, private=choice.secret is not None
                )
        except McpComposeError:
            last_change.restore_ledger(folder_of(place), snapshot)
            raise
        about |= _kept(place, known, state, saved, replaced=made[0].replaced)
        mine = _known(ledger, target)
        ledger.keep(_connection(target, made[0], about, mine.made if mine is not None else ()))
        _tell_others(ledger, target, made[0].pieces)
        if saved is not None:
            _remember(place, f"connect {target.application.id}", state, saved, snapshot)
    return saved


def plan_disconnect(place: Place, connection: Connection, *, force: bool = False) -> Plan:
    """What `disconnect` would change. Raises what `without_entry` raises."""
    target = target_of(place, connection)
    state = target.load()
    others = tuple(one.application for one in _sharing(ledger_of(place), connection))
    after = state.text if others else _disconnected(target, connection, state, force=force)
    gone = not after.strip() and connection.made and connection.made[-1] == target.file
    shown = diff(state.text, after, str(target.file))
    name = str(connection.about.get("name", connection.pieces[0].name if connection.pieces else ""))
    kept = after if state.exists and not (gone and not others) else None
    return Plan(target, name, state, kept, shown, force=force, keeps=others)


def disconnect(place: Place, plan: Plan, connection: Connection) -> Saved | None:
    """Carry it out; None when nothing of ours was left in the file, or another program still reads the entry."""
    target, ledger = plan.target, ledger_of(place)
    with ledger.held():
        snapshot = last_change.snapshot(folder_of(place))
        known = ledger.find(*connection.key)
        if known is None:
            return None
        if _sharing(ledger, known):
            ledger.forget(known)
            return None
        with client_lock.held(target.file, target.application.lock):
            state, saved = _taken_away(place, target, known, force=plan.force)
        _leave(known)
        ledger.forget(known)
        if saved is not None:
            _open_again(state, known)
            _remember(place, f"disconnect {known.application}", state, saved, snapshot)
    return saved


def target_of(place: Place, connection: Connection) -> Target:
    """The file of *connection*. Raises `McpComposeError` when this version does not know the program any more."""
    application = named(connection.application)
    scope = {str(name): scope for name, scope in application.scopes.items()}.get(connection.scope)
    if scope is None:
        raise McpComposeError(f"{application.name} has no {connection.scope} file any more")
    return Target(application, scope, connection.file, place.directory)


def holding_token(place: Place, client: str) -> list[str]:
    """The programs whose files hold the token of *client* itself."""
    known = ledger_of(place).connections()
    found = [one.application for one in known if one.about.get("client") == client and one.about.get(_HOLDER)]
    return list(dict.fromkeys(found))


def _connection(target: Target, found: Connected, about: Mapping[str, Any], made: tuple[Path, ...]) -> Connection:
    return Connection(target.application.id, target.scope.name, target.file, found.pieces, dict(about), made)


def _to_make(file: Path) -> tuple[Path, ...]:
    """The folders that are not there, outermost first, and the file."""
    return (*[folder for folder in (file.parent, *file.parent.parents) if not folder.exists()][::-1], file)


def _connected(
    ledger: Ledger,
    target: Target,
    name: str,
    choice: Choice,
    state: FileState,
    *,
    known: Connection | None,
    force: bool,
) -> Connected:
    application = target.application
    there = read(application.format, state.text, strict=application.is_strict)
    wanted = parts(application, target.scope, name, choice, there=there, project=str(target.project))
    other = None if known is not None else _by_name(ledger, target, wanted[0].path, name)
    pieces = [one.pieces for one in (known, other) if one is not None]
    before = pieces[0] if pieces else ()
    if other is not None:
        said = parse_entry(wanted[0].value)
        entry = _at(there, before[0])
        if isinstance(entry, Mapping) and parse_entry(entry) == said:
            return Connected(state.text, before)
    return with_entry(application, target.scope, state.text, wanted, before, force=force)


def _of_whom(place: Place, target: Target, name: str) -> NotOurs | None:
    """What to say when another project of this person wrote the entry; None when none did."""
    for folder, record in records(place.options.environ):
        state = project_paths(folder, place.options.environ).state
        known: tuple[Connection, ...] = ()
        if state == place.paths.state:
            continue
        with suppress(McpComposeError):
            known = Ledger(state / folder_of(place).name).connections()
        for one in known:
            if one.file == target.file and name in {piece.name for piece in one.pieces}:
                return NotOurs(
                    f"the entry `{name}` is of the project `{record.name}` in `{record.directory}`",
                    hint="choose another name with `--name`, or set the project's `name:`",
                )
    return None


def _at(root: Mapping[str, Any], piece: Piece) -> Any:
    here: Any = root
    for step in (*piece.path, piece.name):
        here = here.get(step) if isinstance(here, Mapping) else None
    return here


def _known(ledger: Ledger, target: Target) -> Connection | None:
    return ledger.find(target.application.id, target.scope.name, target.file)


def _by_name(ledger: Ledger, target: Target, path: tuple[str, ...], name: str) -> Connection | None:
    """The connection of another program, which reads the same file, by the entry of the same name."""
    for one in ledger.connections():
        mine = one.key == (target.application.id, target.scope.name, target.file)
        if (
            not mine
            and one.file == target.file
            and one.pieces
            and (one.pieces[0].path, one.pieces[0].name) == (path, name)
        ):
            return one
    return None


def _sharing(ledger: Ledger, connection: Connection) -> list[Connection]:
    """Other connections by the same entry."""
    ours = connection.pieces[:1]
    return [
        one
        for one in ledger.connections()
        if one.key != connection.key
        and one.file == connection.file
        and [(p.path, p.name) for p in one.pieces[:1]] == [(p.path, p.name) for p in ours]
    ]


def _tell_others(ledger: Ledger, target: Target, pieces: tuple[Piece, ...]) -> None:
    """Keep what is known of the entry the same for every program that reads it."""
    mine = ledger.find(target.application.id, target.scope.name, target.file)
    if mine is None:
        return
    for one in _sharing(ledger, mine):
        ledger.keep(Connection(one.application, one.scope, one.file, pieces, one.about, one.made, one.change))


def _disconnected(target: Target, connection: Connection, state: FileState, *, force: bool) -> str:
    original = connection.about.get("original")
    if original and connection.about.get("digest") == hashlib.sha256(state.encoded(state.text)).hexdigest():
        try:
            return write.load(Path(str(original))).text
        except (write.NotWritable, write.ChangedMeanwhile):
            pass
    return without_entry(target.application, state.text, connection.pieces, force=force)


def _taken_away(place: Place, target: Target, connection: Connection, *, force: bool) -> tuple[FileState, Saved | None]:
    state = target.load()
    if not state.exists:
        return state, None
    text = _disconnected(target, connection, state, force=force)
    if not text.strip() and connection.made and connection.made[-1] == target.file:
        return state, write.erase(state, _backups(place))
    return write.change(
        target.file,
        lambda now: _disconnected(target, connection, now, force=force),
        _backups(place),
        within=target.within,
    )


def _leave(connection: Connection) -> None:
    """Remove the folders that were made for the file, as far as nothing is in them now."""
    for folder in reversed(connection.made):
        with suppress(OSError):
            folder.rmdir()


def _kept(
    place: Place, known: Connection | None, state: FileState, saved: Saved | None, *, replaced: bool
) -> dict[str, Any]:
    """What a later `disconnect` needs to know of the file as it was."""
    about = dict(known.about) if known is not None else {}
    found = {
        "mode": about.get("mode", state.mode),
        "original": about.get("original"),
        "digest": saved.after if saved is not None else hashlib.sha256(state.encoded(state.text)).hexdigest(),
    }
    if replaced and saved is not None and saved.backup is not None:
        originals = private_folder(folder_of(place) / "originals")
        kept = originals / saved.backup.name
        shutil.copyfile(saved.backup, kept)
        kept.chmod(0o600)
        found["original"] = str(kept)
    return found


def _open_again(state: FileState, connection: Connection) -> None:
    """Give the file the mode that it had before a token went in, if no token is left in it."""
    mode = connection.about.get("mode")
    if connection.about.get(_HOLDER) and isinstance(mode, int) and TOKEN_PREFIX not in write.load(state.path).text:
        write.reopen(state.path, mode)


def _backups(place: Place) -> Path:
    return private_folder(folder_of(place)) / "backups"


def _remember(place: Place, what: str, state: FileState, saved: Saved, ledger: str | None) -> None:
    last_change.remember(folder_of(place), what, state, saved, ledger, private=TOKEN_PREFIX in state.text)


def undoing(place: Place) -> tuple[last_change.LastChange, str]:
    """The last change, and the diff of taking it back. Raises `McpComposeError` when the file was changed since."""
    change = last_change.last(folder_of(place))
    state = change.current()
    before = write.load(change.before).text if change.before is not None else ""
    return change, diff(state.text, before, str(change.file))


def take_back(place: Place, change: last_change.LastChange) -> None:
    """Make the file and what is known of it what they were before *change*."""
    with ledger_of(place).held():
        last_change.take_back(folder_of(place), change, _backups(place))
