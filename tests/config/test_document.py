"""What bytes become: a tree with positions, or problems; quickly, whatever the bytes are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mcpcompose.config.document import parse, read, resolve
from mcpcompose.config.load import Request, load
from mcpcompose.config.tree import Map, key_position, value_position
from mcpcompose.errors import FileProblems

FILE = Path("/project/mcp-compose.yaml")


def only_problem(content: bytes) -> tuple[str, int, int]:
    _tree, (problem,) = parse(FILE, content)
    assert problem.position is not None
    return problem.message, problem.position.line, problem.position.column


def test_every_key_and_value_knows_its_line_and_column() -> None:
    tree, problems = parse(FILE, b"servers:\n  a:\n    image: x\n    command: [one, two]\n")

    assert problems == ()
    assert str(key_position(tree, ("servers", "a", "image"))) == f"{FILE}:3:5"
    assert str(value_position(tree, ("servers", "a", "image"))) == f"{FILE}:3:12"
    assert str(value_position(tree, ("servers", "a", "command", 1))) == f"{FILE}:4:20"


def test_columns_count_characters_not_bytes() -> None:
    tree, _ = parse(FILE, "title: {ä: 'ö', key: value}\n".encode())

    assert str(value_position(tree, ("title", "key"))) == f"{FILE}:1:22"


def test_bad_utf_8_is_a_problem_with_its_place() -> None:
    assert only_problem(b"servers:\n  a: \xff\xfe\n") == ("the file is not UTF-8", 2, 6)


def test_utf_16_is_a_problem() -> None:
    assert only_problem("servers: {}\n".encode("utf-16")) == ("the file is not UTF-8", 1, 1)


def test_a_nul_byte_is_a_problem_with_its_place() -> None:
    assert only_problem(b"a: b\nc: \x00\n") == ("the control character U+0000 is not allowed in YAML", 2, 4)


def test_a_byte_order_mark_and_windows_lines_do_not_move_positions() -> None:
    tree, problems = parse(FILE, b"\xef\xbb\xbfa: b\r\nc: d\r\n")

    assert problems == ()
    assert str(value_position(tree, ("a",))) == f"{FILE}:1:4"
    assert str(value_position(tree, ("c",))) == f"{FILE}:2:4"


def test_a_file_of_ten_megabytes_is_refused_before_parsing(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_bytes(b"a: b\n" * (10 << 20 >> 2))
    started = time.perf_counter()

    with pytest.raises(FileProblems) as caught:
        read(file)

    assert str(caught.value) == f"{file}:1:1 the file is larger than 1 MiB"
    assert time.perf_counter() - started < 5


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FileProblems, match="not a regular file"):
        read(tmp_path / "pipe")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match="not a regular file"):
        read(tmp_path)


def test_an_endless_device_is_refused() -> None:
    with pytest.raises(FileProblems, match="not a regular file"):
        read(Path("/dev/zero"))


HOSTILE = {
    "a megabyte of brackets": b"[" * (1 << 20),
    "a megabyte of braces": b"{" * (1 << 20),
    "a megabyte of dashes": b"- " * (1 << 19),
    "a megabyte of question marks": b"? " * (1 << 19),
    "a megabyte of one key": b"a" * (1 << 20),
    "a megabyte of items": b"- a\n" * (1 << 18),
    "a megabyte of one long indentation": b" " * (1 << 20),
    "many anchors": b"".join(b"- &a%d x\n" % n for n in range(80_000)),
    "deep indentation": b"".join(b" " * n + b"a:\n" for n in range(1000)),
    "a billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"k%d: &k%d [%s]\n" % (n, n, b",".join([b"*k%d" % (n - 1) if n else b"*a"] * 10)) for n in range(20)),
    "quadratic aliases": b"a: &a [" + b"x," * 5000 + b"]\nb:\n" + b"- *a\n" * 5000,
    "merge keys in a row": b"- &a {k: v}\n" + b"- &a {<<: *a, x: *a}\n" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_ends_quickly_and_in_problems_with_places(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_bytes(HOSTILE[name][: 1 << 20])
    started = time.perf_counter()

    with pytest.raises(FileProblems) as caught:
        load(Request(files=(file,), directory=tmp_path, environ={}, home=tmp_path))

    assert time.perf_counter() - started < 10
    for problem in caught.value.problems:
        assert problem.position is not None
        assert problem.position.file == file
        assert len(problem.message) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("No", "No"), ("~", None), ("null", None),
        ("0o17", 15), ("017", 17), ("0x1F", 31), ("1_000", "1_000"), ("12:30", "12:30"), ("1.5", 1.5), ("1e3", 1000.0),
        (".5", 0.5), ("-.inf", float("-inf")), ("+1", 1), ("2026-01-02", "2026-01-02"), ("0b1", "0b1"), (".", "."),
        ("-", "-"), ("1.2.3", "1.2.3"), ("9" * 200, "9" * 200),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_an_alias_shares_content_and_has_its_own_place() -> None:
    tree, problems = parse(FILE, b"a: &x {k: v}\nb: *x\n")

    assert problems == ()
    assert isinstance(tree, Map)
    assert str(value_position(tree, ("b",))) == f"{FILE}:2:4"
    assert str(value_position(tree, ("b", "k"))) == f"{FILE}:1:11"
