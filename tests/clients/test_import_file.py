"""How an import writes: only by adding, all or nothing, secrets kept before the file refers to them."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.importing import Machine
from harness.snippets import TOKENS, npx
from mcpcompose.actions.import_secrets import Keeper
from mcpcompose.config.variables import read_dotenv
from mcpcompose.errors import McpComposeError, UsageError
from mcpcompose.secrets.providers import Surroundings
from mcpcompose.secrets.store import set_value

TOKEN = TOKENS["github"]
ONE: dict[str, Any] = {"mcpServers": {"one": npx("one-mcp", ONE_TOKEN=TOKEN)}}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


FILES = {
    "commented": """\
# the team's file
name: product   # a comment

servers:
    time:                 # four blanks
        package: pypi:mcp-server-time   # kept

        args: [--local-timezone, UTC]
    # the last word on servers

# about secrets
secrets:
    other: {environment: OTHER}

profiles:
    default: {servers: [time]}
""",
    "no-final-newline": "servers:\n  time:\n    package: pypi:mcp-server-time",
    "flow-children": "servers:\n  time: {package: 'pypi:mcp-server-time'}\nsecrets: {}\n",
    "empty-servers": "name: x\nservers: {}   # none yet\n",
    "null-servers": "servers:\nname: x\n",
    "secrets-first": "secrets:\n  other: {environment: OTHER}\nservers:\n  time:\n    package: pypi:mcp-server-time\n",
    "crlf": "servers:\r\n  time:\r\n    package: pypi:mcp-server-time\r\n\r\nname: x\r\n",
    "literal-block": "servers:\n  time:\n    image: x\n    instructions: |\n      a\n\n      b\n\n\nname: x\n",
    "only-comments": "# nothing here yet\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_there_is_only_added_to(machine: Machine, name: str) -> None:
    before = FILES[name]
    machine.file.write_bytes(before.encode())

    machine.imported(ONE)

    after = machine.file.read_bytes().decode()
    servers = machine.servers()
    assert servers["one"]["package"] == "npm:one-mcp"
    assert (set(servers) == {"one"}) == ("time" not in before)
    kept = [line for line in before.splitlines() if line.strip() not in {"servers: {}   # none yet", "secrets: {}"}]
    remaining = iter(after.splitlines())
    assert [line for line in kept if line.strip() and line not in remaining] == []
    if "\r\n" in before:
        assert "\n" not in after.replace("\r\n", "")


@pytest.mark.parametrize(
    "text",
    ["servers: {time: {package: 'pypi:mcp-server-time'}}\n", "servers: [1]\n", "servers: {\n}\n", "&a a: 1\n? b\n",
     "servers:\n  a: {image: x}\n  a: {image: y}\n", "- 1\n", "servers: }\n", "\x00", "a: 1\n---\nb: 2\n"],
)  # fmt: skip
def test_a_file_that_cannot_be_added_to_safely_stays_as_it_is(machine: Machine, text: str) -> None:
    machine.file.write_text(text)

    with pytest.raises(McpComposeError):
        machine.imported(ONE)

    assert machine.file.read_text() == text
    assert TOKEN not in machine.everything_readable()


def test_a_server_of_the_same_name_is_a_conflict_and_nothing_is_written_or_kept(machine: Machine) -> None:
    text = "servers:\n  one:\n    image: mine:1\n"
    machine.file.write_text(text)
    two = {"mcpServers": {**ONE["mcpServers"], "two": npx("two-mcp")}}

    with pytest.raises(UsageError, match="`one`"):
        machine.imported(two)
    assert machine.file.read_text() == text
    assert not (machine.base / "state" / "data").exists()

    machine.imported(two, only=("two",))
    assert set(machine.servers()) == {"one", "two"}


def test_a_secret_of_the_same_name_keeps_its_meaning(machine: Machine) -> None:
    machine.file.write_text("servers: {}\nsecrets:\n  one_token: {environment: SOMETHING_ELSE}\n")

    machine.imported(ONE)

    assert machine.loaded().project.secrets["one_token"][0].model_dump() == {"environment": "SOMETHING_ELSE"}
    assert TOKEN in machine.kept().values()


def test_a_placeholder_stays_the_secret_that_somebody_set_meanwhile(machine: Machine) -> None:
    entries = {"mcpServers": {"one": npx("one-mcp", ONE_TOKEN="<your-token>")}}
    machine.imported(entries)
    before = machine.file.read_bytes()
    where = Surroundings({}, machine.environ, machine.home, machine.project)
    asyncio.run(set_value(machine.loaded().project.secrets["one_token"][0], b"typed", where))

    again = machine.imported(entries)

    assert again.unchanged == ("one",)
    assert machine.file.read_bytes() == before
    assert machine.kept() == {"one_token": "typed"}


def test_a_keyring_entry_that_holds_something_else_is_never_replaced(machine: Machine) -> None:
    machine.imported(ONE)
    machine.file.unlink()
    other = {"mcpServers": {"one": npx("one-mcp", ONE_TOKEN=TOKENS["gitlab"])}}

    machine.imported(other)
    again = machine.kept()
    machine.file.unlink()
    machine.imported(ONE)

    assert again == {"one_token": TOKENS["gitlab"]}
    assert machine.kept() == {"one_token": TOKEN}


def test_the_same_token_under_two_names_of_two_servers_is_one_secret_each(machine: Machine) -> None:
    machine.imported(
        {"mcpServers": {"a": npx("a-mcp", API_KEY=TOKEN), "b": npx("b-mcp", API_KEY=TOKENS["gitlab"]),
                        "c": npx("c-mcp", API_KEY=TOKEN)}}
    )  # fmt: skip

    uses = {name: one["secrets"][0]["source"] for name, one in machine.servers().items()}
    assert uses == {"a": "api_key", "b": "b_api_key", "c": "api_key"}


def test_dotenv_keeps_values_beside_the_file_for_its_owner_only(machine: Machine) -> None:
    odd = 'it\'s $HOME "quoted" \\ and\nlong-enough-1234'
    entries = {"mcpServers": {"one": npx("one-mcp", ONE_TOKEN=TOKEN, TWO_PASSWORD=odd)}}

    done = machine.imported(entries, keeper=Keeper.DOTENV)

    file = machine.project / ".env.secrets"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert machine.kept() == {"one_token": TOKEN, "two_password": odd}
    assert read_dotenv(file, {}) == {"ONE_TOKEN": TOKEN, "TWO_PASSWORD": odd}
    assert any(".gitignore" in remark for remark in done.remarks)


def test_dotenv_never_changes_a_value_that_is_there(machine: Machine) -> None:
    file = machine.project / ".env.secrets"
    file.write_text("# mine\nONE_TOKEN=another\n")

    with pytest.raises(UsageError, match="ONE_TOKEN"):
        machine.imported(ONE, keeper=Keeper.DOTENV)

    assert file.read_text() == "# mine\nONE_TOKEN=another\n"
    assert not machine.file.exists()


def test_dotenv_is_never_written_through_a_link(machine: Machine) -> None:
    target = machine.home / ".profile"
    target.write_text("A=1\n")
    (machine.project / ".env.secrets").symlink_to(target)

    with pytest.raises(UsageError, match="symbolic link"):
        machine.imported(ONE, keeper=Keeper.DOTENV)

    assert target.read_text() == "A=1\n"
    assert not machine.file.exists()


def test_environment_keeps_nothing_and_says_what_to_set(machine: Machine) -> None:
    done = machine.imported(ONE, keeper=Keeper.ENVIRONMENT)

    assert [one.source for one in done.to_set] == [{"environment": "ONE_TOKEN"}]
    assert TOKEN not in machine.everything_readable()
    assert not (machine.base / "state" / "data").exists()


def test_a_dry_run_writes_and_keeps_nothing(machine: Machine) -> None:
    done = machine.imported(ONE, dry_run=True)

    assert "npm:one-mcp" in done.text
    assert TOKEN not in done.text
    assert not done.is_written
    assert list(machine.project.iterdir()) == []
    assert not (machine.base / "state" / "data").exists()


@pytest.mark.parametrize("before", [None, "# mine\nOTHER=1"])
def test_a_dotenv_file_is_as_it_was_when_the_file_cannot_be_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    dotenv = machine.project / ".env.secrets"
    if before is not None:
        dotenv.write_text(before)

    def full(self: Path, target: Path) -> None:
        if str(target).endswith("mcp-compose.yaml"):
            raise OSError(28, "No space left on device")
        self.rename(target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        machine.imported(ONE, keeper=Keeper.DOTENV)

    assert (dotenv.read_text() if dotenv.exists() else None) == before
    assert TOKEN not in machine.everything_readable()


def test_imports_at_the_same_time_lose_no_secret_of_each_other(machine: Machine) -> None:
    together = threading.Barrier(6)

    def bring(number: int) -> None:
        entries = {"mcpServers": {f"s{number}": npx(f"mcp-{number}", **{f"S{number}_TOKEN": f"{TOKEN[:-1]}{number}"})}}
        source = machine.base / f"{number}.json"
        source.write_text(json.dumps(entries))
        together.wait()
        for _ in range(20):
            try:
                machine.imported(source, keeper=Keeper.DOTENV)
            except UsageError as error:
                assert "just now" in error.message  # noqa: PT017  that it is said, and may be tried again
            else:
                return

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(bring, range(6)))

    assert sorted(machine.servers()) == [f"s{number}" for number in range(6)]
    assert machine.kept() == {f"s{number}_token": f"{TOKEN[:-1]}{number}" for number in range(6)}


def test_what_was_kept_is_taken_back_when_the_file_cannot_be_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        if str(target).endswith("mcp-compose.yaml"):
            raise OSError(28, "No space left on device")
        self.rename(target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        machine.imported(ONE)
    monkeypatch.undo()

    assert list(machine.project.iterdir()) == []
    machine.imported({"mcpServers": {"one": npx("one-mcp", ONE_TOKEN=TOKENS["gitlab"])}})
    assert machine.file.read_text().count("project/one_token}") == 1


def test_a_linked_file_is_replaced_where_it_is(machine: Machine) -> None:
    real = machine.base / "real.yaml"
    real.write_text("servers: {}\n")
    real.chmod(0o640)
    machine.file.symlink_to(real)

    machine.imported(ONE)

    assert machine.file.is_symlink()
    assert "one-mcp" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_another_file_can_be_written(machine: Machine) -> None:
    machine.file.write_text("servers: {}\n")

    done = machine.imported(ONE, output="team.yaml")

    assert done.file == machine.project / "team.yaml"
    assert machine.file.read_text() == "servers: {}\n"


BROKEN = {
    "not-json": "{",
    "list": "[]",
    "number": "7",
    "none": '{"mcpServers": {}}',
    "wrong-kind": '{"mcpServers": [1, 2]}',
    "no-servers": '{"hello": {"world": 1}}',
    "deep": "[" * 100_000,
    "twice": '{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}',
    "binary": "\x00\x01\x02",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_source_is_an_error_and_nothing_is_written(machine: Machine, name: str) -> None:
    source = machine.base / "source.json"
    source.write_text(BROKEN[name])

    with pytest.raises(UsageError) as raised:
        machine.imported(source)

    assert "source.json" in raised.value.message
    assert not machine.file.exists()


@pytest.mark.parametrize("what", ["fifo", "folder", "missing", "latin1"])
def test_a_source_that_is_no_file_is_an_error_and_not_waited_for(machine: Machine, what: str) -> None:
    source = machine.base / "source.json"
    if what == "fifo":
        os.mkfifo(source)
    elif what == "folder":
        source.mkdir()
    elif what == "latin1":
        source.write_bytes(b'{"a": "\xe9"}')

    with pytest.raises(UsageError):
        machine.imported(source)


def test_a_file_with_thousands_of_servers_is_refused_at_once(machine: Machine) -> None:
    many = {f"s{n}": npx(f"p-{n}") for n in range(5000)}

    with pytest.raises(UsageError, match="5000 servers"):
        machine.imported({"mcpServers": many})
    machine.imported({"mcpServers": many}, only=("s7",))

    assert list(machine.servers()) == ["s7"]


HOSTILE: dict[str, dict[str, Any]] = {
    "newlines": {"command": "npx\nimage: evil", "args": ["a\nb: c", "# x", "- y", "{z", "'", '"', "\\", "`x`"]},
    "yaml-words": {"command": "npx", "args": ["-y", "yes-mcp", "no", "1e3", "0x10", "null", "~", "", " x ", "a: b"]},
    "control": {"command": "x", "args": ["\x07\x1b[31m", "\u202e", "\ufeff", "\ud800", "\U0001f600"]},
    "dollars": {"command": "x", "args": ["$", "$$", "${", "${}", "$1", "${a b}", "${X:?no}", "${secret:stolen}"]},
    "flags": {"command": "docker", "args": ["run", "--rm", "-v", "/:/host", "--device=/dev/sda", "--cap-add=ALL", "i"]},
    "image": {"command": "docker", "args": ["run", "-it", "--rm", "--", "--privileged"]},
    "environment": {"command": "npx", "args": ["-y", "a-mcp"], "env": {"A B": "x", "C=D": "y", "": "z", "OK": "1"}},
    "headers": {"url": "https://x.example/mcp", "headers": {"Bad Name": "x", "Good": "a\r\nEvil: b", "Fine": "1"}},
    "url": {"url": "file:///etc/passwd"},
    "long": {"command": "npx", "args": ["-y", "x-mcp", "a" * 100_000]},
    "types": {"command": 7, "args": {"a": 1}, "env": [1, None], "url": None},
    "nested": {"command": ["npx", ["x"], None, "-y", "n-mcp"]},
    "secret-name": {"command": "npx", "args": ["-y", "s-mcp"], "env": {"X": "${secret:github_pat}"}},
}  # fmt: skip


def test_hostile_entries_load_or_are_left_out_with_a_reason(machine: Machine) -> None:
    fine = npx("fine-mcp")

    done = machine.imported(
        {"mcpServers": {**HOSTILE, "../../etc/passwd": fine, "🙂": fine, "": fine, "x" * 500: fine}}
    )

    servers = machine.servers()
    assert "fine-mcp" in json.dumps(servers)
    assert all(one.why for one in done.left)
    assert not any(one.get("unsafe") or one.get("privileged") or one.get("cap_add") for one in servers.values())
    assert set(machine.loaded().project.secrets) == set()
    assert len(servers) + len(done.left) == len(HOSTILE) + 4
