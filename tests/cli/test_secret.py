"""`secret set`, `ls` and `rm` as a person types them, on a machine without a keyring service."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.desk import Desk, eventually

VALUE = "planted-value-of-this-test"
FILE = """\
name: desk
engine: process
secrets:
  token: {keyring: team/token}
  either: [{environment: EITHER}, {keyring: either}]
  plain: {environment: PLAIN}
  asked: {command: [touch, ran]}
  podman: [{docker: p}, {podman: p}]
  unused: {file: nothing.txt}
servers:
  a: {process: [PYTHON, -u, echo.py], secrets: [{source: token, env: GREETING}]}
  b: {process: [PYTHON, -u, echo.py], environment: {X: "${secret:either}"}, secrets: [token]}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        desk.environ.pop(name, None)
    desk.write(FILE.replace("PYTHON", sys.executable))
    yield desk
    if desk.processes():
        desk.run("down")
    desk.leave()


def kept_anywhere(desk: Desk, value: str = VALUE) -> list[Path]:
    forms = (value.encode(), value.encode().hex().encode(), base64.b64encode(value.encode()).rstrip(b"="))
    files = [path for path in desk.base.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def test_a_value_from_standard_input_is_kept_sealed_and_it_is_said_where(desk: Desk) -> None:
    done = desk.run("secret", "set", "token", stdin=VALUE + "\n")

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"token is kept in the encrypted file `{desk.home}/data/keyring/keyring.json`\n"
    assert "no keyring service answers on this machine" in done.stderr
    assert f"{desk.home}/state/keyring/keyring.key" in done.stderr
    assert VALUE not in done.stdout + done.stderr
    assert kept_anywhere(desk) == []


def test_the_list_says_where_values_are_and_who_gets_them_and_runs_nothing(desk: Desk) -> None:
    desk.environ["EITHER"] = VALUE
    desk.ok("secret", "set", "token", stdin=VALUE)

    table = desk.ok("secret", "ls")
    listed = {one["name"]: one for one in desk.json("secret", "ls")["secrets"]}

    assert VALUE not in table + json.dumps(listed)
    assert {name: one["value"] for name, one in listed.items()} == {
        "token": "present", "either": "present", "plain": "missing",
        "asked": "unknown", "podman": "unknown", "unused": "missing",
    }  # fmt: skip
    assert listed["token"]["from"] == f"encrypted file `{desk.home}/data/keyring/keyring.json`"
    assert listed["either"]["from"] == "environment variable `EITHER`"
    assert {name: one["used_by"] for name, one in listed.items() if one["used_by"]} == {
        "token": ["a", "b"], "either": ["b"],
    }  # fmt: skip
    assert [(source["provider"], source["state"], source["writable"]) for source in listed["either"]["sources"]] == [
        ("environment", "present", False), ("keyring", "missing", True),
    ]  # fmt: skip
    assert listed["asked"]["sources"][0]["state"] == "not asked"
    assert not (desk.project / "ran").exists()
    lines = [line.split()[:2] for line in table.splitlines()]
    assert lines[:4] == [["NAME", "VALUE"], ["token", "present"], ["either", "present"], ["plain", "missing"]]


def test_what_can_only_be_read_is_not_set_and_the_next_step_is_named(desk: Desk) -> None:
    cases = {
        ("set", "plain"): ("environment variable `PLAIN` is only read", "set the environment variable `PLAIN`"),
        ("rm", "plain"): ("environment variable `PLAIN` is only read", "{keyring: plain}"),
        ("set", "unused"): ("nothing.txt` is only read", "write the value to"),
        ("set", "asked"): ("command `touch` is only read", "make `touch ran` print the value"),
        ("set", "tokn"): ("there is no secret `tokn`, did you mean `token`?", "`tokn: {keyring: tokn}`"),
    }
    for (verb, name), (message, step) in cases.items():
        done = desk.run("secret", verb, name, stdin=VALUE)

        assert done.returncode == 2
        assert message in done.stderr
        assert step in done.stderr
        assert VALUE not in done.stderr
    assert not (desk.project / "ran").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", VALUE), (f"token={VALUE}",), ("token", "=", VALUE), ("token", "--", VALUE),
        ("token", f"--value={VALUE}"),
        ("token", "--value", VALUE), ("token", "--exact", VALUE),
    ],
    ids=lambda arguments: " ".join(arguments).replace(VALUE, "V"),
)  # fmt: skip
def test_a_value_on_the_command_line_is_refused_and_not_said_again(desk: Desk, arguments: tuple[str, ...]) -> None:
    for verb in ("set", "rm"):
        done = desk.run("secret", verb, *arguments)

        assert done.returncode == 2
        assert VALUE not in done.stdout + done.stderr
    assert kept_anywhere(desk) == []


