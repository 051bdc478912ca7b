from __future__ import annotations

import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpcompose.secrets.base import StoreUnusable
from mcpcompose.secrets.encrypted_file import EncryptedFile
from mcpcompose.secrets.places import KeyringPlaces, keyring_places

VALUE = b"planted-value-of-this-test"


def places(base: Path, **environ: str) -> KeyringPlaces:
    return keyring_places({"MCP_COMPOSE_HOME": str(base / "h"), **environ}, base)


def with_passphrase(base: Path, passphrase: str = "correct horse") -> KeyringPlaces:
    file = base / "passphrase"
    file.write_text(passphrase + "\n")
    file.chmod(0o600)
    return places(base, MCP_COMPOSE_KEYRING_PASSPHRASE_FILE=str(file))


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(StoreUnusable) as caught:
        act()
    assert VALUE.decode() not in f"{caught.value} {caught.value.hint}"
    return caught.value.message.partition("cannot be used: ")[2]


def test_what_was_kept_is_there_for_the_next_process_and_what_was_removed_is_not(tmp_path: Path) -> None:
    first = EncryptedFile(places(tmp_path))
    values = {"text": VALUE, "bytes": bytes(range(256)), "newline": b"v\n", "large": os.urandom(1 << 20)}

    for name, value in values.items():
        first.set(name, value)
    assert first.remove("text")
    assert not first.remove("text")

    second = EncryptedFile(places(tmp_path))
    assert {name: second.get(name) for name in values} == {**values, "text": None}


def test_a_file_system_without_hard_links_keeps_values_too_and_no_second_copy_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_paths: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    where = places(tmp_path)

    EncryptedFile(where).set("a", VALUE)

    assert EncryptedFile(where).get("a") == VALUE
    assert [path.name for path in where.key.parent.iterdir()] == [where.key.name]


def test_neither_values_nor_names_can_be_read_in_the_file_and_only_its_user_may_open_it(tmp_path: Path) -> None:
    where = places(tmp_path)

    EncryptedFile(where).set("name-of-it", VALUE)

    content = where.sealed.read_bytes()
    assert all(form not in content for form in (VALUE, b"name-of-it", VALUE.hex().encode(), b"cGxhbnRlZC12YWx1"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (where.sealed, where.key, where.lock)} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in where.folders} == {0o700}
    assert where.key.parent != where.sealed.parent
    assert where.key.read_bytes() not in content


def test_two_saves_of_one_value_have_nothing_in_common(tmp_path: Path) -> None:
    where = places(tmp_path)
    texts = []
    for _ in range(2):
        EncryptedFile(where).set("a", VALUE)
        texts.append(json.loads(where.sealed.read_text()))

    assert texts[0]["nonce"] != texts[1]["nonce"]
    assert texts[0]["sealed"] != texts[1]["sealed"]


