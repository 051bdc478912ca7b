"""What loading promises beyond single files: where it looks, what it keeps out of sight, where values came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpcompose.config.chosen import normalised
from mcpcompose.config.load import Loaded, Request, find_file, load
from mcpcompose.errors import FileProblems, UsageError
from mcpcompose.spec.template import expand_variables


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)


def loaded(directory: Path, text: str, **environ: str) -> Loaded:
    (directory / "mcp-compose.yaml").write_text(text)
    return load(Request(files=(), directory=directory, environ=environ, home=directory / "home"))


def test_the_file_is_found_in_a_folder_above(tmp_path: Path) -> None:
    (tmp_path / "mcp-compose.yml").write_text("servers: {}\n")
    (tmp_path / "a" / "b").mkdir(parents=True)

    assert find_file(tmp_path / "a" / "b") == tmp_path / "mcp-compose.yml"


def test_without_a_file_the_error_names_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_file(tmp_path)

    assert "`mcp-compose init`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("My Project", "myproject"),
        ("_x", "x"),
        ("Ünï", "n"),
        ("日本", "default"),
        ("a" * 99, "a" * 63),
        ("a.b-c_d", "ab-c_d"),
    ],
)
def test_the_default_name_is_the_directorys_normalised(directory: str, name: str) -> None:
    assert normalised(directory) == name


def test_values_of_an_env_file_are_in_the_variables_only(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("TOKEN=planted-value\nPRICE='5$ and $${X}'\n")
    found = loaded(tmp_path, "servers:\n  a: {image: x, env_file: a.env, environment: {MINE: y}}\n")

    shown = repr(found) + found.project.canonical() + str(found.printable()) + str(found.variables)
    assert "planted-value" not in shown
    environment = found.project.servers["a"].environment
    values = {key: expand_variables(text or "", found.variables) for key, text in environment.items()}
    assert values == {"TOKEN": "planted-value", "PRICE": "5$ and $${X}", "MINE": "y"}


def test_the_process_environment_is_not_in_any_representation(tmp_path: Path) -> None:
    text = "servers:\n  a: {image: x, environment: {A: '${SECRET}', SECRET: }, args_: 1}\n"
    found = loaded(tmp_path, text.replace(", args_: 1", ""), SECRET="planted-value")

    assert "planted-value" not in repr(found) + found.project.canonical() + str(found.printable())
    assert found.variables["SECRET"] == "planted-value"


def test_everything_that_was_read_or_looked_for_is_listed_for_watching(tmp_path: Path) -> None:
    write(tmp_path, part_yaml="servers: {b: {image: y, env_file: [b.env]}}\n", b_env="A=1\n")
    found = loaded(tmp_path, "include: [part.yaml]\nservers: {a: {image: x}}\n")

    names = {file.relative_to(tmp_path).as_posix() for file in found.files}
    assert names == {"mcp-compose.yaml", "part.yaml", ".env", "b.env", "mcp-compose.lock"}


def test_a_file_with_problems_still_lists_what_to_watch(tmp_path: Path) -> None:
    with pytest.raises(FileProblems) as caught:
        loaded(tmp_path, "include: [gone.yaml]\nservers: {a: {imge: x}}\n")

    assert tmp_path / "gone.yaml" in caught.value.files


def test_an_unchanged_file_gives_an_equal_project_with_an_equal_hash(tmp_path: Path) -> None:
    text = "servers: {a: {image: x, tools: {allow: [b]}}}\nprofiles: {default: {servers: [a]}}\n"

    first, second = loaded(tmp_path, text).project, loaded(tmp_path, text).project

    assert first == second
    assert hash(first) == hash(second)


def test_the_environment_wins_over_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=dotenv\nB=dotenv\nC=${A} and ${B}\n")
    found = loaded(tmp_path, "servers: {a: {image: '${A}-${B}', instructions: '${C}'}}\n", A="environment")

    assert found.project.servers["a"].image == "environment-dotenv"
    assert found.project.servers["a"].instructions == "environment and dotenv"


def test_where_a_value_came_from(tmp_path: Path) -> None:
    text = "servers:\n  a:\n    image: x\n    read_only: false\n    cpus: 1\n    transport: {http: {port: 80}}\n"
    found = loaded(tmp_path, text)

    relaxed = found.origin("servers.a.read_only")
    assert str(relaxed) == f"{tmp_path}/mcp-compose.yaml:4:5"
    assert relaxed.relaxed == "a read-only root"
    assert found.origin("servers.a.cpus").relaxed is None
    assert str(found.origin("servers.a.mem_limit")) == "hardened default"
    assert found.origin("servers.a.mem_limit").value == 1 << 30
    assert found.origin("servers.a.transport.http.port").value == 80
    with pytest.raises(UsageError) as caught:
        found.origin("servers.a.read_olny")
    assert caught.value.hint == "did you mean `servers.a.read_only`?"


def test_a_value_from_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("servers:\n  b:\n    image: y\n")
    found = loaded(tmp_path, "include: [part.yaml]\nservers: {a: {image: x}}\n")

    assert str(found.origin("servers.b.image")) == f"{tmp_path}/part.yaml:3:5"


def test_a_name_with_dots_can_be_asked_for(tmp_path: Path) -> None:
    found = loaded(tmp_path, "servers: {a: {image: x}}\nsecrets: {my.key: {environment: X}}\n")

    assert found.origin("secrets.my.key.0.environment").value == "X"
