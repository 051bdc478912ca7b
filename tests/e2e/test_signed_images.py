"""`policy: {images: …}` on a real engine with a real registry: what is not signed is never made."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.cosign import Signer, bundle, payload, put_bundle, put_simple, statement
from harness.registry import Registry, registry
from harness.workspace import Workspace, echo
from mcpcompose.catalog.copies import Supply
from mcpcompose.catalog.distribution import Repository
from mcpcompose.catalog.reference import parse

pytestmark = pytest.mark.docker

_SMALL = """\
FROM {base} AS base
RUN mkdir /out && cp --parents -L /usr/bin/python3 $(ldd /usr/bin/python3 | grep -o '/[^ ]*') /out \\
 && cp -a --parents /usr/lib/python3.11 /out && rm -rf /out/usr/lib/python3.11/test && echo {mark} > /out/mark
FROM scratch
COPY --from=base /out /
"""


def docker(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Images:
    """Images in a registry, and what is signed of them."""

    def __init__(self, running: Registry, folder: Path) -> None:
        self.registry, self.host, self.folder = running, running.host, folder
        self.made: list[str] = []

    def push(self, mark: str) -> str:
        """A small image with Python and *mark* in it, named by its digest; gone from the engine afterwards."""
        tag = f"{self.host}/acme/echo:{mark}"
        docker("build", "-t", tag, "-", given=_SMALL.format(base=BASE_IMAGE, mark=mark))
        said = docker("push", tag)
        digest = next(word for word in said.split() if word.startswith("sha256:"))
        docker("rmi", tag)
        self.made.append(f"{self.host}/acme/echo@{digest}")
        return self.made[-1]

    def sign(self, image: str, signer: Signer, *, newer: bool = False) -> None:
        reference = parse(image)
        supply = Supply({"MCP_COMPOSE_HOME": str(self.folder)}, self.folder)
        repository = Repository(reference, supply.egress, supply.logins)
        digest = str(reference.digest)
        if newer:
            asyncio.run(put_bundle(repository, digest, bundle(signer, statement(digest))))
        else:
            content = payload(reference.name, digest)
            asyncio.run(put_simple(repository, digest, [(content, signer.signature(content))]))

    def remove(self) -> None:
        for image in self.made:
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    folder = tmp_path_factory.mktemp("images")
    with registry(folder / "registry") as running:
        found = Images(running, folder)
        yield found
        found.remove()


@pytest.fixture(scope="module")
def pair(images: Images) -> tuple[str, str]:
    """Two images that nobody has signed yet."""
    return images.push("first"), images.push("second")


def signed(image: str, **keys: Any) -> dict[str, Any]:
    """The echo server on another image than the base image."""
    return {**echo(**keys), "image": image}


POLICY = {"images": {"signed_by": "./acme.pub"}}


def test_an_unsigned_image_is_neither_pulled_nor_made_beside_a_signed_one_and_a_change_to_it_changes_nothing(
    workspace: Workspace, containers: Containers, images: Images, pair: tuple[str, str]
) -> None:
    acme = Signer()
    (workspace.directory / "acme.pub").write_text(acme.pem)
    good, bad = pair
    images.sign(good, acme)
    images.sign(bad, Signer())
    workspace.save({"good": signed(good), "bad": signed(bad)}, policy=POLICY)

    said = workspace.up(code=1)

    assert "is not signed by" in said.stderr
    assert "signed with another key" in said.stderr
    assert containers.all().keys() == {f"{workspace.name}-good-1"}
    assert docker("images", "-q", "--digests", bad) == ""

    before = containers.of("good")["Id"]
    docker("pull", bad)
    workspace.save({"good": signed(bad)}, policy=POLICY)
    assert "signed with another key" in workspace.up(code=1).stderr
    assert containers.of("good")["Id"] == before
    assert containers.of("good")["State"]["Running"]

    images.sign(bad, acme, newer=True)
    workspace.up()
    assert containers.of("good")["Id"] != before


def test_another_key_in_the_policy_replaces_nothing_without_a_person_and_then_refuses(
    workspace: Workspace, containers: Containers, images: Images, pair: tuple[str, str]
) -> None:
    acme, evil = Signer(), Signer()
    (workspace.directory / "acme.pub").write_text(acme.pem)
    images.sign(pair[0], acme)
    workspace.save({"a": signed(pair[0])}, policy=POLICY)
    workspace.up()
    before = containers.of("a")["Id"]

    (workspace.directory / "acme.pub").write_text(evil.pem)
    assert "looser policy" in workspace.up(code=6).stderr
    assert containers.of("a")["Id"] == before

    workspace.run("trust", "--all")
    assert "signed with another key" in workspace.up(code=1).stderr
    assert containers.of("a")["Id"] == before


def test_a_signed_image_starts_again_when_its_registry_is_gone(
    workspace: Workspace, containers: Containers, images: Images, pair: tuple[str, str]
) -> None:
    acme = Signer()
    (workspace.directory / "acme.pub").write_text(acme.pem)
    images.sign(pair[0], acme)
    workspace.save({"a": signed(pair[0])}, policy=POLICY)
    workspace.up()

    images.registry.stop()
    workspace.run("down")
    workspace.up()

    workspace.when_ready("a")
    workspace.save({"a": signed(pair[0]), "b": signed(pair[1])}, policy=POLICY)
    assert "cannot be had" in workspace.up(code=1).stderr
    assert containers.all().keys() == {f"{workspace.name}-a-1"}