def test_another_key_and_a_changed_byte_are_told_apart_and_nothing_is_started_over(tmp_path: Path) -> None:
    where = places(tmp_path)
    file = EncryptedFile(where)
    file.set("a", VALUE)
    before, key = where.sealed.read_bytes(), where.key.read_bytes()

    where.key.write_bytes(os.urandom(32))
    assert reason(lambda: file.get("a")) == f"it was sealed with another key than `{where.key}`"
    where.key.write_bytes(key[:31])
    assert "is damaged" in reason(lambda: file.get("a"))
    where.key.unlink()
    assert reason(lambda: file.get("a")) == f"its key `{where.key}` is gone"
    assert "is gone" in reason(lambda: file.set("b", VALUE))
    where.key.write_bytes(key)
    where.key.chmod(0o600)

    changed = json.loads(before)
    for field in ("sealed", "nonce"):
        text = changed[field]
        where.sealed.write_text(json.dumps({**changed, field: ("A" if text[0] != "A" else "B") + text[1:]}))
        assert reason(lambda: file.set("b", VALUE)) == "it was changed, or sealed with another key"
    for content in (b"", b"{", b"[]", before[: len(before) // 2], b"\xff" * 100, b"[" * 100_000):
        where.sealed.write_bytes(content)
        assert reason(lambda: file.set("b", VALUE)) == "it is damaged"
        assert where.sealed.read_bytes() == content
    where.sealed.write_bytes(before.replace(b'"version": 1', b'"version": 2'))
    assert reason(lambda: file.get("a")) == "it was written by a newer `mcp-compose`"
    where.sealed.write_bytes(before)
    assert file.get("a") == VALUE


def test_the_header_is_sealed_along_and_its_cost_is_bounded(tmp_path: Path) -> None:
    where = with_passphrase(tmp_path)
    file = EncryptedFile(where)
    file.set("a", VALUE)
    document = json.loads(where.sealed.read_text())

    for key, value in (("n", 1 << 14), ("n", 1 << 30), ("p", 100), ("r", 0), ("salt", "%%"), ("n", "x")):
        where.sealed.write_text(json.dumps({**document, "key": {**document["key"], key: value}}))
        assert reason(lambda: file.get("a")) in {
            "its header makes no sense", "it was changed, or sealed with another key", "it is damaged",
        }  # fmt: skip


def test_a_passphrase_opens_it_without_a_key_on_the_disk_and_another_one_does_not(tmp_path: Path) -> None:
    where = with_passphrase(tmp_path)
    EncryptedFile(where).set("a", VALUE)

    assert EncryptedFile(with_passphrase(tmp_path)).get("a") == VALUE
    assert not where.key.exists()
    assert "another key" in reason(lambda: EncryptedFile(with_passphrase(tmp_path, "another")).get("a"))
    assert reason(lambda: EncryptedFile(places(tmp_path)).get("a")) == "it is sealed with a passphrase"
    assert "is empty" in reason(lambda: EncryptedFile(with_passphrase(tmp_path, "")).get("a"))
    (tmp_path / "passphrase").unlink()
    gone = places(tmp_path, MCP_COMPOSE_KEYRING_PASSPHRASE_FILE=str(tmp_path / "passphrase"))
    assert "no such file" in reason(lambda: EncryptedFile(gone).get("a"))


def test_a_passphrase_that_is_set_for_a_file_with_a_key_is_an_error(tmp_path: Path) -> None:
    EncryptedFile(places(tmp_path)).set("a", VALUE)

    assert "is set, and it is sealed with" in reason(lambda: EncryptedFile(with_passphrase(tmp_path)).set("a", VALUE))
    assert EncryptedFile(places(tmp_path)).get("a") == VALUE


def test_links_pipes_and_what_others_can_read_are_refused(tmp_path: Path) -> None:
    where = places(tmp_path)
    file = EncryptedFile(where)
    file.set("a", VALUE)

    for path in (where.sealed, where.key):
        path.chmod(0o644)
        assert f"chmod 600 {path}" in reason(lambda: file.get("a"))
        path.chmod(0o600)
        aside = path.rename(tmp_path / "aside")
        path.symlink_to(aside)
        assert "symbolic link" in reason(lambda: file.get("a"))
        path.unlink()
        os.mkfifo(path, 0o600)
        assert "not a regular file" in reason(lambda: file.get("a"))
        path.unlink()
        aside.rename(path)
    where.lock.unlink()
    where.lock.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in reason(lambda: file.set("b", VALUE))
    assert not (tmp_path / "elsewhere").exists()


def _writes(base: Path, number: int) -> None:
    file = EncryptedFile(places(base))
    for turn in range(5):
        file.set(f"n{number}-{turn}", VALUE)


def test_many_writers_at_once_lose_nothing_from_the_first_save_on(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writes, args=(tmp_path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0] * 4
    file = EncryptedFile(places(tmp_path))
    assert {file.get(f"n{number}-{turn}") for number in range(4) for turn in range(5)} == {VALUE}
    assert {path.name for path in places(tmp_path).data.iterdir()} == {"keyring.json", "keyring.lock"}


def test_a_save_that_is_killed_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = places(tmp_path)
    file = EncryptedFile(where)
    file.set("a", VALUE)

    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        file.set("a", b"other")
    monkeypatch.undo()

    assert file.get("a") == VALUE
    assert sorted(path.name for path in where.data.iterdir()) == ["keyring.json", "keyring.lock"]


def test_a_writer_that_stands_still_is_an_error_and_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    where = places(tmp_path)
    file = EncryptedFile(where)
    file.set("a", VALUE)
    monkeypatch.setattr("mcpcompose.secrets.encrypted_file._PATIENCE", 0.2)

    with where.lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another process" in reason(lambda: file.set("a", b"other"))
        assert file.get("a") == VALUE


def test_the_places_follow_the_environment_and_never_a_relative_path(tmp_path: Path) -> None:
    home = Path("/home/me")

    plain = keyring_places({}, home)
    named = keyring_places({"XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "relative"}, home)

    assert (plain.sealed, plain.key) == (
        Path("/home/me/.local/share/mcp-compose/keyring/keyring.json"),
        Path("/home/me/.local/state/mcp-compose/keyring/keyring.key"),
    )
    assert (named.data, named.state) == (
        Path("/d/mcp-compose/keyring"), Path("/home/me/.local/state/mcp-compose/keyring"),
    )  # fmt: skip
    assert keyring_places({"MCP_COMPOSE_KEYRING_PASSPHRASE_FILE": "~/p"}, home).passphrase == Path("/home/me/p")
