"""`import` and `profile` through the front door: what is printed where, exit codes, next steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.desk import Desk
from harness.snippets import TOKENS, npx
from harness.wait import until

TOKEN = TOKENS["github"]


@pytest.fixture
def home(desk: Desk) -> Path:
    """The person's home folder, with a client in it."""
    home = desk.base / "home"
    (home / ".cursor").mkdir(parents=True)
    entry = {"command": sys.executable, "args": ["-u", str(desk.project / "echo.py")], "env": {"API_TOKEN": TOKEN}}
    servers = {"Echo": entry, "github": npx("gh-mcp", GITHUB_TOKEN="<YOUR_TOKEN>"), "off": {**entry, "disabled": True}}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    desk.environ |= {"HOME": str(home), "MCP_COMPOSE_KEYRING": "file"}
    return home


def test_import_says_what_came_of_it_what_was_left_out_and_what_is_next(desk: Desk, home: Path) -> None:
    done = desk.run("import", "cursor")

    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["SERVER", "KIND"], ["echo", "process"], ["github", "package"]
    ]  # fmt: skip
    assert "`off` is not imported: it is switched off there" in done.stderr
    assert "encrypted file" in done.stderr
    assert "mcp-compose secret set github_token\n" in done.stderr
    assert "mcp-compose trust" in done.stderr
    assert done.stderr.rstrip().endswith("mcp-compose up")
    assert TOKEN not in done.stdout + done.stderr
    assert "Imported from Cursor" in (desk.project / "mcp-compose.yaml").read_text()


def test_import_as_json_tells_a_program_the_same(desk: Desk, home: Path) -> None:
    told = desk.json("import", "cursor")

    assert [(one["name"], one["was"], one["kind"]) for one in told["servers"]] == [
        ("echo", "Echo", "process"), ("github", "github", "package")
    ]  # fmt: skip
    assert [(one["name"], one["kept"], one["to_set"]) for one in told["secrets"]] == [
        ("api_token", True, False), ("github_token", False, True)
    ]  # fmt: skip
    assert told["not_imported"] == [{"name": "off", "reason": "it is switched off there"}]
    assert told["written"]
    assert told["content"] == (desk.project / "mcp-compose.yaml").read_text()
    assert TOKEN not in json.dumps(told)


def test_a_dry_run_prints_the_file_and_leaves_no_trace(desk: Desk, home: Path) -> None:
    before = sorted(desk.project.iterdir())

    done = desk.run("import", "cursor", "Echo", "--dry-run")

    assert "servers:\n  echo:" in done.stdout
    assert "github" not in done.stdout
    assert "nothing is written" in done.stderr
    assert sorted(desk.project.iterdir()) == before
    assert not desk.home.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import"], "SOURCE"),
        (["import", "cursr"], "did you mean `cursor`?"),
        (["import", "./nowhere.json"], "nowhere.json"),
        (["import", "cursor", "githb"], "did you mean `github`?"),
        (["import", "cursor", "--secrets", "paper"], "keyring"),
        (["import", "docker-mcp"], ".docker/mcp"),
        (["import", "cursor", "-o", "no/such/folder/x.yaml"], "no/such/folder"),
        (["profile", "show", "devloper"], "did you mean `developer`?"),
    ],
)
def test_what_makes_no_sense_exits_2_and_says_why(desk: Desk, home: Path, arguments: list[str], said: str) -> None:
    desk.write("servers: {}\nprofiles: {developer: {servers: []}}\n")

    done = desk.run(*arguments)

    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_keyring_the_ways_out_are_named_and_nothing_is_written(desk: Desk, home: Path) -> None:
    desk.environ["MCP_COMPOSE_KEYRING"] = "system"
    desk.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"

    done = desk.run("import", "cursor")

    assert done.returncode == 1
    assert "--secrets dotenv" in done.stderr
    assert not (desk.project / "mcp-compose.yaml").exists()


def test_importing_again_changes_nothing_and_says_so(desk: Desk, home: Path) -> None:
    desk.ok("import", "cursor")
    before = (desk.project / "mcp-compose.yaml").read_bytes()

    done = desk.run("import", "cursor")

    assert done.returncode == 0
    assert "server `echo` is in `mcp-compose.yaml` already" in done.stderr
    assert (desk.project / "mcp-compose.yaml").read_bytes() == before


PROFILES = {
    "profiles": {
        "default": {"servers": ["a"]},
        "developer": {"servers": ["a", "b"], "tools": {"b": ["one"]}},
    },
    "clients": {"cursor": {"profile": "developer"}},
}


def test_profiles_are_shown_by_the_file_and_with_a_gateway_as_clients_see_them(desk: Desk) -> None:
    echo = {"process": [sys.executable, "-u", "echo.py"]}
    servers = {"a": echo, "b": {**echo, "environment": {"TOOLS": "one,two"}, "tools": {"deny": ["three"]}}}
    desk.write(json.dumps({"name": "desk", "engine": "process", "servers": servers, **PROFILES}))

    by_file = desk.json("profile", "show", "developer")
    table = desk.ok("profile", "ls")
    desk.ok("trust", "--all")
    desk.ok("up", "-d")

    def live() -> bool:
        return all(one["tools"] for one in desk.json("profile", "show", "developer")["servers"])

    until(live, "both servers list their tools")
    by_gateway = desk.json("profile", "show", "developer")
    listed = desk.ok("profile", "ls")
    desk.ok("down")

    assert by_file["clients"] == ["cursor"]
    assert by_file["servers"][1] == {"name": "b", "rules": ["deny three", "only one"], "tools": None}
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["default", "a", "-", "default"], ["developer", "a,", "b", "-", "cursor"]
    ]  # fmt: skip
    assert [one["tools"] for one in by_gateway["servers"]] == [["a__echo"], ["b__one"]]
    assert listed.splitlines()[2].split() == ["developer", "a,", "b", "2", "cursor"]
