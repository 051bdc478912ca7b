from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpcompose.errors import McpComposeError
from mcpcompose.paths import private_folder, project_paths


def test_a_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)

    assert private_folder(tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700
    assert private_folder(tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_a_link_or_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").write_text("")

    for name in ("link", "file"):
        with pytest.raises(McpComposeError, match=r"cannot be made|not a folder"):
            private_folder(tmp_path / name)


def test_another_users_folder_is_refused_and_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)

    with pytest.raises(McpComposeError, match="not a folder of this user"):
        private_folder(tmp_path / "theirs")
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_others_could_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "anyone").mkdir()
    (tmp_path / "anyone").chmod(0o777)

    with pytest.raises(McpComposeError, match="not a folder of this user alone"):
        private_folder(tmp_path / "anyone" / "mine")

    (tmp_path / "anyone").chmod(0o1777)
    assert private_folder(tmp_path / "anyone" / "mine").is_dir()


def test_two_owners_share_no_folder() -> None:
    one, other = (project_paths(owner, {"MCP_COMPOSE_HOME": "/h"}) for owner in ("a", "b"))

    assert {one.runtime, one.state, one.cache}.isdisjoint({other.runtime, other.state, other.cache})
