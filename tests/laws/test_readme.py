"""What the README shows is true: its example file loads, and its commands and options exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.config.load import Request, load

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]


def test_the_example_file_loads_with_the_files_it_names(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    project = tmp_path / "project"
    for folder in ("data", "browser"):
        (project / folder).mkdir(parents=True)
    (project / "browser" / "Dockerfile").write_text("FROM scratch\n")
    (project / "mcp-compose.yaml").write_text(block)

    loaded = load(Request(files=(), directory=project, environ={}, home=tmp_path))

    assert loaded.project.name == "product-team"
    assert list(loaded.project.servers) == ["time", "files", "github", "docs", "browser", "own"]
    assert set(loaded.project.profiles) == {"default", "developer"}


def test_the_example_of_a_wrong_file_is_what_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcpcompose.cli.main import main

    (shown,) = re.findall(r"^\$ mcp-compose config\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    lines = ["name: one", "servers:", "  time:", "    package: pypi:mcp-server-time", "    enviroment: {A: b}", ""]
    (tmp_path / "mcp-compose.yaml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCP_COMPOSE_HOME", str(tmp_path / "home"))

    assert main(["config"]) == 2
    assert capsys.readouterr().err.split()[: len(shown.split())] == shown.split()


def test_every_command_of_the_table_exists() -> None:
    table = README.partition("## The commands")[2].partition("\n`--help`")[0]
    cells = re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    assert len(named) >= 20
    assert [problem for line in named for problem in unknown(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(page: Path) -> None:
    written = re.findall(r"(?:^\$ |`)(?:\.venv/bin/)?mcp-compose ([^`\n]+)", page.read_text(), re.MULTILINE)

    assert [problem for line in written for problem in unknown(line)] == []


def unknown(line: str) -> Iterator[str]:
    """What of a command line as people write it does not exist: the command, or an option."""
    import typer

    from mcpcompose.cli.app import application

    command: Any = typer.main.get_command(application())
    options = known_options(command)
    for word in words_of(line):
        if word.startswith("-"):
            if word.partition("=")[0] not in options:
                yield f"`{line}`: no option `{word}`"
        elif subcommands := getattr(command, "commands", None):
            if word in subcommands:
                command = subcommands[word]
                options |= known_options(command)
            elif word.isupper() or not word.isalpha():
                continue  # the value of a global option, or a place to fill in
            else:
                yield f"`{line}`: no command `{word}`"
                return


def words_of(line: str) -> list[str]:
    """Without the comment, the brackets of what is optional, and what follows `|`, `&&` or `--`."""
    text = re.split(r"\s\||&&|\s--\s|\s>|;", line.replace("…", "").replace("...", ""))[0]
    return [word for word in shlex.split(re.sub(r"[\[\]]", " ", text), comments=True) if word != "-"]


def known_options(command: Any) -> set[str]:
    return {"--help"} | {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
