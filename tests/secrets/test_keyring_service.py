"""A real keyring service: gnome-keyring on a session bus of its own, without a desktop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.desk import Desk, eventually
from mcpcompose.secrets.base import Absent
from mcpcompose.secrets.machine_keyring import KeyringProvider
from mcpcompose.secrets.places import keyring_places
from mcpcompose.secrets.system_keyring import Answer, SystemKeyring

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

VALUE = b"planted-value-of-this-test"
STRICT = os.environ.get("CI") == "true" or bool(os.environ.get("MCP_COMPOSE_TEST_STRICT"))
LOCK = "import secretstorage; b = secretstorage.dbus_init(); secretstorage.get_default_collection(b).lock()"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a session whose keyring is unlocked."""
    if not shutil.which("gnome-keyring-daemon") or not shutil.which("dbus-daemon"):
        (pytest.fail if STRICT else pytest.skip)("there is no gnome-keyring; `scripts/clients` brings it")
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "MCP_COMPOSE_HOME": str(tmp_path / "h"),
    }
    quiet = {"env": environ, "stderr": subprocess.DEVNULL}
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:path={tmp_path}/bus"],
        stdout=subprocess.PIPE, **quiet,
    )  # fmt: skip
    assert bus.stdout is not None
    environ["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
    daemon = subprocess.Popen(
        ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **quiet,
    )  # fmt: skip
    try:
        assert daemon.stdin is not None
        daemon.stdin.write(b"password of the keyring")
        daemon.stdin.close()
        eventually(lambda: _answers(environ))
        yield environ
    finally:
        for process in (daemon, bus):
            process.terminate()
            process.wait(10)
        bus.stdout.close()


def _answers(environ: dict[str, str]) -> bool:
    code = "from keyring.backends.SecretService import Keyring as K; assert K.priority; K().get_password('a', 'b')"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False, timeout=20)
    return done.returncode == 0


def entry(environ: dict[str, str], name: str = "x", limit: float = 20.0) -> KeyringProvider:
    home = Path(environ["HOME"])
    asked = SystemKeyring(environ, read_limit=limit, write_limit=limit)
    return KeyringProvider(name, asked, keyring_places(environ, home))


async def test_the_service_keeps_says_and_forgets_values(session: dict[str, str]) -> None:
    for value in (VALUE, b"\x00\xff", b"two\nlines\n", b"x" * 300_000):
        kept = await entry(session).write(value)
        assert (kept.where, kept.remark) == ("the keyring (Secret Service)", "")
        assert await entry(session).read() == value
    assert await entry(session).held() == ("keyring (Secret Service)",)
    assert await entry(session, "another").read() == Absent("Secret Service has no such entry")

    assert await entry(session).remove() == ("the keyring (Secret Service)",)
    assert await entry(session).remove() == ()
    assert isinstance(await entry(session).read(), Absent)
    assert not keyring_places(session, Path(session["HOME"])).sealed.exists()


async def test_a_value_of_the_time_without_a_service_is_replaced_and_not_kept_twice(session: dict[str, str]) -> None:
    headless = {
        key: text for key, text in session.items() if key not in {"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"}
    }
    await entry(headless).write(b"old")
    await entry(headless, "other").write(b"other")
    assert await entry(session).read() == b"old"

    await entry(session).write(b"new")

    assert await entry(session).read() == b"new"
    assert isinstance(await entry(headless).read(), Absent)
    assert await entry(session, "other").read() == b"other"


@pytest.mark.parametrize("change", ["another value", "no value"])
async def test_what_the_service_alone_was_told_leaves_no_old_value_in_the_file_to_come_back(
    session: dict[str, str], change: str
) -> None:
    await entry({**session, "MCP_COMPOSE_KEYRING": "file"}).write(b"the old value")
    alone = entry({**session, "MCP_COMPOSE_KEYRING": "system"})
    if change == "another value":
        await alone.write(VALUE)
    else:
        await alone.remove()
    subprocess.run([sys.executable, "-c", LOCK], env=session, check=True, timeout=20)

    found = await entry(session, limit=3).read()

    assert isinstance(found, Absent), found


async def test_a_locked_keyring_is_an_answer_with_a_next_step_and_a_value_in_the_file_is_not_hidden_by_it(
    session: dict[str, str],
) -> None:
    await entry(session).write(VALUE)
    subprocess.run([sys.executable, "-c", LOCK], env=session, check=True, timeout=20)
    start = time.monotonic()

    said = await entry(session, limit=5.0).read()

    assert isinstance(said, Absent)
    assert said.next_step
    assert "locked" in said.reason or "no answer within 5 s" in said.reason
    assert time.monotonic() - start < 15
    assert not isinstance(await entry(session).system.has("x"), Answer)
    chosen = {**session, "MCP_COMPOSE_KEYRING": "file"}
    await entry(chosen).write(b"from the file")
    assert await entry(session, limit=5.0).read() == b"from the file"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder in which the names of sockets are short enough, whoever runs the tests."""
    with tempfile.TemporaryDirectory(prefix="mck-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_the_command_line_sets_lists_serves_and_rotates_a_value_of_the_service(
    session: dict[str, str], short_path: Path
) -> None:
    desk = Desk(short_path)
    desk.environ = {**session, "MCP_COMPOSE_HOME": str(desk.home)}
    program = [sys.executable, "-u", "echo.py"]
    desk.write(
        "name: desk\nengine: process\nsecrets: {k: {keyring: k}}\nservers:\n"
        f"  a: {{process: {program}, secrets: [{{source: k, env: GREETING}}]}}\n  b: {{process: {program}}}\n"
    )
    try:
        done = desk.run("up", "-d")
        assert (done.returncode, "needs your approval" in done.stderr) == (6, True)
        desk.ok("trust", "--all")
        done = desk.run("up", "-d")
        assert done.returncode == 3
        assert "`mcp-compose secret set k`" in done.stderr
        assert desk.ok("secret", "set", "k", stdin="first-\n") == "k is kept in the keyring (Secret Service)\n"
        desk.up()
        assert desk.ok("tools", "call", "a__echo", "text=x") == "first-x\n"
        before = {server: desk.state(server)["since"] for server in "ab"}

        desk.ok("secret", "set", "k", stdin="second-\n")

        eventually(lambda: desk.run("tools", "call", "a__echo", "text=x").stdout == "second-x\n")
        assert desk.state("b")["since"] == before["b"]
        (listed,) = desk.json("secret", "ls")["secrets"]
        assert (listed["value"], listed["from"], listed["used_by"]) == ("present", "keyring (Secret Service)", ["a"])
        desk.ok("secret", "rm", "k")
        eventually(lambda: (desk.json("ps")["problem"] or {}).get("kind") == "SecretMissing")
        assert "`mcp-compose secret set k`" in desk.run("ps").stderr
        assert desk.ok("tools", "call", "a__echo", "text=x") == "second-x\n"
        desk.ok("down")
    finally:
        desk.leave()
