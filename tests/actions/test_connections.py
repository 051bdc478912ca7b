"""Connecting, disconnecting and taking back when others do the same meanwhile."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from mcpcompose.actions.config import load
from mcpcompose.actions.connecting import Asked, prepare
from mcpcompose.actions.connections import connect, disconnect, ledger_of, plan_disconnect, take_back, undoing
from mcpcompose.actions.locate import Place, locate
from mcpcompose.actions.options import Options
from mcpcompose.clients.connect import NotOurs
from mcpcompose.clients.ledger import Connection
from mcpcompose.clients.registry import ScopeName


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A project with a fixed port, and a home with nothing in it."""
    project, home = tmp_path / "p", tmp_path / "home"
    project.mkdir()
    home.mkdir()
    (project / "mcp-compose.yaml").write_text("name: desk\nengine: process\ngateway: {port: 8931}\n")
    environ = {"MCP_COMPOSE_HOME": str(tmp_path / "h"), "PATH": "/usr/bin:/bin", "HOME": str(home)}
    return locate(Options(directory=project, home=home, environ=environ).with_environment())


def connected(place: Place, name: str, scope: ScopeName | None = None) -> Connection:
    plan = prepare(place, load(place).project, Asked(name, scope)).plan
    assert plan
    connect(place, plan)
    (one,) = [one for one in ledger_of(place).connections() if one.file == plan.target.file][-1:]
    return one


def applications(place: Place) -> list[str]:
    return [one.application for one in ledger_of(place).connections()]


def test_two_programs_that_share_an_entry_and_go_at_the_same_time_leave_nothing(place: Place) -> None:
    both = connected(place, "claude-code", "project"), connected(place, "copilot", "project")
    plans = [plan_disconnect(place, one) for one in both]

    for plan, one in zip(plans, both, strict=True):
        disconnect(place, plan, one)

    assert applications(place) == []
    assert not (place.directory / ".mcp.json").exists()


def test_an_entry_that_another_program_came_to_share_meanwhile_stays(place: Place) -> None:
    one = connected(place, "claude-code", "project")
    plan = plan_disconnect(place, one)
    connected(place, "copilot", "project")

    disconnect(place, plan, one)

    assert applications(place) == ["github-copilot-cli"]
    assert "desk" in json.loads((place.directory / ".mcp.json").read_text())["mcpServers"]


def test_who_comes_second_to_take_an_entry_away_finds_it_gone(place: Place) -> None:
    one = connected(place, "cursor")
    plans = plan_disconnect(place, one), plan_disconnect(place, one)

    disconnect(place, plans[0], one)

    assert disconnect(place, plans[1], one) is None
    assert applications(place) == []


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_undo_gives_the_file_its_mode_back(place: Place, mode: int) -> None:
    file = place.options.home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text("{}")
    file.chmod(mode)
    connected(place, "cursor")
    closed = stat.S_IMODE(file.stat().st_mode)

    take_back(place, undoing(place)[0])

    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode), closed) == ("{}", mode, 0o600)


def test_undo_of_a_disconnect_does_not_open_the_token_to_others(place: Place) -> None:
    file = place.options.home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text("{}")
    file.chmod(0o644)
    one = connected(place, "cursor")
    disconnect(place, plan_disconnect(place, one), one)
    opened = stat.S_IMODE(file.stat().st_mode)

    take_back(place, undoing(place)[0])

    assert "mcpc_" in file.read_text()
    assert (opened, stat.S_IMODE(file.stat().st_mode)) == (0o644, 0o600)


def test_undo_forgets_nothing_of_another_file(place: Place) -> None:
    one = connected(place, "kiro")
    by_hand = one.file.read_text()
    disconnect(place, plan_disconnect(place, one), one)
    connected(place, "cursor")
    first = undoing(place)[0]
    one.file.parent.mkdir(parents=True)
    one.file.write_text(by_hand)
    connected(place, "kiro")  # the entry was there already, so this wrote nothing that could be taken back

    take_back(place, first)

    assert applications(place) == ["kiro"]


@pytest.mark.parametrize("application", ["cursor", "zed", "goose"])
def test_an_entry_that_is_null_is_somebodys_and_comes_back(place: Place, application: str) -> None:
    plan = prepare(place, load(place).project, Asked(application)).plan
    assert plan
    file, (key,) = plan.target.file, plan.target.scope.key
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"{key}:\n  desk:\n  other: 1\n" if application == "goose" else f'{{"{key}": {{"desk": null}}}}'
    file.write_text(text)

    with pytest.raises(NotOurs):
        prepare(place, load(place).project, Asked(application))
    forced = prepare(place, load(place).project, Asked(application, force=True)).plan
    assert forced
    connect(place, forced)
    changed = file.read_text()
    (one,) = ledger_of(place).connections()
    disconnect(place, plan_disconnect(place, one), one)

    assert changed != text
    assert file.read_text() == text


def test_an_entry_of_ours_that_somebody_made_null_is_not_taken_away_without_force(place: Place) -> None:
    one = connected(place, "cursor")
    one.file.write_text('{"mcpServers": {"desk": null}}')

    with pytest.raises(NotOurs, match="was changed"):
        plan_disconnect(place, one)
