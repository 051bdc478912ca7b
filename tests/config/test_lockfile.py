"""The lock file: one stable text, and a problem with its place for whatever else it may hold."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.lockfile import lock_text, parse_lock, read_lock, write_lock
from mcpcompose.errors import FileProblems, LockedStateDiffers
from mcpcompose.spec.lockfile import Lock, LockedImage, LockedPackage, locked_server

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
FILE = Path("/srv/mcp-compose.lock")
PACKAGE = LockedPackage(requirement="pypi:x==1", distributions={"x==1": (A, B), "idna==3": (A,)})
WHOLE = Lock(
    catalogs={"acme": A},
    servers={
        "web": locked_server(launch=A, image=LockedImage(ref="r.example:5000/web:1", digest=B), tools={"b": A, "a": B}),
        "db": locked_server(launch=B, package=PACKAGE, instructions=A, prompts={"p": A}, templates={"x://{id}": B}),
    },
)
TEXT = lock_text(WHOLE)


def problem(text: str | bytes) -> Any:
    with pytest.raises(FileProblems) as caught:
        parse_lock(text if isinstance(text, bytes) else text.encode(), FILE)
    return caught.value.problems[0]


def test_what_is_written_reads_as_the_same() -> None:
    assert parse_lock(TEXT.encode(), FILE) == WHOLE


def test_the_order_in_which_things_were_offered_makes_no_difference() -> None:
    again = Lock(catalogs=WHOLE.catalogs, servers=dict(reversed(list(WHOLE.servers.items()))))
    web = WHOLE.servers["web"].model_copy(update={"tools": {"a": B, "b": A}})

    assert lock_text(again.model_copy(update={"servers": {**again.servers, "web": web}})) == TEXT


def test_one_changed_tool_is_a_difference_of_two_lines() -> None:
    """Its own, and the fingerprint of its server."""
    web = WHOLE.servers["web"]
    changed = locked_server(launch=web.launch, image=web.image, tools={"a": A, "b": A})

    after = lock_text(WHOLE.model_copy(update={"servers": {**WHOLE.servers, "web": changed}}))

    assert sum(one != two for one, two in zip(TEXT.splitlines(), after.splitlines(), strict=True)) == 2


def test_nothing_invisible_gets_into_the_file() -> None:
    text = lock_text(Lock(servers={"a": locked_server(launch=A, tools={"\u202eevil\u200b": A})}))

    assert text.isascii()


@pytest.mark.parametrize(
    ("spoilt", "message", "line"),
    [
        ("", "the lock file ends in the middle", 1),
        (TEXT[: len(TEXT) // 2].rstrip(), "the lock file", None),
        (TEXT.replace('"servers": {', '"servers": {\n<<<<<<< ours', 1), "has an unfinished merge", 8),
        (TEXT.replace('"version": 1', '"version": 2'), "version `2`", 1),
        (TEXT.replace('"version": 1,', ""), "version `None`", 1),
        (TEXT.replace('"tools"', '"tolls"'), "unknown key `servers.web.tolls`", None),
        (TEXT.replace('"version": 1', '"version": 1, "is_strict": false'), "unknown key `is_strict`", 1),
        (TEXT.replace(A, "sha256:abc", 1), "is wrong", None),
        (TEXT.replace('"version": 1', '"version": 1, "version": 1'), "`version` twice", 1),
        ("[" * 100_000, "not JSON", None),
        ("[]", "is not an object", 1),
        (b"\xff\xfe\x00", "is not UTF-8", 1),
    ],
)
def test_a_spoilt_file_is_a_problem_with_its_place(spoilt: str | bytes, message: str, line: int | None) -> None:
    found = problem(spoilt)

    assert message in found.message
    assert found.position.file == FILE
    assert line is None or found.position.line == line


def test_an_entry_that_was_changed_by_hand_is_noticed_at_its_line() -> None:
    data = json.loads(TEXT)
    data["servers"]["web"]["tools"]["a"] = A
    text = json.dumps(data, indent=2)

    found = problem(text)

    assert "`web` was changed by hand" in found.message
    assert '"fingerprint"' in text.splitlines()[found.position.line - 1]
    assert data["servers"]["web"]["fingerprint"] in text.splitlines()[found.position.line - 1]


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3))
def test_whatever_happens_to_a_file_it_is_the_same_lock_or_a_problem(at: int, other: bytes) -> None:
    content = TEXT.encode()[:at] + other + TEXT.encode()[at + len(other) :]

    try:
        found: Lock | FileProblems = parse_lock(content, FILE)
    except FileProblems as error:
        found = error

    if isinstance(found, FileProblems):
        assert all(one.position is not None for one in found.problems)
    else:
        assert list(found.wrong()) == []


def test_a_file_is_replaced_with_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "mcp-compose.lock"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)

    write_lock(link, WHOLE)

    assert link.is_symlink()
    assert (read_lock(link), stat.S_IMODE(real.stat().st_mode)) == (WHOLE, 0o640)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mcp-compose.lock", "real"]


def test_a_pipe_in_its_place_is_a_problem_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mcp-compose.lock")

    with pytest.raises(FileProblems, match="not a regular file"):
        read_lock(tmp_path / "mcp-compose.lock")


# --- with a project -------------------------------------------------------------------------------------------------


def loaded(folder: Path, **keys: Any) -> Loaded:
    (folder / "mcp-compose.yaml").write_text("servers: {web: {image: 'r.example:5000/web:1'}}\n")
    return load(Request(files=(), directory=folder, environ={}, home=folder / "home", **keys))


def test_a_lock_beside_the_file_is_read_and_watched(tmp_path: Path) -> None:
    assert loaded(tmp_path).project.lock is None
    (tmp_path / "mcp-compose.lock").write_text(TEXT)

    found = loaded(tmp_path)

    assert found.project.lock == WHOLE
    assert tmp_path / "mcp-compose.lock" in found.files
    assert "lock" not in found.printable()


def test_a_lock_that_is_not_there_yet_is_watched_too(tmp_path: Path) -> None:
    assert tmp_path / "mcp-compose.lock" in loaded(tmp_path).files


def test_a_broken_lock_is_told_with_the_problems_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mcp-compose.lock").write_text(TEXT[:100])

    with pytest.raises(FileProblems) as caught:
        loaded(tmp_path)

    assert [one.position.file.name for one in caught.value.problems if one.position] == ["mcp-compose.lock"]
    assert tmp_path / "mcp-compose.lock" in caught.value.files


def test_locked_without_a_lock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockedStateDiffers, match=r"there is no `mcp-compose\.lock`"):
        loaded(tmp_path, locked=True)


def test_the_catalogs_that_servers_come_from_are_known_by_the_digest_of_what_was_read(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    text = "catalog: 1\nservers: {web: {server: {image: 'web:1'}}}\n"
    catalog.write_text(text)
    file = "catalogs: {acme: ./catalog.yaml, other: ./nowhere.yaml}\nservers: {web: {from: acme/web}}\n"
    (tmp_path / "mcp-compose.yaml").write_text(file)
    environ = {"MCP_COMPOSE_HOME": str(tmp_path / "state")}

    found = load(Request(files=(), directory=tmp_path, environ=environ, home=tmp_path))

    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert dict(found.project.provenance.catalog_digests) == {"acme": digest}


SHA512 = "sha512-" + "A" * 86 + "=="


def with_package(**parts: Any) -> str:
    """A lock whose fingerprints fit, as somebody makes it who knows how."""
    data = json.loads(TEXT)
    data["servers"]["db"]["package"] = {"requirement": "pypi:x==1", **parts}
    return json.dumps(data)


@pytest.mark.parametrize(
    "name",
    [
        "x==1\n--index-url https://evil.example/simple",
        "--extra-index-url=https://evil.example",
        "x @ https://evil.example/x.whl",
        "-r /etc/passwd",
        "x==1 --config-settings=a=b",
        "../x==1",
    ],
)
def test_a_distribution_that_would_be_an_option_or_a_url_for_the_installer_is_refused(name: str) -> None:
    assert "name==version" in problem(with_package(distributions={name: [A]})).message


def test_a_distribution_without_a_hash_is_refused() -> None:
    assert "name==version" in problem(with_package(distributions={"x==1": []})).message


@pytest.mark.parametrize(
    ("place", "module", "said"),
    [
        ("../../.ssh", {"version": "1.0.0", "integrity": SHA512}, "no place"),
        ("node_modules/../../x", {"version": "1.0.0", "integrity": SHA512}, "no place"),
        ("/etc/x", {"version": "1.0.0", "integrity": SHA512}, "no place"),
        ("node_modules/x", {"version": "1.0.0"}, "SHA-512"),
        ("node_modules/x", {"version": "1.0.0", "integrity": "sha1-AAAA"}, "SHA-512"),
        ("node_modules/x", {"version": "1.0.0", "integrity": SHA512, "resolved": "https://evil.example"}, "unknown"),
        ("node_modules/x", {"version": "1.0.0", "integrity": SHA512, "link": True}, "unknown"),
        ("node_modules/x", {"version": "git+https://evil.example/x", "integrity": SHA512}, "version"),
    ],
)
def test_a_module_that_npm_would_fetch_or_write_somewhere_else_is_refused(
    place: str, module: dict[str, Any], said: str
) -> None:
    assert said in problem(with_package(modules={place: module})).message


def test_a_module_with_a_hash_is_fine() -> None:
    module = {"version": "1.0.0-rc.1+x", "integrity": SHA512, "dependencies": {"y": "^1"}}
    places = {"node_modules/@a/b/node_modules/c": module, "node_modules/x": {"version": "1.0.0", "inBundle": True}}

    lock = parse_lock(with_package(modules=places).encode(), FILE)

    assert lock.servers["db"].package is not None
    assert set(lock.servers["db"].package.modules) == set(places)
