from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import InitError, KeyringLocked, PasswordDeleteError, PasswordSetError

from mcpcompose.errors import UsageError
from mcpcompose.secrets.base import Absent, StoreUnusable
from mcpcompose.secrets.keyring_child import ALLOWED, NAMES, SERVICE, answer, best_backend, told
from mcpcompose.secrets.machine_keyring import KeyringProvider
from mcpcompose.secrets.places import keyring_places
from mcpcompose.secrets.system_keyring import NoKeyring, SystemKeyring, Unanswered

VALUE = b"planted-value-of-this-test"


class Cupboard(KeyringBackend):
    """A keyring in this process, at the seam of the library."""

    priority = 1.0

    def __init__(self, problem: Exception | None = None) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.problem = problem

    def get_password(self, service: str, username: str) -> str | None:
        self._fail()
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._fail()
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._fail()
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("there is none")

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem


def ask(backend: Cupboard, do: str, **request: Any) -> dict[str, Any]:
    return answer({"do": do, **request}, ("cupboard", backend))


def environ(base: Path, **more: str) -> dict[str, str]:
    """A user's environment without a session bus."""
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": root, "HOME": str(base), "MCP_COMPOSE_HOME": str(base / "h"), **more}


def entry(base: Path, name: str = "x", **more: str) -> KeyringProvider:
    surroundings = environ(base, **more)
    return KeyringProvider(name, SystemKeyring(surroundings, read_limit=30), keyring_places(surroundings, base))


@pytest.mark.parametrize("value", [VALUE, b"caf\xc3\xa9", b"a\nb\n", b"\x00\xff", b"a\0b", b"mcp-compose:base64:eA=="])
def test_what_a_keyring_keeps_comes_back_byte_for_byte(value: bytes) -> None:
    cupboard = Cupboard()

    assert ask(cupboard, "set", name="n", value=base64.b64encode(value).decode()) == {"backend": "cupboard"}

    assert base64.b64decode(ask(cupboard, "get", names=["n"])["values"]["n"]) == value
    if value == VALUE:
        assert cupboard.held == {(SERVICE, "n"): VALUE.decode()}  # as other programs show it
    assert ask(cupboard, "has", names=["n", "m"])["has"] == ["n"]
    assert ask(cupboard, "get", names=["m"])["values"] == {"m": None}
    assert ask(cupboard, "remove", name="n")["removed"] is True
    assert ask(cupboard, "remove", name="n")["removed"] is False


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (KeyringLocked("x"), "locked"),
        (PasswordSetError(VALUE.decode()), "failed"),
        (InitError(VALUE.decode()), "failed"),
    ],
)
def test_an_error_of_a_keyring_is_told_by_kind_and_never_in_its_own_words(problem: Exception, kind: str) -> None:
    requests = (("get", {"names": ["n"]}), ("has", {"names": ["n"]}), ("remove", {"name": "n"}))
    for do, request in (*requests, ("set", {"name": "n", "value": base64.b64encode(VALUE).decode()})):
        said = ask(Cupboard(problem), do, **request)

        assert said["error"] == kind
        assert VALUE.decode() not in json.dumps(said)


def test_an_error_that_nobody_foresaw_is_told_by_kind_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    told(OSError, OSError(VALUE.decode()), None)

    assert json.loads(capsys.readouterr().out) == {"error": "failed", "detail": "OSError"}


