from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil

from mcpcompose.secrets.base import Absent
from mcpcompose.secrets.command import CommandProvider
from mcpcompose.secrets.dotenv import DotenvProvider, literal_values
from mcpcompose.secrets.environment import EnvironmentProvider
from mcpcompose.secrets.file import FileProvider
from mcpcompose.secrets.providers import Surroundings, provider
from mcpcompose.spec.secret import FileSource


def command(tmp_path: Path, code: str, **keys: float) -> CommandProvider:
    return CommandProvider((sys.executable, "-c", code), {"FROM_HOST": "host-value"}, tmp_path, **keys)


async def test_an_environment_variable_that_is_empty_is_missing() -> None:
    assert await EnvironmentProvider("X", {"X": "v"}).read() == b"v"
    assert await EnvironmentProvider("X", {"X": ""}).read() == Absent("empty")
    assert await EnvironmentProvider("X", {}).read() == Absent("not set")


async def test_a_file_loses_one_trailing_newline_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "key"
    values = {b"v": b"v", b"v\n": b"v", b"v\r\n": b"v", b"v\n\n": b"v\n", b"\x00\xff": b"\x00\xff"}
    for content, value in values.items():
        path.write_bytes(content)
        assert await FileProvider(path).read() == value


async def test_what_is_no_regular_file_of_a_sane_size_is_missing_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (1 << 20) + b"y")
    (tmp_path / "empty").touch()

    for name in ("pipe", "large", "empty", "nothing", "."):
        assert isinstance(await FileProvider(tmp_path / name).read(), Absent)


def test_a_files_path_is_below_the_project_or_the_home_folder() -> None:
    where = Surroundings({}, {}, Path("/home/me"), Path("/project"))

    paths = [provider(FileSource(file=text), where).description for text in ("~/k", "k", "./k", "/k")]

    assert paths == ["file `/home/me/k`", "file `/project/k`", "file `/project/k`", "file `/k`"]


async def test_a_dotenv_key_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nexport K='a ${A} $$'\nQ=\"two\\nlines\"\n# C=1\nB = bare value # comment\nURL=x#y\n")

    assert await DotenvProvider(path, "K").read() == b"a ${A} $$"
    assert await DotenvProvider(path, "C").read() == Absent("no such key")
    values = literal_values(path.read_text())
    assert (values["Q"], values["B"], values["URL"]) == ("two\nlines", "bare value", "x#y")


async def test_a_commands_output_is_the_value(tmp_path: Path) -> None:
    assert await command(tmp_path, "print('v')").read() == b"v"
    assert await command(tmp_path, "import os; print(os.environ['FROM_HOST'])").read() == b"host-value"
    assert await command(tmp_path, "import os; print(os.getcwd())").read() == str(tmp_path).encode()


async def test_a_command_runs_without_a_shell(tmp_path: Path) -> None:
    provider = CommandProvider(("echo", "$HOME;", "id"), {"PATH": "/usr/bin:/bin"}, tmp_path)

    assert await provider.read() == b"$HOME; id"


async def test_a_command_that_fails_says_how_and_never_what_it_printed(tmp_path: Path) -> None:
    assert await command(tmp_path, "print('hush'); raise SystemExit(3)").read() == Absent("exited with code 3")
    assert await command(tmp_path, "").read() == Absent("printed nothing")
    assert await command(tmp_path, "print('x' * 3000000)").read() == Absent("printed more than 1048576 bytes")
    missing = await CommandProvider(("/nowhere/op",), {}, tmp_path).read()
    assert missing == Absent("cannot be run: no such file or directory")


async def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen(['sleep', '300']); sys.stdout.close(); time.sleep(300)"
    before = set(psutil.Process().children(recursive=True))

    found = await command(tmp_path, code, time_limit=1.0).read()

    assert found == Absent("no answer within 1 s")
    async with asyncio.timeout(5):
        while set(psutil.Process().children(recursive=True)) - before:  # noqa: ASYNC110  reaping has no event
            await asyncio.sleep(0.01)


def test_no_provider_shows_a_value() -> None:
    where = Surroundings({"X": "planted-value"}, {"X": "planted-value"}, Path(), Path())

    shown = repr([where, EnvironmentProvider("X", where.variables), CommandProvider(("a",), where.host, Path())])

    assert "planted-value" not in shown
