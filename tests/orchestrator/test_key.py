"""Keys of one project: the same in every process, one for each purpose."""

from __future__ import annotations

from pathlib import Path

from mcpcompose.orchestrator.key import digest_key, sealing_key
from mcpcompose.paths import ProjectPaths


def test_what_clients_hold_is_sealed_with_the_same_key_in_every_process_and_with_no_other(tmp_path: Path) -> None:
    paths = ProjectPaths(state=tmp_path / "state", cache=tmp_path / "cache", runtime=tmp_path / "run")

    assert sealing_key(paths) == sealing_key(paths)
    assert len(sealing_key(paths)) == 32
    assert sealing_key(paths) != digest_key(paths)
