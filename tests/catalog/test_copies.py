"""The last good copy is whole, or it is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mcpcompose.catalog.kept import Copies, Copy, Https, Oci
from mcpcompose.errors import FetchFailed

ROOT = Path(__file__).parent.parent.parent
HERE = Https("https://catalog.example/c.yaml?token=planted")


def test_a_copy_is_read_as_it_was_written_and_gives_no_token_away(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "c")
    copy = Copy(b"catalog: 1\n", "sha256:1", "own", '"e"', "now")
    copies.write(HERE, copy)

    assert copies.read(HERE) == copy
    assert copies.read(Https("https://catalog.example/c.yaml")) is None
    (file,) = (tmp_path / "c").iterdir()
    assert b"planted" not in file.read_bytes()
    assert "planted" not in str(file)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("stands_in", ["the folder", "the file"])
def test_a_copy_that_cannot_be_kept_is_said(tmp_path: Path, stands_in: str) -> None:
    copies = Copies(tmp_path / "c")
    if stands_in == "the folder":
        (tmp_path / "c").write_text("")
    else:
        copies.write(HERE, Copy(b"catalog: 1\n", "sha256:1"))
        copies.file(HERE).unlink()
        copies.file(HERE).mkdir()

    with pytest.raises(FetchFailed, match="no copy can be kept"):
        copies.write(HERE, Copy(b"catalog: 1\n", "sha256:1"))


@pytest.mark.parametrize("spoil", ["cut", "bit", "empty", "head", "other", "folder", "not json"])
def test_a_copy_that_is_not_what_it_says_is_none(tmp_path: Path, spoil: str) -> None:
    copies = Copies(tmp_path / "c")
    copies.write(HERE, Copy(b"catalog: 1\n" * 100, "sha256:1"))
    file = copies.file(HERE)
    data = file.read_bytes()
    match spoil:
        case "cut":
            file.write_bytes(data[:-10])
        case "bit":
            file.write_bytes(data[:-10] + b"x" + data[-9:])
        case "empty":
            file.write_bytes(b"")
        case "head":
            file.write_bytes(data.partition(b"\n")[2])
        case "other":
            other = Oci("x/y:1")
            copies.write(other, Copy(b"evil", "sha256:2"))
            copies.file(other).replace(file)
        case "folder":
            file.unlink()
            file.mkdir()
        case _:
            file.write_bytes(b"[" * 10000 + b"\n")

    assert copies.read(HERE) is None


_WRITER = """
import sys
from pathlib import Path
from mcpcompose.catalog.kept import Copies, Copy, Https
copies, number = Copies(Path(sys.argv[1])), 0
while True:
    number += 1
    copies.write(Https(sys.argv[2]), Copy(b"%d\\n" % number * 200_000, f"sha256:{number}"))
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_copy(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "c")
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path / "c"), HERE.url],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as writer:
            assert writer.stdout is not None
            for _ in range(3):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        found = copies.read(HERE)
        assert found is not None
        number = int(found.digest.removeprefix("sha256:"))
        assert found.data == b"%d\n" % number * 200_000


def test_readers_see_one_copy_or_the_other_while_writers_write(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "c")
    copies.write(HERE, Copy(b"0" * 50_000, "0"))
    ends = threading.Event()

    def write(mark: bytes) -> None:
        while not ends.is_set():
            copies.write(HERE, Copy(mark * 50_000, mark.decode()))

    writers = [threading.Thread(target=write, args=(mark,)) for mark in (b"1", b"2")]
    for writer in writers:
        writer.start()
    try:
        for _ in range(200):
            found = copies.read(HERE)
            assert found is not None
            assert found.data == found.digest.encode() * 50_000
    finally:
        ends.set()
        for writer in writers:
            writer.join()
