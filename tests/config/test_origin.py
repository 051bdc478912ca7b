"""Where `config --explain` says that a value came from, for every way there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.origin import Origin

FILE = """\
include: [part.yaml, {path: far/more.yaml, env_file: far.env}]
servers:
  base:
    image: "a/base:${TAG}"
    cpus: 2
    environment: {A: "1"}
  more:
    extends: base
    environment: {B: "${B:-x}", C: , S: "${secret:s}"}
    env_file: own.env
    volumes: ["./x:/data"]
  afar:
    extends: {server: ground, file: far/ground.yaml}
secrets: {s: {environment: S}}
"""
OTHERS = {
    "part.yaml": "servers: {part: {image: x}}\n",
    "far/more.yaml": 'include: [deep.yaml]\nservers: {two: {image: "x:${TWO}"}}\n',
    "far/deep.yaml": "servers: {deep: {image: x}}\n",
    "far/ground.yaml": "servers:\n  ground:\n    image: g\n    extends: {server: under, file: under.yaml}\n",
    "far/under.yaml": "servers:\n  under:\n    image: u\n    read_only: false\n",
    "far.env": "TWO=planted-2\n",
    "own.env": "D=planted-d\n",
    ".env": "TAG=planted-tag\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Loaded:
    folder = tmp_path / "shop"
    for name, text in {"mcp-compose.yaml": FILE, **OTHERS}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load(Request(files=(), directory=folder, environ={"C": "planted-c"}, home=tmp_path))


def place(project: Loaded, origin: Origin) -> str:
    assert "planted" not in str(origin)
    assert "planted" not in repr(origin)
    return str(origin).removeprefix(f"{project.project.directory}/")


# By key: the kind, the place or the word for none, and what the notes hold.
WAYS = {
    "servers.base.cpus": ("file", "mcp-compose.yaml:5:5", ()),
    "servers.more.volumes.0.target": ("file", "mcp-compose.yaml:11:15", ()),
    "servers.part.image": ("include", "part.yaml:1:18", ("included at", "mcp-compose.yaml:1:11")),
    "servers.deep.image": ("include", "far/deep.yaml:1:18", ("far/more.yaml:1:11", "mcp-compose.yaml:1:29")),
    "servers.more.cpus": ("extends", "mcp-compose.yaml:5:5", ("server `more` extends `base`",)),
    "servers.more.environment.A": ("extends", "mcp-compose.yaml:6:19", ("server `more` extends `base`",)),
    "servers.more.environment.B": ("file", "mcp-compose.yaml:9:19", ("`B` is not set", "what the text says")),
    "servers.afar.image": ("extends", "far/ground.yaml:3:5", ("extends `ground`",)),
    "servers.afar.read_only": ("extends", "far/under.yaml:4:5", ("extends `under`",)),
    "servers.base.image": ("file", "mcp-compose.yaml:4:5", ("`TAG` is from", "/.env`")),
    "servers.two.image": ("include", "far/more.yaml:2:17", ("`TWO` is from", "/far.env`")),
    "servers.more.environment.C": ("file", "mcp-compose.yaml:9:33", ("`C` is a variable of the environment",)),
    "servers.more.environment.D": ("env_file", "mcp-compose.yaml:10:5", ("/own.env`",)),
    "servers.more.environment.S": ("file", "mcp-compose.yaml:9:38", ("the secret `s` stays a reference",)),
    "servers.more.restart": ("default", "default", ()),
    "servers.more.network": ("hardened default", "hardened default", ("no network",)),
    "servers.more.cap_add": ("hardened default", "hardened default", ("all capabilities dropped",)),
    "gateway.listen": ("default", "default", ()),
    "name": ("the folder `shop`", "the folder `shop`", ()),
    "engine": ("default", "default", ()),
}


@pytest.mark.parametrize("key", WAYS)
def test_a_value_says_where_it_came_from(key: str, project: Loaded) -> None:
    kind, where, notes = WAYS[key]

    found = project.origin(key)

    assert (found.kind, place(project, found)) == (kind, where)
    told = "\n".join(found.notes)
    assert [note for note in notes if note not in told] == []
    assert bool(found.notes) is bool(notes)


def test_a_value_that_relaxes_a_hardened_default_says_which_also_when_it_is_inherited(project: Loaded) -> None:
    assert project.origin("servers.afar.read_only").relaxed == "a read-only root"
    assert project.origin("servers.more.cpus").relaxed == "at most 1 CPU"
    assert project.origin("servers.part.read_only").relaxed is None


@pytest.mark.parametrize(
    ("engine", "environ", "origin"),
    [
        ("docker", {}, "option --engine"),
        (None, {"MCP_COMPOSE_ENGINE": "docker"}, "environment variable MCP_COMPOSE_ENGINE"),
    ],
)
def test_what_an_option_or_a_variable_of_ours_decides_says_so(
    engine: str | None, environ: dict[str, str], origin: str, tmp_path: Path
) -> None:
    (tmp_path / "mcp-compose.yaml").write_text("name: said\nengine: process\nservers: {a: {image: x}}\n")
    request = Request(files=(), directory=tmp_path, environ=environ, home=tmp_path, engine=engine, project_name="other")

    found = load(request)

    assert str(found.origin("engine")) == origin
    assert str(found.origin("name")) == "option --project-name"


def test_a_name_that_the_file_says_is_from_the_file_however_it_was_passed_on(tmp_path: Path) -> None:
    (tmp_path / "mcp-compose.yaml").write_text("name: said\nservers: {}\n")

    found = load(Request(files=(), directory=tmp_path, environ={}, home=tmp_path, project_name="said"))

    assert found.origin("name").kind == "file"


def test_keys_of_lists_that_stand_for_mappings_are_found(tmp_path: Path) -> None:
    text = "servers:\n  a: {image: x, environment: [A=1, B=2], build: !reset null}\n"
    (tmp_path / "mcp-compose.yaml").write_text(text)

    found = load(Request(files=(), directory=tmp_path, environ={}, home=tmp_path))

    assert str(found.origin("servers.a.environment.B")).endswith(":2:36")
