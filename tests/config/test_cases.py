"""Every file in `cases/`; `UPDATE_CASES=1` writes what loading does now below the lines (read it before committing)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import case as cases

from mcpcompose.cli.main import main
from mcpcompose.config.document import parse
from mcpcompose.config.load import Request, load
from mcpcompose.config.schema import json_schema
from mcpcompose.spec.project import Provenance

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
BAD = cases.bad()
GOOD = [name for name in cases.names() if name not in BAD]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder whose name, the default project name, is always the same."""
    folder = tmp_path / "Project.1"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", cases.names())
def test_a_case_loads_as_written_below_its_line(name: str, project: Path) -> None:
    case = cases.read(name)
    case.write(project)

    found = cases.outcome(case.request(project), project)

    if os.environ.get("UPDATE_CASES"):
        path = cases.CASES / f"{name}.case"
        above = path.read_bytes().decode().partition(f"{cases.LINE}\n")[0]
        path.write_text(f"{above}{cases.LINE}\n{found}", newline="")
        return
    assert found == case.expected


def test_there_are_enough_bad_files() -> None:
    assert len(BAD) >= 100


@pytest.mark.parametrize("name", BAD)
def test_the_command_line_shows_the_problems_of_a_bad_file_and_exits_2(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = cases.read(name)
    case.write(project)
    monkeypatch.chdir(project)
    for key in (key for key in os.environ if key.startswith("MCP_COMPOSE_")):
        monkeypatch.delenv(key)
    own = {"HOME": str(project / "home"), "MCP_COMPOSE_HOME": str(project / "state")}
    for key, value in {**case.request(project).environ, **own}.items():
        monkeypatch.setenv(key, value)

    code = main([*case.options(), "config"])

    said = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in said
    assert "should not have happened" not in said
    if not case.expected.startswith("usage: "):
        places = [line.partition(" ")[0] for line in case.expected.splitlines() if not line.startswith(" ")]
        assert [place for place in places if place not in said] == []


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_accepts_what_the_loader_accepts(name: str, project: Path) -> None:
    case = cases.read(name)
    for file, text in case.files.items():
        if file.endswith((".yaml", ".yml")):
            tree, problems = parse(project / file, text.encode())
            assert not problems
            assert tree is not None
            error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(cases.plain(tree)))
            assert error is None, error


SELF_CONTAINED = [name for name in GOOD if "env_file" not in "".join(cases.read(name).files.values())]
"""Values of an `env_file` are not in what is printed."""


@pytest.mark.parametrize("name", SELF_CONTAINED)
def test_what_is_printed_loads_to_the_same_project(name: str, project: Path) -> None:
    case = cases.read(name)
    case.write(project)
    request = case.request(project)
    first = load(request)
    again = project / "printed.yaml"
    again.write_text(cases.printed(first).removeprefix("ok\n"))

    second = load(
        Request(
            files=(again,), directory=project, environ=dict(first.variables), home=request.home, engine=request.engine
        )
    )

    as_read = {"provenance": Provenance()}
    assert second.project.model_copy(update=as_read) == first.project.model_copy(update=as_read)