async def test_a_process_that_breaks_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real hook: what is asked makes no sense, so that it breaks in the middle."""
    asked = SystemKeyring(environ(tmp_path, DBUS_SESSION_BUS_ADDRESS=f"unix:path={tmp_path}/nobody"))

    assert await asked._ask({"do": "get"}) == {"error": "none", "detail": "no keyring service answers"}
    monkeypatch.setattr(json, "dumps", lambda _request: f"no JSON {VALUE.decode()}")
    said = await asked._ask({"do": "set"})

    assert said == {"error": "failed", "detail": "JSONDecodeError"}


def test_only_backends_named_one_by_one_are_tried_and_the_best_of_those_that_work_is_taken() -> None:
    tried: list[str] = []

    def load(module: str, name: str) -> type:
        tried.append(f"{module}.{name}")
        if module.endswith("Windows"):
            raise ImportError(module)
        priority = {"kwallet": 4.9, "libsecret": 4.8}.get(module.rpartition(".")[2], 0.0)
        return type(name, (Cupboard,), {"priority": priority})

    best = best_backend(None, load)

    assert isinstance(best, tuple)
    assert best[0] == "KWallet"
    assert set(tried) == {f"{module}.{name}" for module, name in ALLOWED.items()}
    assert NAMES.keys() == ALLOWED.keys()
    assert best_backend("keyring.backends.libsecret.Keyring", load)[0] == "libsecret"


@pytest.mark.parametrize(
    ("preferred", "said"),
    [
        ("keyring.backends.null.Keyring", "switches it off"),
        ("keyring.backends.fail.Keyring", "switches it off"),
        ("keyring.backends.chainer.ChainerBackend", "not one that keeps values sealed"),
        ("keyrings.alt.file.PlaintextKeyring", "not one that keeps values sealed"),
        ("keyring.backends.SecretService.Keyring.x", "not one that keeps values sealed"),
        ("os.system", "not one that keeps values sealed"),
    ],
)
def test_a_backend_that_is_named_from_outside_has_to_be_one_of_them(preferred: str, said: str) -> None:
    assert said in str(best_backend(preferred, lambda _module, _name: Cupboard))


def test_every_allowed_backend_exists_in_the_library() -> None:
    import importlib

    from keyring.backend import KeyringBackend

    for module, name in ALLOWED.items():
        assert issubclass(getattr(importlib.import_module(module), name), KeyringBackend)


# --- with the real process ------------------------------------------------------------------------------------------


@pytest.fixture(params=["after the greeting"])
def standing_bus(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A session bus that stands still: from the start, or when it has let somebody in."""
    path = tmp_path / "bus"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                accepted.append(listening.accept()[0])
                if request.param == "after the greeting":
                    accepted[-1].recv(100)
                    accepted[-1].send(b"OK 1234deadbeef\r\n")
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"unix:path={path}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)
    for one in accepted:
        one.close()


