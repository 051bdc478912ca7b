"""`catalog pull` and `catalog push`, as a person runs them, with a real registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.registry import Registry, private_registry
from mcpcompose.catalog.distribution import digest_of

pytestmark = pytest.mark.docker  # what brings the engine brings the registry

CATALOG = """\
catalog: 1
servers:
  echo: {server: {image: "acme/echo:1"}}
"""
DOCKER = """\
version: 2
name: docker-mcp
displayName: Docker
registry:
  time: {description: Time, title: Time, type: server, image: "mcp/time@sha256:%s"}
""" % ("a" * 64)


class Person:
    """Somebody at a command line, with a home and a project."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", folder / "project"
        self.project.mkdir(parents=True)
        self.home.mkdir()

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {
            "HOME": str(self.home), "MCP_COMPOSE_HOME": str(self.home / "state"), "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "mcpcompose", *arguments],
            cwd=self.project, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def save(self, name: str, text: str) -> None:
        (self.project / name).write_text(text)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Registry]:
    with private_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def owner(tmp_path: Path, running: Registry) -> Person:
    person = Person(tmp_path / "owner")
    running.login(person.home / ".docker")
    return person


def test_one_person_pushes_and_another_pulls_and_uses_it(owner: Person, running: Registry, tmp_path: Path) -> None:
    user = Person(tmp_path / "user")
    reference = f"{running.host}/team/catalog:1"
    owner.save("acme.yaml", CATALOG)
    pushed = owner.run("catalog", "push", "acme.yaml", reference).stdout.strip()
    assert pushed.startswith(f"{reference}@sha256:")
    user.save("mcp-compose.yaml", f"catalogs: {{acme: {{oci: '{reference}'}}}}\nservers: {{a: {{from: acme/echo}}}}\n")

    refused = user.run("catalog", "pull", code=1).stderr
    assert "wants other credentials" in refused
    assert "there is no copy of it" in refused
    assert "wants other credentials" in user.run("config", code=2).stderr

    running.login(user.home / ".docker")
    pulled = json.loads(user.run("catalog", "pull", "--format", "json").stdout)["catalogs"]
    assert [(one["name"], one["state"], one["digest"]) for one in pulled] == [
        ("acme", "fetched", pushed.partition("@")[2])
    ]
    assert "acme/echo:1" in user.run("config").stdout
    assert "unchanged" in user.run("catalog", "pull").stdout


def test_a_registry_that_is_gone_or_lies_leaves_the_last_good_copy(owner: Person, running: Registry) -> None:
    reference = f"{running.host}/team/catalog:1"
    owner.save("acme.yaml", CATALOG)
    owner.save("mcp-compose.yaml", f"catalogs: {{acme: {{oci: '{reference}'}}}}\nservers: {{a: {{from: acme/echo}}}}\n")
    owner.run("catalog", "push", "acme.yaml", reference)
    owner.run("catalog", "pull")
    newer = CATALOG + "  more: {server: {image: x}}\n"
    owner.save("acme.yaml", newer)
    owner.run("catalog", "push", "acme.yaml", reference)
    running.blob_file(digest_of(newer.encode())).write_bytes(CATALOG.encode().replace(b"acme", b"evil"))

    said = owner.run("catalog", "pull", code=1).stderr
    assert "its last good copy stays in use" in said
    assert "acme/echo:1" in owner.run("config").stdout

    running.stop()
    said = owner.run("catalog", "pull", code=1).stderr
    assert "cannot be reached" in said
    assert "acme/echo:1" in owner.run("config").stdout


def test_what_is_no_catalog_is_neither_pushed_nor_kept(owner: Person, running: Registry) -> None:
    reference = f"{running.host}/team/bad:1"
    owner.save("bad.yaml", "servers: {}\n")
    assert "this is no catalog" in owner.run("catalog", "push", "bad.yaml", reference, code=1).stderr
    assert "does not exist" in owner.run("catalog", "push", "gone.yaml", reference, code=2).stderr


def test_dockers_catalogs_are_pushed_as_what_docker_pushes(owner: Person, running: Registry) -> None:
    reference = f"{running.host}/team/docker:1"
    owner.save("docker.yaml", DOCKER)
    owner.run("catalog", "push", "docker.yaml", reference)
    owner.save("mcp-compose.yaml", f"catalogs: {{d: {{oci: '{reference}'}}}}\nservers: {{a: {{from: d/time}}}}\n")
    owner.run("catalog", "pull", "d")

    assert "mcp/time@sha256:" in owner.run("config").stdout
    (manifest,) = [
        file for file in (running.folder / "docker/registry/v2/blobs").rglob("data")
        if b"application/vnd.docker.mcp.catalog.v1+json" in file.read_bytes()
    ]  # fmt: skip
    assert json.loads(manifest.read_bytes())["artifactType"] == "application/vnd.docker.mcp.catalog.v1+json"


def test_a_catalog_that_is_not_declared_is_a_mistake_of_usage(owner: Person) -> None:
    owner.save("mcp-compose.yaml", "catalogs: {a: ./x.yaml}\nservers: {}\n")

    assert "there is no catalog `b`" in owner.run("catalog", "pull", "b", code=2).stderr
