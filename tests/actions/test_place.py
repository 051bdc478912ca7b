"""Which project a command is about, and what it leaves for the next one."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mcpcompose.actions.files import read_json, write_atomically
from mcpcompose.actions.locate import declared_name, default_name, locate
from mcpcompose.actions.lock import held, holder
from mcpcompose.actions.options import Options
from mcpcompose.actions.port import port_for
from mcpcompose.actions.record import Record, read_record, records, write_record
from mcpcompose.errors import GatewayRunning, McpComposeError, UsageError
from mcpcompose.paths import project_paths
from mcpcompose.spec.project import Gateway


def options(folder: Path, **environ: str) -> Options:
    environ = {"MCP_COMPOSE_HOME": str(folder / "home"), **environ}
    return Options(directory=folder, home=folder, environ=environ).with_environment()


def project(folder: Path, text: str = "servers: {}\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mcp-compose.yaml").write_text(text)
    return folder


def test_the_file_is_found_in_a_folder_above(tmp_path: Path) -> None:
    project(tmp_path / "Team One")
    below = tmp_path / "Team One" / "a" / "b"
    below.mkdir(parents=True)

    found = locate(options(below))

    assert found.files == (tmp_path / "Team One" / "mcp-compose.yaml",)
    assert found.name == "teamone"


def test_somebody_who_looks_whether_it_is_held_keeps_nobody_from_holding_the_lock(tmp_path: Path) -> None:
    paths = locate(options(project(tmp_path / "x"))).paths.make()
    looking = os.open(paths.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [looking]).start()

    with held(paths):
        assert holder(paths) == os.getpid()


def test_without_a_file_there_is_nothing_to_be_about(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mcp-compose\.yaml") as caught:
        locate(options(tmp_path))

    assert "mcp-compose init" in (caught.value.hint or "")


def test_two_clones_and_two_names_are_different_owners_with_different_folders(tmp_path: Path) -> None:
    first = locate(options(project(tmp_path / "one" / "x")))
    second = locate(options(project(tmp_path / "two" / "x")))
    renamed = locate(options(tmp_path / "one" / "x", MCP_COMPOSE_PROJECT_NAME="y"))

    assert first.name == second.name
    assert first.owner.id != second.owner.id
    assert len({first.paths.runtime, second.paths.runtime, renamed.paths.runtime}) == 3


def test_a_folder_reached_through_a_link_is_the_same_project(tmp_path: Path) -> None:
    real = project(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)

    assert locate(options(tmp_path / "link")).owner == locate(options(real)).owner


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"name": team\nservers: {}\n', "team"),
        ("name: team\nservers: {}\n", "team"),
        ("# name: no\nservers:\n  name: {image: x}\nname:   'team'  # ours\n", "team"),
        ('name: "${WHO:-team}"\n', "team"),
        ("name: ${WHAT}\n", "said"),
        ("name: Not A Name\n", None),
        ("name: |\n  team\n", None),
        ("servers: {name: x}\n", None),
        ('{"servers": {"a": {"name": 1}}, "name": "team"}', "team"),
    ],
)
def test_the_name_is_read_without_loading_the_file(tmp_path: Path, text: str, name: str | None) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)

    assert declared_name((file,), {"WHAT": "said"}) == name


def test_a_directory_without_usable_letters_still_has_a_name() -> None:
    assert default_name(Path("/tmp/Ünï")) == "n"
    assert default_name(Path("/")) == "default"


def test_the_lock_is_held_once_and_freed_however_its_holder_ends(tmp_path: Path) -> None:
    paths = project_paths("x", {"MCP_COMPOSE_HOME": str(tmp_path)})

    with held(paths):
        assert holder(paths) == os.getpid()
        with pytest.raises(GatewayRunning), held(paths):
            pass
    assert holder(paths) is None
    program = (
        "import os, sys; from pathlib import Path; from mcpcompose.actions.lock import held;"
        "from mcpcompose.paths import project_paths\n"
        "with held(project_paths('x', {'MCP_COMPOSE_HOME': sys.argv[1]})): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert holder(paths) is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_atomically(file, '{"a": 1}')

    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "\ud800")

    assert read_json(file) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_record_survives_and_a_spoilt_one_counts_as_none(tmp_path: Path) -> None:
    environ = {"MCP_COMPOSE_HOME": str(tmp_path)}
    state = project_paths("k", environ).make().state
    record = Record("team", "/p", ("/p/f",)).on_engine("docker").listening("http://x", 20001)

    write_record(state, record)

    assert list(records(environ)) == [("k", record)]
    (state / "project.json").write_text("{")
    assert read_record(state) is None
    assert list(records(environ)) == []


def test_the_remembered_port_is_kept_and_a_taken_one_refused() -> None:
    free = port_for(Gateway(), None, "00ff")

    assert port_for(Gateway(), free, "00ff") == free
    with socket.socket() as other:
        other.bind(("127.0.0.1", free))
        other.listen()
        with pytest.raises(McpComposeError, match=r"remembered") as caught:
            port_for(Gateway(), free, "00ff")
        assert "gateway.port" in (caught.value.hint or "")
        with pytest.raises(McpComposeError, match=r"gateway\.port"):
            port_for(Gateway(port=free), None, "00ff")
        assert port_for(Gateway(), None, "00ff") != free