def asked_processes() -> list[psutil.Process]:
    """The children of this process that speak to a keyring; what other tests left behind says nothing any more."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "keyring_child" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_the_library_alone_would_take_plain_text(tmp_path: Path) -> None:
    """What this file guards against, as a control: the development set-up has `keyrings.alt` installed."""
    assert version("keyrings.alt")
    code = (
        "import keyring; k = keyring.get_keyring(); "
        "print(type(k).__module__, [type(b).__module__ for b in getattr(k, 'backends', [])])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(tmp_path), capture_output=True, text=True, check=True
    )

    assert "keyrings.alt" in done.stdout


async def test_with_keyrings_alt_installed_nothing_is_kept_in_plain_text_and_it_is_not_even_imported(
    tmp_path: Path,
) -> None:
    config = tmp_path / ".config" / "python_keyring"
    config.mkdir(parents=True)
    (config / "keyringrc.cfg").write_text("[backend]\ndefault-keyring=keyrings.alt.file.PlaintextKeyring\n")
    trap = tmp_path / "trap" / "keyrings"
    (trap / "alt").mkdir(parents=True)
    for file in (trap / "__init__.py", trap / "alt" / "__init__.py", trap / "alt" / "file.py"):
        file.write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    bus = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/nobody"}

    for more in ({}, bus, {**bus, "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}):
        asked = entry(
            tmp_path, **more, **({"PYTHONPATH": f"{tmp_path}/trap:{Path(__file__).parents[2]}"} if more else {})
        )
        assert isinstance(await asked.system.get("x"), NoKeyring)
        kept = await asked.write(VALUE)
        assert "encrypted file" in kept.where
        assert kept.remark
        assert await asked.read() == VALUE

    assert not (tmp_path / "imported").exists()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    forms = (VALUE, VALUE.hex().encode(), base64.b64encode(VALUE).rstrip(b"="))
    assert [path for path in files if any(form in path.read_bytes() for form in forms)] == []
    assert not list(tmp_path.rglob("*.cfg.*")) + list(tmp_path.rglob("*pass*.cfg"))


async def test_a_bus_that_stands_still_is_an_answer_in_time_and_leaves_nothing_running(
    tmp_path: Path, standing_bus: str
) -> None:
    asked = SystemKeyring(environ(tmp_path, DBUS_SESSION_BUS_ADDRESS=standing_bus), read_limit=2.0, write_limit=2.0)
    start = time.monotonic()

    said = await asyncio.gather(asked.get("x"), asked.get("y"), asked.has("z"))

    assert list(said) == [Unanswered("of this system", "no answer within 2 s")] * 3
    with pytest.raises(StoreUnusable, match="no answer within 2 s"):
        await asked.set("x", VALUE)
    assert time.monotonic() - start < 12
    assert asked_processes() == []


@pytest.mark.parametrize("standing_bus", ["from the start"], indirect=True)
async def test_a_bus_that_never_says_a_word_is_none(tmp_path: Path, standing_bus: str) -> None:
    start = time.monotonic()

    said = await entry(tmp_path, DBUS_SESSION_BUS_ADDRESS=standing_bus).read()

    assert said == Absent("no keyring service answers, and the encrypted file has no such entry")
    assert time.monotonic() - start < 15


async def test_names_that_are_asked_for_at_once_cost_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from outside: the interpreter that is started notes itself."""
    log = tmp_path / "started"
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\necho x >> {log}\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    asked = SystemKeyring(environ(tmp_path, DBUS_SESSION_BUS_ADDRESS=f"unix:path={tmp_path}/nobody"))

    said = await asyncio.gather(*(asked.get(f"n{number}") for number in range(30)))

    assert all(isinstance(one, NoKeyring) for one in said)
    assert log.read_text() == "x\n"


async def test_a_value_is_in_no_argument_of_the_process_that_is_asked(tmp_path: Path, standing_bus: str) -> None:
    asked = SystemKeyring(environ(tmp_path, DBUS_SESSION_BUS_ADDRESS=standing_bus), write_limit=5)
    setting = asyncio.create_task(asked.set("x", VALUE))

    async def children() -> list[psutil.Process]:
        while True:
            if found := asked_processes():
                return found
            await asyncio.sleep(0.01)

    try:
        (child,) = await asyncio.wait_for(children(), 10)
        seen = f"{child.cmdline()} {child.environ()}"
    finally:
        setting.cancel()
        await asyncio.gather(setting, return_exceptions=True)

    assert "keyring_child" in seen
    assert all(form not in seen for form in (VALUE.decode(), base64.b64encode(VALUE).decode(), VALUE.hex()))


async def test_without_a_session_bus_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert await SystemKeyring(environ(tmp_path)).get("x") == NoKeyring("no keyring service answers")


async def test_what_is_chosen_is_used_and_nothing_else(tmp_path: Path) -> None:
    assert "the encrypted file" in (await entry(tmp_path, MCP_COMPOSE_KEYRING="file").write(VALUE)).where

    assert await entry(tmp_path).read() == VALUE
    only_system = entry(tmp_path, MCP_COMPOSE_KEYRING="system")
    assert isinstance(await only_system.read(), Absent)
    assert isinstance(await only_system.held(), Absent)
    with pytest.raises(StoreUnusable, match="there is no keyring"):
        await only_system.write(VALUE)
    with pytest.raises(UsageError, match="`MCP_COMPOSE_KEYRING` is `plain`"):
        entry(tmp_path, MCP_COMPOSE_KEYRING="plain")


async def test_a_file_that_cannot_be_opened_is_a_reason_and_a_next_step(tmp_path: Path) -> None:
    asked = entry(tmp_path)
    await asked.write(VALUE)
    asked.places.key.unlink()

    said = await asked.read()

    assert isinstance(said, Absent)
    assert str(asked.places.key) in said.reason
    assert said.next_step.startswith("restore the key")
