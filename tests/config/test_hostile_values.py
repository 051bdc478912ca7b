"""Files that are small on disk and large, or telling, once their references are replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.errors import FileProblems


def loaded(folder: Path, text: str, *, env: str = "", environ: dict[str, str] | None = None) -> Loaded:
    (folder / "mcp-compose.yaml").write_text(text)
    (folder / ".env").write_text(env)
    return load(Request(files=(), directory=folder, environ=environ or {}, home=folder))


def test_variables_that_double_and_double_are_a_problem_at_once(tmp_path: Path) -> None:
    bomb = "A0=xxxxxxxxxx\n" + "".join(f"A{i}=${{A{i - 1}}}${{A{i - 1}}}\n" for i in range(1, 60))

    with pytest.raises(FileProblems, match="too long"):
        loaded(tmp_path, "servers: {a: {image: x}}\n", env=bomb)


def test_many_references_to_a_long_value_are_a_problem(tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match="too long"):
        loaded(tmp_path, f"servers: {{a: {{image: x, user: '{'$B' * 10000}'}}}}\n", env=f"B={'x' * 60000}\n")


def test_values_in_the_list_form_of_a_mapping_are_printed_as_references(tmp_path: Path) -> None:
    text = "servers: {a: {build: {context: ., args: ['A=$S']}, labels: ['k=$S'], extra_hosts: ['h=$S']}}\n"

    found = loaded(tmp_path, text, environ={"S": "value-of-s"})

    for defaults in (True, False):
        assert "value-of-s" not in json.dumps(found.printable(defaults=defaults))


@pytest.mark.parametrize("limit", ["mem_limit: 0", "mem_limit: 1k", "cpus: 1e-12"])
def test_a_limit_that_an_engine_takes_for_none_is_a_problem(tmp_path: Path, limit: str) -> None:
    with pytest.raises(FileProblems, match="must be at least"):
        loaded(tmp_path, f"servers: {{a: {{image: x, {limit}}}}}\n")
