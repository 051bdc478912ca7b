"""
Every client, every scope, every way to write its file: connect, connect again, disconnect, and it is as before.

What stands in the file is read back with another parser than the one that wrote it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clients.bench import TOKEN, gateway
from clients.documents import broken, documents
from mcpcompose.actions import connections
from mcpcompose.actions.connections import Target, ledger_of, plan_connect, plan_disconnect
from mcpcompose.actions.locate import Place, locate
from mcpcompose.actions.options import Options
from mcpcompose.clients.choice import Choice, Wish, choose
from mcpcompose.clients.connect import NotOurs, with_entry, without_entry
from mcpcompose.clients.edit_types import EditFailed, Unreadable
from mcpcompose.clients.parts import parts
from mcpcompose.clients.places import Machine, file_of
from mcpcompose.clients.registry import SYSTEMS, Application, Kind, Scope, applications
from mcpcompose.errors import McpComposeError, UsageError

WRITABLE = [
    pytest.param(application, scope, id=f"{application.id}-{scope.name}")
    for application in applications().values()
    for scope in application.scopes.values()
    if scope.writable
]


def choices(application: Application, scope: Scope) -> Iterator[Choice]:
    """Every entry that can be wanted there."""
    kinds: tuple[Kind, ...] = ("http", "stdio")
    for kind in kinds:
        for reference in (False, True) if kind == "http" else (False,):
            try:
                yield choose(application, scope.name, gateway(fixed=True), Wish(kind, reference))
            except UsageError:
                continue


def read(application: Application, content: bytes) -> Any:
    """What the file says, by a parser that is not ours."""
    text = content.decode("utf-8-sig")
    match application.format:
        case "toml":
            return tomllib.loads(text)
        case "yaml":
            return YAML(typ="safe", pure=True).load(text) or {}
        case _:
            if not application.is_strict:
                text = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda m: m[1] or "", text, flags=re.DOTALL)
                if application.trailing_commas:
                    text = re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda m: m[1] or "", text)
            return json.loads(text) if text.strip() else {}


def entry_in(application: Application, value: Any, path: tuple[str, ...]) -> Any:
    """Take our entry out of *value*, and what is empty then."""
    here = value
    for step in path:
        here = here[step]
    if isinstance(here, list):
        found = next(one for one in here if one.get(application.list_of or "id") == "shop")
        here.remove(found)
        return found
    return here.pop("shop")


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_in_every_file_it_is_put_found_and_taken_away_without_a_trace(application: Application, scope: Scope) -> None:
    seen = 0
    for choice in choices(application, scope):
        path = tuple(step.replace("{project}", "/p") for step in scope.key)
        wanted = parts(application, scope, "shop", choice, there={}, project="/p")
        for what, content in documents(application, path):
            before = (content or b"").decode("utf-8-sig")

            done = with_entry(application, scope, before, wanted)
            again = with_entry(application, scope, done.text, wanted, done.pieces)
            after = without_entry(application, again.text, done.pieces)

            value = read(application, done.text.encode())
            assert entry_in(application, value, path) == wanted[0].value, what
            assert again.text == done.text, what
            assert after == before, what
            seen += 1
    assert seen >= 15


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_what_is_not_ours_says_the_same_while_connected(application: Application, scope: Scope) -> None:
    choice = next(choices(application, scope))
    path = tuple(step.replace("{project}", "/p") for step in scope.key)
    wanted = parts(application, scope, "shop", choice, there={}, project="/p")
    for what, content in documents(application, path):
        before = (content or b"").decode("utf-8-sig")
        if not before.strip():
            continue
        value = read(application, with_entry(application, scope, before, wanted).text.encode())

        entry_in(application, value, path)
        theirs = read(application, before.encode())
        if len(wanted) > 1:
            value["inputs"] = [one for one in value["inputs"] if one["id"] != "mcp-compose-token"]
        if not theirs:
            value = {key: one for key, one in value.items() if scope.root.get(key) != one}
        assert _without_empty(value) == _without_empty(theirs), what


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_a_broken_file_is_refused(application: Application, scope: Scope) -> None:
    choice = next(choices(application, scope))
    path = tuple(step.replace("{project}", "/p") for step in scope.key)
    wanted = parts(application, scope, "shop", choice, there={}, project="/p")
    for what, content in broken(application, path):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
        with pytest.raises((Unreadable, EditFailed)):
            print(what, with_entry(application, scope, text, wanted).text)


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_an_entry_of_somebody_else_stays_unless_forced(application: Application, scope: Scope) -> None:
    choice = next(choices(application, scope))
    path = tuple(step.replace("{project}", "/p") for step in scope.key)
    wanted = parts(application, scope, "shop", choice, there={}, project="/p")
    theirs: Any = {"command": "theirs", "timeout": 5}
    named = {application.list_of: "shop", **theirs} if application.list_of else theirs
    from mcpcompose.clients import edit

    before = edit.put(
        application.format, "", path, "shop", named, container=application.container, identifier=application.list_of
    )

    with pytest.raises(NotOurs, match="`shop` already"):
        with_entry(application, scope, before, wanted)
    forced = with_entry(application, scope, before, wanted, force=True)

    assert forced.replaced
    assert entry_in(application, read(application, forced.text.encode()), path) == wanted[0].value


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_what_a_person_adds_to_our_entry_stays_and_what_they_change_is_not_taken_away(
    application: Application, scope: Scope
) -> None:
    from mcpcompose.clients import edit

    choice = next(choices(application, scope))
    path = tuple(step.replace("{project}", "/p") for step in scope.key)
    wanted = parts(application, scope, "shop", choice, there={}, project="/p")
    done = with_entry(application, scope, "", wanted)

    def with_field(text: str, **more: Any) -> str:
        return edit.put(
            application.format, text, path, "shop", {**wanted[0].value, **more},
            container=application.container, identifier=application.list_of,
        )  # fmt: skip

    field = next(
        iter(key for key, one in wanted[0].value.items() if isinstance(one, str) and key != application.list_of)
    )
    added = with_field(done.text, mine=5)
    again = with_entry(application, scope, added, wanted, done.pieces)
    changed = with_field(done.text, **{field: "theirs"})

    assert again.text == added
    assert without_entry(application, added, done.pieces) == ""
    with pytest.raises(NotOurs, match="was changed since"):
        without_entry(application, changed, done.pieces)
    assert without_entry(application, changed, done.pieces, force=True) == ""


@pytest.fixture
def place() -> Iterator[Place]:
    """A project of its own, on a disk that is fast to write to."""
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mcc-", dir=shm) as base:
        project = Path(base, "project")
        project.mkdir()
        (project / "mcp-compose.yaml").write_text("name: shop\n")
        home = Path(base, "home")
        home.mkdir()
        yield locate(Options(project, home, {"MCP_COMPOSE_HOME": str(Path(base, "state")), "PATH": "/nowhere"}))


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_on_disk_connect_and_disconnect_leave_the_very_bytes(
    application: Application, scope: Scope, place: Place
) -> None:
    system = next(system for system in SYSTEMS if scope.paths.get(system))
    machine = Machine(place.options.home, {}, place.directory, system)
    file = _file(application, scope, machine)
    choice = next(choices(application, scope))
    target = Target(application, scope, file, place.directory)
    path = tuple(step.replace("{project}", str(place.directory)) for step in scope.key)
    chosen = [
        one for one in documents(application, path) if one[0] == "no file" or "comma" in one[0] or "BOM" in one[0]
    ]
    for what, content in chosen[:6]:
        if content is None and not scope.makes:
            continue
        if content is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o644)
        was = _tree(place)

        plan = plan_connect(place, target, "shop", choice, {"client": "default"})
        assert connections.connect(place, plan) is not None, what
        written = file.read_bytes()
        again = plan_connect(place, target, "shop", choice, {"client": "default"})
        assert not again.changes
        assert connections.connect(place, again) is None
        assert file.read_bytes() == written, what
        if choice.secret is not None:
            assert file.stat().st_mode & 0o777 == 0o600, what
            assert TOKEN in written.decode()
            assert TOKEN not in plan.shown
        connection = ledger_of(place).find(application.id, scope.name, file)
        assert connection is not None
        connections.disconnect(place, plan_disconnect(place, connection), connection)

        assert (file.read_bytes() if file.exists() else None) == content, what
        assert _tree(place) == was, what
        assert ledger_of(place).connections() == ()
        file.unlink(missing_ok=True)


@pytest.mark.parametrize(("application", "scope"), WRITABLE)
def test_on_disk_a_broken_file_is_not_touched(application: Application, scope: Scope, place: Place) -> None:
    system = next(system for system in SYSTEMS if scope.paths.get(system))
    file = _file(application, scope, Machine(place.options.home, {}, place.directory, system))
    target = Target(application, scope, file, place.directory)
    choice = next(choices(application, scope))
    path = tuple(step.replace("{project}", str(place.directory)) for step in scope.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    for what, content in broken(application, path):
        file.write_bytes(content)
        was = file.stat()

        with pytest.raises(McpComposeError):
            print(what, connections.connect(place, plan_connect(place, target, "shop", choice, {})))

        assert file.read_bytes() == content
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (was.st_ino, was.st_mtime_ns)


def _file(application: Application, scope: Scope, machine: Machine) -> Path:
    if scope.makes:
        return file_of(application, scope, machine)
    return next(found for text in scope.paths[machine.system] if (found := machine.path(text)))


def _tree(place: Place) -> set[Path]:
    """Every file and folder of the person and the project."""
    return {path for top in (place.options.home, place.directory) for path in top.rglob("*")}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _without_empty(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one not in ({}, [], None)}
    if isinstance(value, list):
        return [_without_empty(one) for one in value]
    return value