@pytest.mark.parametrize(
    ("stdin", "options", "kept"),
    [
        (b"v\n", (), b"v"),
        (b"v\r\n", (), b"v"),
        (b"v\n\n", (), b"v\n"),
        (b"v\n", ("--exact",), b"v\n"),
        (b"\x00\xff\n", ("--exact",), b"\x00\xff\n"),
        (b"", (), None),
        (b"\n", (), None),
        (b"x" * ((1 << 20) + 1), (), None),
        (b"x" * (1 << 20) + b"\n", (), b"x" * (1 << 20)),
    ],
    ids=["newline", "crlf", "two", "exact", "bytes", "nothing", "only newline", "too large", "largest"],
)
def test_what_is_kept_of_standard_input(desk: Desk, stdin: bytes, options: tuple[str, ...], kept: bytes | None) -> None:
    done = subprocess.run(
        [*desk.command, "secret", "set", "token", *options],
        cwd=desk.project, env=desk.environ, input=stdin, capture_output=True, check=False, timeout=60,
    )  # fmt: skip

    from mcpcompose.secrets.encrypted_file import EncryptedFile
    from mcpcompose.secrets.places import keyring_places

    assert done.returncode == (2 if kept is None else 0), done.stderr
    assert EncryptedFile(keyring_places(desk.environ, Path.home())).get("team/token") == kept


def test_on_a_terminal_the_value_is_asked_for_and_does_not_appear(desk: Desk) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*desk.command, "secret", "set", "token"],
        cwd=desk.project, env=desk.environ, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=_own_terminal,  # noqa: PLW1509  one thread only
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"value of token: " not in said:
        said += os.read(ours, 1000)
    os.write(ours, VALUE.encode() + b"\n")
    try:
        while chunk := os.read(ours, 1000):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)

    assert process.wait(20) == 0
    assert VALUE.encode() not in said
    assert b"token is kept in the encrypted file" in said


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_what_comes_first_still_counts_and_that_is_said(desk: Desk) -> None:
    desk.environ["EITHER"] = "the other"

    done = desk.run("secret", "set", "either", stdin=VALUE)

    assert done.returncode == 0
    assert "environment variable `EITHER` comes before it" in done.stderr


def test_removing_says_where_it_was_and_nothing_to_remove_is_fine(desk: Desk) -> None:
    desk.ok("secret", "set", "token", stdin=VALUE)

    assert "token is no longer in the encrypted file" in desk.ok("secret", "rm", "token")
    assert desk.ok("secret", "rm", "token") == "token had no value that could be removed\n"
    assert desk.json("secret", "rm", "token") == {"name": "token", "removed": []}
    assert desk.json("secret", "ls")["secrets"][0]["value"] == "missing"


def test_a_missing_secret_is_exit_3_with_the_command_that_sets_it_and_that_command_mends_it(desk: Desk) -> None:
    desk.environ["EITHER"] = "x"
    desk.ok("trust", "--all")

    done = desk.run("up", "-d")

    assert done.returncode == 3
    assert "secret `token` of servers `a`, `b` is missing (keyring entry `team/token`: " in done.stderr
    assert "run `mcp-compose secret set token`" in done.stderr
    desk.ok("secret", "set", "token", stdin=VALUE)
    desk.ok("up", "-d")
    assert desk.ok("tools", "call", "a__echo", "text=!") == f"{VALUE}!\n"


def test_a_value_that_is_set_while_it_runs_restarts_only_the_servers_that_get_it(desk: Desk) -> None:
    program = f"process: [{sys.executable}, -u, echo.py]"
    desk.write(
        "name: desk\nengine: process\nsecrets: {token: {keyring: token}, other: {keyring: other}}\nservers:\n"
        f"  a: {{{program}, secrets: [{{source: token, env: GREETING}}]}}\n"
        f"  b: {{{program}, secrets: [{{source: other, env: GREETING}}]}}\n  c: {{{program}}}\n"
    )
    desk.ok("secret", "set", "token", stdin="one-")
    desk.ok("secret", "set", "other", stdin="other-")
    desk.up()
    before = {server: desk.state(server)["since"] for server in "abc"}

    done = desk.run("secret", "set", "token", stdin="two-")

    assert "start again with the new value: a" in done.stderr
    eventually(lambda: desk.run("tools", "call", "a__echo", "text=x").stdout == "two-x\n")
    assert desk.ok("tools", "call", "b__echo", "text=x") == "other-x\n"
    assert {server: desk.state(server)["since"] for server in "bc"} == {server: before[server] for server in "bc"}
    assert desk.state("a")["since"] != before["a"]

    desk.ok("secret", "set", "token", stdin="two-")  # the same again
    desk.ok("up", "-d")
    after = desk.state("a")["since"]
    assert desk.json("plan")["steps"] == []
    assert desk.state("a")["since"] == after
