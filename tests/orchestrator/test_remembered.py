"""The launch identities of last time, between one start and the next."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

from mcpcompose.orchestrator.remembered import Remembered


def test_an_identity_is_known_again_while_the_server_is_written_as_before(tmp_path: Path) -> None:
    file = tmp_path / "launches.json"
    Remembered(file).keep({"a": "as written", "b": "as written"}, {"a": "image 1", "b": "image 2"})

    assert Remembered(file).of({"a": "as written", "b": "changed", "c": "new"}) == {"a": "image 1"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_read_or_written_is_as_good_as_nothing(tmp_path: Path) -> None:
    spoilt = tmp_path / "launches.json"
    for content in (b"", b"[]", b'{"a": 1}', b'{"a": ["w", 1]}', b'{"a": ["w"]}', b"\xff"):
        spoilt.write_bytes(content)
        assert Remembered(spoilt).of({"a": "w"}) == {}

    for nowhere in (None, tmp_path / "no folder" / "launches.json"):
        Remembered(nowhere).keep({"a": "w"}, {"a": "k"})
        assert Remembered(nowhere).of({"a": "w"}) == {}


def test_a_disk_that_is_full_leaves_what_was_remembered_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "launches.json"
    Remembered(file).keep({"a": "w"}, {"a": "k"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        Remembered(file).keep({"a": "w", "b": "w"}, {"a": "k", "b": "k"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)

    assert list(tmp_path.iterdir()) == [file]
    assert Remembered(file).of({"a": "w"}) == {"a": "k"}
