"""`client ls|connect|disconnect|undo|config` as a person uses them, with a home of their own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import stat
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from harness.desk import Desk, eventually

HANDSHAKE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
MINE = (
    b'\xef\xbb\xbf{\r\n\t"theme": "dark",\r\n\t"mcpServers": {\r\n'
    b'\t\t"other": {"command": "x", "deep": {"a": [1, null]}}\r\n\t}\r\n}'
)


@pytest.fixture
def person(desk: Desk) -> Desk:
    """A person with a project that nobody started, and nothing else."""
    home = desk.base / "home"
    home.mkdir()
    desk.environ |= {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        desk.environ.pop(name, None)
    desk.write("name: desk\nengine: process\ngateway: {port: 8931}\n")
    return desk


def home(desk: Desk) -> Path:
    return desk.base / "home"


def put(desk: Desk, path: str, content: bytes = b"{}\n") -> Path:
    file = home(desk) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def token(desk: Desk, client: str = "default") -> str:
    return desk.ok("client", "config", client, "--token").strip()


def test_connect_shows_the_change_writes_it_and_says_what_comes_next(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    file.chmod(0o644)

    done = person.run("client", "connect", "cursor")

    entry = json.loads(file.read_text(encoding="utf-8-sig"))["mcpServers"]["desk"]
    assert done.returncode == 0
    assert entry == {"url": "http://127.0.0.1:8931/mcp", "headers": {"Authorization": f"Bearer {token(person)}"}}
    assert "Cursor is connected: `desk` in" in done.stdout
    assert "next: Cursor picks it up by itself" in done.stderr
    assert "start it with `mcp-compose up -d`" in done.stderr
    assert token(person) not in done.stdout + done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert person.json("client", "connect", "cursor")["changes"] is False


def test_disconnect_gives_back_the_very_bytes_and_the_mode(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    file.chmod(0o644)
    person.ok("client", "connect", "cursor")

    said = person.ok("client", "disconnect", "cursor")

    assert "`desk` is out of" in said
    assert file.read_bytes() == MINE
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    again = person.run("client", "disconnect", "cursor")
    assert again.returncode == 1
    assert "`cursor` is not connected" in again.stderr


def test_a_dry_run_writes_nothing_at_all(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)

    shown = person.ok("client", "connect", "cursor", "--dry-run")
    data = person.json("client", "connect", "cursor", "--dry-run")

    assert '+\\t\\t"desk": {' in shown
    assert "Bearer [redacted]" in shown
    assert data["changes"]
    assert not data["written"]
    assert file.read_bytes() == MINE
    assert not list((person.home / "state").glob("*/clients/clients.json"))


def test_a_file_of_a_project_gets_a_reference_and_the_same_on_every_machine(person: Desk) -> None:
    person.ok("client", "connect", "claude-code", "--scope", "project")

    file = person.project / ".mcp.json"
    assert json.loads(file.read_text()) == {
        "mcpServers": {
            "desk": {
                "type": "http",
                "url": "http://127.0.0.1:8931/mcp",
                "headers": {"Authorization": "Bearer ${MCP_COMPOSE_TOKEN}"},
            }
        }
    }
    person.write("name: desk\nengine: process\n")
    done = person.run("client", "connect", "claude-code", "--scope", "project")
    assert "the port differs from machine to machine" in done.stderr
    assert json.loads(file.read_text())["mcpServers"]["desk"] == {
        "type": "stdio",
        "command": "mcp-compose",
        "args": ["run", "--stdio"],
    }


def test_two_programs_that_read_one_file_share_the_entry_until_the_last_one_goes(person: Desk) -> None:
    file = person.project / ".mcp.json"
    person.ok("client", "connect", "claude-code", "--scope", "project")
    before = file.read_bytes()

    person.ok("client", "connect", "copilot", "--scope", "project")
    shared = file.read_bytes()
    first = person.ok("client", "disconnect", "claude-code")
    left = file.read_bytes()
    person.ok("client", "disconnect", "copilot")

    assert shared == before == left
    assert "stays for github-copilot-cli" in first
    assert not file.exists()


def test_an_entry_of_the_same_name_stays_and_comes_back_after_force(person: Desk) -> None:
    theirs = b'{"mcpServers": {"desk":   {"command": "theirs", "env": {"K": "ghp_0123456789abcdefghij0123456789ab"}}}}'
    file = put(person, ".cursor/mcp.json", theirs)

    refused = person.run("client", "connect", "cursor")
    unchanged = file.read_bytes()
    forced = person.run("client", "connect", "cursor", "--force")
    entry = json.loads(file.read_bytes())["mcpServers"]["desk"]
    person.ok("client", "disconnect", "cursor")

    assert refused.returncode == 1
    assert "`--name`" in refused.stderr
    assert unchanged == theirs
    assert entry.keys() == {"url", "headers"}
    assert "ghp_" not in forced.stdout + forced.stderr
    assert file.read_bytes() == theirs


def test_an_entry_that_was_changed_is_not_taken_away_without_force(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json")
    person.ok("client", "connect", "cursor")
    file.write_text(file.read_text().replace("8931", "1"))

    refused = person.run("client", "disconnect", "cursor")
    listed = person.json("client", "ls")
    person.ok("client", "disconnect", "cursor", "--force")

    assert refused.returncode == 1
    assert "was changed since" in refused.stderr
    assert [one["entries"][0]["state"] for one in listed] == ["changed"]
    assert file.read_text() == "{}\n"


def test_what_somebody_else_adds_meanwhile_stays(person: Desk) -> None:
    file = put(person, ".codex/config.toml", b'model = "x" # mine\n')
    person.ok("client", "connect", "codex")
    file.write_text(file.read_text() + '\n[mcp_servers.other]\ncommand = "y"\n')

    person.ok("client", "disconnect", "codex")

    assert tomllib.loads(file.read_text()) == {"model": "x", "mcp_servers": {"other": {"command": "y"}}}
    assert file.read_text().startswith('model = "x" # mine\n')


def test_undo_takes_the_last_change_back_and_what_is_known_of_it(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    connected = file.read_bytes()

    person.ok("client", "undo")
    undone = file.read_bytes()
    nothing_known = person.json("client", "ls")[0]["entries"]
    person.ok("client", "connect", "cursor")
    person.ok("client", "disconnect", "cursor")
    person.ok("client", "undo")

    assert undone == MINE
    assert nothing_known == []
    assert file.read_bytes() == connected
    assert person.json("client", "ls")[0]["entries"][0]["state"] == "connected"
    assert person.run("client", "undo").returncode == 2


def test_undo_does_not_touch_a_file_that_was_changed_since(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    file.write_bytes(file.read_bytes() + b"\n")
    before = file.read_bytes()

    done = person.run("client", "undo")

    assert done.returncode == 1
    assert "was changed since" in done.stderr
    assert file.read_bytes() == before


def test_undo_removes_a_file_and_its_folders_that_connect_made(person: Desk) -> None:
    person.ok("client", "connect", "goose")
    person.ok("client", "undo")

    assert list(home(person).iterdir()) == []


def test_before_the_first_up_there_is_no_url_but_a_command(person: Desk) -> None:
    person.write("name: desk\nengine: process\n")

    by_url = person.run("client", "connect", "cursor")
    by_command = person.json("client", "connect", "cursor", "--stdio")

    assert by_url.returncode == 2
    assert "was never up" in by_url.stderr
    assert "`mcp-compose up -d`" in by_url.stderr
    entry = json.loads((home(person) / ".cursor" / "mcp.json").read_text())["mcpServers"]["desk"]
    assert by_command["kind"] == "stdio"
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-2:] == ["run", "--stdio"]
    assert f"--file={person.project}/mcp-compose.yaml" in entry["args"]
    assert entry["env"]["MCP_COMPOSE_HOME"] == str(person.home)


def test_a_profile_is_that_of_the_files_client(person: Desk) -> None:
    file = "name: desk\nengine: process\ngateway: {port: 8931}\nservers:\n  a: {url: http://127.0.0.1:9/mcp}\n"
    file += "profiles:\n  little: {servers: [a]}\nclients:\n  # mine\n  codex: {profile: little}\n"
    person.write(file)

    codex = person.json("client", "connect", "codex")
    wrong = person.run("client", "connect", "codex", "--profile", "default")
    unknown = person.run("client", "connect", "codex", "--profile", "no")
    missing = person.run("client", "connect", "cursor", "--profile", "little")
    added = person.run("client", "connect", "cursor", "--profile", "little", "--yes")

    assert (codex["client"], codex["profile"]) == ("codex", "little")
    assert token(person, "codex") != token(person)
    assert token(person, "codex") in (home(person) / ".codex" / "config.toml").read_text()
    assert "has the profile `little`" in wrong.stderr
    assert "there is no profile `no`" in unknown.stderr
    assert missing.returncode == 2
    assert "let `--yes` add it" in missing.stderr
    assert added.returncode == 0, added.stderr
    assert (person.project / "mcp-compose.yaml").read_text() == file + "  cursor:\n    profile: little\n"
    assert token(person, "cursor") in (home(person) / ".cursor" / "mcp.json").read_text()


def test_ls_says_what_is_there_why_and_how_its_entry_is_doing(person: Desk) -> None:
    put(person, ".codex/config.toml", b"")
    put(person, ".gemini/settings.json")
    (home(person) / ".kiro").mkdir()
    person.ok("client", "connect", "codex")
    person.ok("client", "connect", "gemini")
    (home(person) / ".gemini" / "settings.json").write_text("{}\n")

    shown = person.ok("client", "ls")
    found = {one["application"]: one for one in person.json("client", "ls")}
    known = person.json("client", "ls", "--all")

    assert shown.splitlines()[0].split() == ["CLIENT", "STATE", "SCOPE", "PROFILE", "FOUND", "BY"]
    assert set(found) >= {"codex", "gemini-cli", "kiro"}
    assert found["codex"]["entries"][0] | {"file": ""} == {
        "scope": "user", "file": "", "name": "desk", "state": "connected", "kind": "http",
        "client": "default", "profile": "default",
    }  # fmt: skip
    assert found["gemini-cli"]["entries"][0]["state"] == "gone"
    assert found["kiro"]["evidence"] == {"what": "folder", "where": str(home(person) / ".kiro")}
    assert found["kiro"]["entries"] == []
    assert len(known) == 71
    person.write("name: desk\nservers: [\n")
    assert "cannot be loaded" in person.run("client", "ls").stderr


def test_an_entry_that_leads_to_another_port_has_moved_and_connect_mends_it(person: Desk) -> None:
    person.write("name: desk\nengine: process\nservers: {}\n")
    person.up()
    person.ok("client", "connect", "cursor")
    file = home(person) / ".cursor" / "mcp.json"
    first = json.loads(file.read_text())["mcpServers"]["desk"]["url"]
    person.ok("down")
    port = 8000 + os.getpid() % 900
    person.write(f"name: desk\nengine: process\nservers: {{}}\ngateway: {{port: {port}}}\n")
    person.up()

    moved = {one["application"]: one["entries"] for one in person.json("client", "ls")}["cursor"][0]["state"]
    person.ok("client", "connect", "cursor")

    assert moved == "moved"
    assert json.loads(file.read_text())["mcpServers"]["desk"]["url"] == f"http://127.0.0.1:{port}/mcp" != first


def test_two_projects_of_one_name_do_not_take_each_others_entry(person: Desk) -> None:
    other = person.base / "q"
    other.mkdir()
    (other / "mcp-compose.yaml").write_text("name: desk\nengine: process\ngateway: {port: 8932}\n")
    person.ok("trust", "--all")
    person.up()
    person.ok("client", "connect", "cursor")
    before = (home(person) / ".cursor" / "mcp.json").read_bytes()

    refused = person.run("-f", str(other / "mcp-compose.yaml"), "client", "connect", "cursor")
    renamed = person.run("-f", str(other / "mcp-compose.yaml"), "client", "connect", "cursor", "--name", "second")
    both = json.loads((home(person) / ".cursor" / "mcp.json").read_text())["mcpServers"]
    person.run("-f", str(other / "mcp-compose.yaml"), "client", "disconnect", "cursor")

    assert refused.returncode == 1
    assert f"is of the project `desk` in `{person.project}`" in refused.stderr
    assert renamed.returncode == 0
    assert both.keys() == {"desk", "second"}
    assert (home(person) / ".cursor" / "mcp.json").read_bytes() == before
    assert stat.S_IMODE((home(person) / ".cursor" / "mcp.json").stat().st_mode) == 0o600


def test_what_cannot_be_written_is_printed_with_the_steps(person: Desk) -> None:
    pasted = person.run("client", "connect", "jetbrains-ai-assistant")
    code = person.run("client", "connect", "langchain")
    cloud = person.run("client", "connect", "claude-web")

    assert json.loads(pasted.stdout)["mcpServers"]["desk"]["url"] == "http://127.0.0.1:8931/mcp"
    assert "${MCP_COMPOSE_TOKEN}" in pasted.stdout
    assert "next: open Settings > Tools" in pasted.stderr
    compile(code.stdout.replace("await ", ""), "snippet", "exec")
    assert "cannot be reached" in cloud.stderr
    assert list(home(person).iterdir()) == []


def test_config_prints_the_programs_own_format(person: Desk) -> None:
    toml = person.run("client", "config", "codex", "--http")
    shown = person.json("client", "config", "vscode")
    plain = person.json("client", "config", "cursor", "--show-token")

    assert (
        tomllib.loads(toml.stdout)["mcp_servers"]["desk"]["http_headers"]["Authorization"]
        == "Bearer ${MCP_COMPOSE_TOKEN}"
    )
    assert "config.toml` (user)" in toml.stderr
    assert json.loads(shown["application"]["http"])["servers"]["desk"]["type"] == "http"
    assert shown["application"]["files"].keys() == {"user", "project"}
    assert token(person) in plain["application"]["http"]
    assert plain["token"] == token(person)


def test_rotate_says_which_files_have_the_old_token_and_connect_gives_them_the_new_one(person: Desk) -> None:
    put(person, ".cursor/mcp.json")
    person.ok("client", "connect", "cursor")
    person.ok("client", "connect", "goose", "--stdio")
    old = token(person)

    rotated = person.run("client", "rotate")
    person.ok("client", "connect", "cursor")

    text = (home(person) / ".cursor" / "mcp.json").read_text()
    assert "`mcp-compose client connect cursor` again" in rotated.stderr
    assert "goose" not in rotated.stderr
    assert old not in text
    assert token(person) in text


def test_a_projects_file_that_leads_out_of_the_project_is_not_followed(person: Desk) -> None:
    victim = put(person, ".claude.json", b'{"mine": 1}')
    (person.project / ".mcp.json").symlink_to(victim)
    (person.project / ".cursor").symlink_to(home(person))

    file = person.run("client", "connect", "claude-code", "--scope", "project")
    folder = person.run("client", "connect", "cursor", "--scope", "project")

    assert (file.returncode, folder.returncode) == (1, 1)
    assert "outside" in file.stderr
    assert "outside" in folder.stderr
    assert victim.read_bytes() == b'{"mine": 1}'
    assert sorted(home(person).iterdir()) == [victim]


@pytest.mark.parametrize("spoilt", ["", "[]", "{}", '{"version": 99}', "{", '{"version": 1, "connections": [{}]}'])
def test_a_spoilt_record_is_said_and_nothing_is_written(person: Desk, spoilt: str) -> None:
    put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    person.ok("client", "disconnect", "cursor")
    folder = next((person.home / "state").glob("*/clients"))
    (folder / "clients.json").write_text(spoilt)
    (folder / "last.json").write_text(spoilt)

    connected = person.run("client", "connect", "cursor")
    undone = person.run("client", "undo")

    assert connected.returncode == 1
    assert "clients.json" in connected.stderr
    assert undone.returncode == 2
    assert "should not have happened" not in connected.stderr + undone.stderr
    assert (home(person) / ".cursor" / "mcp.json").read_bytes() == MINE


def test_a_link_in_ones_own_home_stays_a_link(person: Desk) -> None:
    real = put(person, "dotfiles/mcp.json", b"{}\n")
    link = home(person) / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)

    person.ok("client", "connect", "cursor")
    connected = json.loads(real.read_text())
    person.ok("client", "disconnect", "cursor")

    assert "desk" in connected["mcpServers"]
    assert link.is_symlink()
    assert real.read_bytes() == b"{}\n"


def test_into_names_another_file_and_variables_move_files(person: Desk) -> None:
    put(person, "elsewhere/config.toml", b"# mine\n")
    person.environ["CODEX_HOME"] = str(home(person) / "elsewhere")

    person.ok("client", "connect", "codex")
    person.ok("client", "connect", "claude-desktop", "--into", "x.json")

    assert "desk" in tomllib.loads((home(person) / "elsewhere" / "config.toml").read_text())["mcp_servers"]
    assert "desk" in json.loads((person.project / "x.json").read_text())["mcpServers"]
    person.ok("client", "disconnect", "--all")
    assert (home(person) / "elsewhere" / "config.toml").read_bytes() == b"# mine\n"
    assert not (person.project / "x.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curser"], "did you mean `cursor`"),
        (["cursor", "--stdio", "--http"], "not both"),
        (["claude-desktop", "--http"], "takes no servers by URL"),
        (["claude-desktop", "--scope", "project"], "has no project file"),
        (["kilo-code", "--scope", "project", "--http"], "cannot refer to a token"),
        (["zed", "--reference", "--http"], "cannot refer to a token"),
        (["visual-studio"], "has no user file on this system"),
        (["librechat"], "is not there"),
        (["cursor", "--name", "Bad Name"], "no name that every client takes"),
        (["cursor", "--as", "nobody"], "there is no client `nobody`"),
        ([], "say which client"),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_is_written(person: Desk, words: list[str], said: str) -> None:
    done = person.run("client", "connect", *words)

    assert done.returncode == 2
    assert said in done.stderr
    assert list(home(person).iterdir()) == []


def test_in_a_terminal_it_offers_what_is_there_and_asks_before_it_writes(person: Desk) -> None:
    cursor = put(person, ".cursor/mcp.json")
    gemini = put(person, ".gemini/settings.json")

    no = on_a_terminal(person, ["client", "connect", "cursor"], ["n", "n"])
    unwritten = cursor.read_bytes()
    offered = on_a_terminal(person, ["client", "connect"], ["y", "n", "n", "n"])
    asked = on_a_terminal(person, ["client", "connect", "gemini"], ["y", "y"])

    assert "write `" in no
    assert unwritten == b"{}\n"
    assert "connect Cursor (file" in offered
    assert "desk" in json.loads(cursor.read_text())["mcpServers"]
    assert "has no client `gemini-cli`" in asked
    assert "gemini-cli:\n    profile: default" in (person.project / "mcp-compose.yaml").read_text()
    assert token(person, "gemini-cli") in gemini.read_text()


def on_a_terminal(desk: Desk, words: list[str], answers: list[str]) -> str:
    """What the command prints with a person at the keyboard, who gives these answers."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*desk.command, *words], cwd=desk.project, env={**desk.environ, "TERM": "dumb"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    process.wait(30)
    return said.decode(errors="replace")


