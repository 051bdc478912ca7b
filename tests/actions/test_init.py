"""`init` writes a file to start from, and never over anything that somebody has."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpcompose.actions.init import STARTER, write_starter
from mcpcompose.actions.options import Options
from mcpcompose.errors import UsageError


def options(folder: Path, *files: str) -> Options:
    return Options(directory=folder, home=folder, environ={}, files=files)


@pytest.mark.parametrize("named", [(), ("mcp-compose.yaml",)])
def test_a_link_that_leads_nowhere_yet_is_somebodys_too(tmp_path: Path, named: tuple[str, ...]) -> None:
    link = tmp_path / "mcp-compose.yaml"
    link.symlink_to(tmp_path / "shared.yaml")

    with pytest.raises(UsageError, match="already here"):
        write_starter(options(tmp_path, *named), force=False)

    assert link.is_symlink()


def test_forced_it_writes_to_where_a_link_leads(tmp_path: Path) -> None:
    link, shared = tmp_path / "mcp-compose.yaml", tmp_path / "shared.yaml"
    shared.write_text("servers: {}\n")
    link.symlink_to(shared)

    write_starter(options(tmp_path), force=True)

    assert link.is_symlink()
    assert shared.read_text() == STARTER
