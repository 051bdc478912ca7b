"""Documents and code say the same: commands, exit codes, examples, the README."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [ROOT, *sorted(path.parent for path in (ROOT / "examples").glob("*/mcp-compose.yaml"))]


def commands() -> dict[str, object]:
    import typer

    from mcpcompose.cli.app import application

    found = typer.main.get_command(application())
    return {name: command for name, command in found.commands.items() if not command.hidden}  # type: ignore[attr-defined]


def test_every_command_has_a_heading_in_the_docs() -> None:
    headings = _headings()

    missing = [n for n in commands() if not any(re.search(rf"`(mcp-compose )?{n}\b", line) for line in headings)]

    assert missing == []


def test_every_exit_code_has_a_heading_in_the_docs() -> None:
    from mcpcompose import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.McpComposeError)}
    headings = _headings()

    missing = [code for code in sorted({0, 130} | codes) if not any(re.search(rf"`{code}`", line) for line in headings)]

    assert missing == []


def _headings() -> list[str]:
    """Every heading of every document."""
    files = sorted((ROOT / "docs").rglob("*.md"))
    return [line for file in files for line in file.read_text().splitlines() if line.startswith("#")]


def test_the_root_and_three_examples_are_there_each_with_its_readme() -> None:
    assert len(EXAMPLES) >= 4
    assert [str(folder) for folder in EXAMPLES if not (folder / "README.md").is_file()] == []


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(folder: Path, tmp_path: Path) -> None:
    done = _mcp_compose(folder, tmp_path, "config", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["servers"]


@pytest.mark.docker
@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_plans(folder: Path, tmp_path: Path) -> None:
    done = _mcp_compose(folder, tmp_path, "plan")

    assert done.returncode == 0, done.stderr
    assert "create" in done.stdout


def test_the_readmes_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:`|^\$ )(?:ENGINE=process )?make ([a-z]+)", readme, re.MULTILINE))

    assert {"up", "test"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_dependency_has_its_reason_written_down() -> None:
    import tomllib

    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    text = (ROOT / "docs" / "dependencies.md").read_text()

    assert [name for line in dependencies if (name := re.split(r"[>=<;\[ ]", line)[0]) not in text] == []


def _mcp_compose(folder: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "MCP_COMPOSE_HOME": str(home), "TEAM_TOKEN": "t", "TEAM_API_KEY": "t"}
    return subprocess.run(
        [sys.executable, "-m", "mcpcompose", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
