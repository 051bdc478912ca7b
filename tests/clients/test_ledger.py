"""The record of what we wrote: it tells ours from the user's, holds no value, and survives neighbours and crashes."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mcpcompose.clients.edit import Undo
from mcpcompose.clients.ledger import Connection, Ledger, Piece
from mcpcompose.errors import McpComposeError

ENTRY = {"type": "http", "url": "http://127.0.0.1:1/mcp", "headers": {"Authorization": "Bearer planted-value-123"}}
UNDO = Undo((("mcpServers",),), (), "{}", {"schema": 1})


def connection(application: str = "cursor", file: str = "/h/mcp.json") -> Connection:
    piece = Piece.of(("mcpServers",), "project", ENTRY, UNDO)
    return Connection(application, "user", Path(file), (piece,), {"kind": "http"}, (Path("/h"),), {"backup": "x"})


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    one, two = connection(), connection("zed", "/h/settings.json")

    with Ledger(tmp_path).held():
        Ledger(tmp_path).keep(one)
        Ledger(tmp_path).keep(two)

    assert Ledger(tmp_path).connections() == (one, two)
    assert Ledger(tmp_path).find("zed", "user", Path("/h/settings.json")) == two
    assert Ledger(tmp_path).find("zed", "project", Path("/h/settings.json")) is None


def test_what_is_kept_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    other = Connection("cursor", "user", Path("/h/mcp.json"), ())
    ledger.keep(connection())
    ledger.keep(connection("zed"))

    ledger.keep(other)

    assert [item.application for item in ledger.connections()] == ["cursor", "zed"]
    assert ledger.connections()[0] == other


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep(connection())
    ledger.keep(connection("zed"))

    ledger.forget(connection())

    assert [item.application for item in ledger.connections()] == ["zed"]


def test_no_value_is_in_the_record_and_it_is_the_owners_alone(tmp_path: Path) -> None:
    Ledger(tmp_path).keep(connection())

    files = [path for path in tmp_path.iterdir() if path.is_file()]

    assert [path.name for path in files] == ["clients.json"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert "planted" not in files[0].read_text()
    assert "127.0.0.1" not in files[0].read_text()


@pytest.mark.parametrize(
    ("current", "state"),
    [
        (None, "missing"),
        (ENTRY, "ours"),
        ({**ENTRY, "timeout": 5, "headers": {**ENTRY["headers"], "X": "y"}}, "ours"),  # type: ignore[dict-item]
        ({**ENTRY, "url": "http://evil"}, "changed"),
        ({**ENTRY, "headers": {}}, "changed"),
        ({"type": "http", "url": ENTRY["url"]}, "changed"),
        ({**ENTRY, "headers": "text"}, "changed"),
        ("text", "changed"),
        ([], "changed"),
    ],
)
def test_an_entry_is_ours_while_our_fields_are_as_we_wrote_them(current: object, state: str) -> None:
    assert Piece.of(("mcpServers",), "x", ENTRY, UNDO).state(current) == state


def test_a_kind_of_value_is_told_from_another() -> None:
    piece = Piece.of((), "x", {"enabled": True, "n": 1}, UNDO)

    assert piece.state({"enabled": 1, "n": 1}) == "changed"
    assert piece.state({"enabled": "true", "n": 1}) == "changed"
    assert piece.state({"n": 1}) == "changed"


def test_an_entry_is_held_only_when_it_has_the_same_fields() -> None:
    piece = Piece.of((), "x", ENTRY, UNDO)

    assert piece.holds(ENTRY)
    assert not piece.holds({**ENTRY, "timeout": 5})
    assert not piece.holds({**ENTRY, "url": "u"})


def test_two_records_of_the_same_entry_do_not_show_that_they_are_the_same() -> None:
    assert Piece.of((), "x", ENTRY, UNDO).digest != Piece.of((), "x", ENTRY, UNDO).digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2, "connections": []}',
        '{"version": 1}',
        '{"version": 1, "connections": [{}]}',
        '{"version": 1, "connections": [3]}',
        '{"version": 1, "connections": 7}',
        "\xff\xfe",
    ],
)
def test_a_spoilt_record_stops_everything_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "clients.json"
    file.write_text(text, encoding="latin-1")

    for action in (Ledger(tmp_path).connections, lambda: Ledger(tmp_path).keep(connection())):
        with pytest.raises(McpComposeError, match="cannot be read"):
            action()

    assert file.read_text(encoding="latin-1") == text


WRITER = """
import sys
from pathlib import Path
from mcpcompose.clients.ledger import Connection, Ledger
ledger = Ledger(Path(sys.argv[1]))
for number in range(15):
    with ledger.held():
        ledger.keep(Connection(sys.argv[2], "user", Path(f"/{number}"), ()))
"""


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    runs = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "abc"]

    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(Ledger(tmp_path).connections()) == 45
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clients.json", "clients.lock"]


def test_the_file_says_its_version(tmp_path: Path) -> None:
    Ledger(tmp_path).keep(connection())

    assert json.loads((tmp_path / "clients.json").read_text())["version"] == 1
