"""Whatever the files hold, loading ends with a project, `FileProblems` or `UsageError`, and never shows a value."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import case as cases

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.variables import reserved_name
from mcpcompose.errors import FileProblems, UsageError

GOOD = [cases.read(name).files["mcp-compose.yaml"] for name in cases.names() if name.startswith("good")]
BITS = [
    "servers:", "  a:", "    image: x", "[", "]", "{", "}", "&a", "*a", "<<: ", "!reset", "!override", "!!int", "${", "}",  # noqa: E501  a table
    "${secret:x}", "${A:-${B}}", "$$", "$", "\t", "\n", " ", "- ", ": ", "? ", "|", ">", "---", "...", "#", "'", '"', "null",  # noqa: E501  a table
    "true", "1e999", ".inf", ".nan", "-1", "999999999999999999999", "0x", "\u0000", "\ufeff", "\u2028", "\x85", "é", "😀",  # noqa: E501  a table
    "secrets", "volumes", "environment", "transport", "http", "include", "include: [mcp-compose.yaml]", "depends_on", "x-y",  # noqa: E501  a table
]  # fmt: skip
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def attempt(directory: Path, content: bytes, *, engine: str | None = None) -> Loaded | None:
    (directory / "mcp-compose.yaml").write_bytes(content)
    request = Request(
        files=(directory / "mcp-compose.yaml",), directory=directory, environ={"A": "1"}, home=directory, engine=engine
    )
    try:
        return load(request)
    except FileProblems as error:
        assert error.problems  # noqa: PT017  both outcomes are fine, this one with a rule
        assert all(problem.position and problem.message for problem in error.problems)  # noqa: PT017  both outcomes are fine, this one with a rule
        return None
    except UsageError:
        return None


@FEW
@given(st.binary(max_size=400))
def test_random_bytes_never_raise_anything_else(tmp_path: Path, content: bytes) -> None:
    attempt(tmp_path, content)


@FEW
@given(st.lists(st.sampled_from(BITS), max_size=40).map("".join))
def test_random_pieces_of_yaml_never_raise_anything_else(tmp_path: Path, text: str) -> None:
    attempt(tmp_path, text.encode("utf-8", "surrogatepass"))


@settings(FEW, max_examples=400)
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(BITS)), min_size=1, max_size=6),
    st.sampled_from([None, "process"]),
)
def test_random_mutations_of_good_files_never_raise_anything_else(
    tmp_path: Path, text: str, edits: list[tuple[float, int, str]], engine: str | None
) -> None:
    for place, removed, added in edits:
        at = int(place * len(text))
        text = text[:at] + added + text[at + removed :]
    attempt(tmp_path, text.encode("utf-8", "surrogatepass"), engine=engine)


EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(BITS)), max_size=3)


@settings(FEW, max_examples=200)
@given(st.sampled_from(GOOD), st.sampled_from(GOOD), EDITS)
def test_merging_any_two_files_never_raises_anything_else(
    tmp_path: Path, base: str, over: str, edits: list[tuple[float, int, str]]
) -> None:
    for place, removed, added in edits:
        at = int(place * len(over))
        over = over[:at] + added + over[at + removed :]
    files = (tmp_path / "base.yaml", tmp_path / "over.yaml")
    for file, text in zip(files, (base, over), strict=True):
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(Request(files=files, directory=tmp_path, environ={"A": "1"}, home=tmp_path))
    except FileProblems as error:
        assert error.problems  # noqa: PT017  both outcomes are fine, this one with a rule


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(BITS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@settings(FEW, max_examples=400)
@given(st.data())
def test_any_value_at_any_key_never_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    import json

    from mcpcompose.config.shape import key_paths

    path = data.draw(st.sampled_from(sorted(set(key_paths()))))
    value = data.draw(VALUES)
    for key in reversed(path):
        name = "a" if key == "*" else key
        value = [value] if key == "*" and data.draw(st.booleans()) else {name: value}
    if data.draw(st.booleans()) and isinstance(value, dict) and isinstance(value.get("servers"), dict):
        server = value["servers"].get("a")
        if isinstance(server, dict):
            server.setdefault("image", "x")
    attempt(tmp_path, json.dumps(value).encode("utf-8", "surrogatepass"))


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True), st.from_regex(r"[A-Z_.-]{1,6}", fullmatch=True)
        ),
        min_size=2,
        max_size=30,
        unique=True,
    )
)
def test_two_pairs_of_server_and_key_never_share_a_reserved_variable(pairs: list[tuple[str, str]]) -> None:
    names = {reserved_name(server, key) for server, key in pairs}

    assert len(names) == len(pairs)


def test_problems_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [f"  s{n}: {{imge: x}}" for n in range(20)]
    random.Random(1).shuffle(lines)
    (tmp_path / "mcp-compose.yaml").write_text("servers:\n" + "\n".join(lines) + "\n")
    try:
        load(Request(files=(), directory=tmp_path, environ={}, home=tmp_path))
    except FileProblems as error:
        found = [problem.position.line for problem in error.problems if problem.position]
        assert found == list(range(2, 22))
    else:
        raise AssertionError