def test_a_connect_that_was_cut_off_before_the_file_was_written_leaves_nothing_to_be_afraid_of(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    file.write_bytes(MINE)  # the ledger is written first: this is how a machine that lost power in between looks

    gone = person.json("client", "ls")[0]["entries"][0]["state"]
    person.ok("client", "connect", "cursor")
    person.ok("client", "disconnect", "cursor")

    assert gone == "gone"
    assert file.read_bytes() == MINE


def test_a_file_that_lost_everything_meanwhile_is_left_as_it_is_then(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    file.write_bytes(b'{"new": true}')
    person.ok("client", "connect", "cursor")

    person.ok("client", "disconnect", "cursor")

    assert file.read_bytes() == b'{"new": true}'


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_that_may_not_be_written_is_refused_and_nothing_is_remembered(person: Desk, mode: int) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    file.chmod(mode)

    done = person.run("client", "connect", "cursor")

    assert done.returncode == 1
    assert "read-only" in done.stderr or "cannot be read" in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert all(one["entries"] == [] for one in person.json("client", "ls"))


def test_connects_at_the_same_time_do_not_lose_each_other(person: Desk) -> None:
    names = ["cursor", "codex", "gemini-cli", "zed", "goose", "kiro"]
    put(person, ".config/zed/settings.json", b"// mine\n{}\n")

    started = [person.start("client", "connect", name, "--yes") for name in names]
    codes = [process.wait(60) for process in started]
    for process in started:
        process.communicate()
    listed = {one["application"]: one["entries"][0]["state"] for one in person.json("client", "ls")}
    person.ok("client", "disconnect", "--all")

    assert codes == [0] * len(names)
    assert listed == dict.fromkeys(names, "connected")
    assert (home(person) / ".config/zed/settings.json").read_bytes() == b"// mine\n{}\n"
    assert [path for path in home(person).rglob("*") if path.is_file()] == [home(person) / ".config/zed/settings.json"]


def test_two_connects_into_one_file_at_the_same_time_both_arrive(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)

    started = [person.start("client", "connect", "cursor", "--yes", "--name", name) for name in ("one", "one", "one")]
    codes = [process.wait(60) for process in started]
    for process in started:
        process.communicate()
    person.ok("client", "disconnect", "cursor")

    assert codes == [0, 0, 0]
    assert file.read_bytes() == MINE


def test_another_name_takes_the_place_of_the_first(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")

    person.ok("client", "connect", "cursor", "--name", "second")
    names = json.loads(file.read_text(encoding="utf-8-sig"))["mcpServers"].keys()
    person.ok("client", "disconnect", "cursor")

    assert names == {"other", "second"}
    assert file.read_bytes() == MINE


def test_a_client_that_connect_adds_to_the_file_is_let_in_with_its_profile_at_once(person: Desk) -> None:
    command = json.dumps([sys.executable, "-u", "echo.py"])
    servers = f"servers:\n  a: {{process: {command}}}\n  b: {{process: {command}}}\n"
    person.write(f"name: desk\nengine: process\n{servers}profiles:\n  little: {{servers: [a]}}\n")
    person.up()

    person.ok("client", "connect", "cursor", "--profile", "little", "--yes")
    entry = json.loads((home(person) / ".cursor" / "mcp.json").read_text())["mcpServers"]["desk"]

    eventually(lambda: tools(entry) == ["a__echo"])


def test_no_command_shows_a_token_to_the_list_of_processes_or_the_state_of_others(person: Desk) -> None:
    file = put(person, ".cursor/mcp.json", MINE)
    person.ok("client", "connect", "cursor")
    person.ok("client", "disconnect", "cursor")
    person.ok("client", "connect", "cursor", "--stdio")

    secret = token(person)
    files = [path for path in person.base.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]

    assert secret not in file.read_text()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert {path.name for path in files} - {"tokens.json"} == {path.name for path in files if "backups" in path.parts}


def tools(entry: dict[str, object]) -> list[str]:
    """The tools that whoever has *entry* sees; none while they are not let in."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}).encode()
    said = ask(entry, body)
    if said is None:
        return []
    session, _ = said
    listed = ask(entry, b'{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}', session)
    return [] if listed is None else [tool["name"] for tool in listed[1]["result"]["tools"]]


def ask(entry: dict[str, object], body: bytes, session: str = "") -> tuple[str, dict] | None:
    """One request with the entry's own headers: the session and the answer; None when it is refused."""
    headers = {**entry["headers"], "content-type": "application/json", "accept": "application/json, text/event-stream"}
    headers |= {"mcp-session-id": session, "mcp-protocol-version": "2025-06-18"} if session else {}
    with contextlib.suppress(OSError):
        answer = urllib.request.urlopen(urllib.request.Request(entry["url"], body, headers), timeout=10)
        with answer:
            text = answer.read().decode()
            data = next((line[5:] for line in text.splitlines() if line.startswith("data:")), text)
            return answer.headers.get("mcp-session-id", ""), json.loads(data)
    return None
