"""`mcp-compose.lock` on a real engine with a real registry: everyone gets what was locked, or is told what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.machine import another_engine
from harness.registry import registry
from harness.wait import until
from harness.workspace import Workspace, program

pytestmark = pytest.mark.docker

_SMALL = """\
FROM {base} AS base
RUN mkdir /out && cp --parents -L /usr/bin/python3 $(ldd /usr/bin/python3 | grep -o '/[^ ]*') /out \\
 && cp -a --parents /usr/lib/python3.11 /out && rm -rf /out/usr/lib/python3.11/test
RUN echo {mark} > /out/mark
FROM scratch
COPY --from=base /out /
"""


@dataclass
class Moving:
    """A tag in a registry that is given to one image after the other; no two tests have an image in common."""

    reference: str
    made: list[str] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)

    def give_to(self, mark: str) -> str:
        """Push a small image with Python in it under the tag, and forget it here. Returns its digest."""
        run("build", "-t", self.reference, "-", given=_SMALL.format(base=BASE_IMAGE, mark=f"{mark}-{uuid.uuid4()}"))
        image = run("inspect", "--format", "{{.Id}}", self.reference).strip()
        said = run("push", self.reference)
        digest = next(word for word in said.split() if word.startswith("sha256:"))
        self.made.append(f"{self.reference.rpartition(':')[0]}@{digest}")
        self.images[digest] = image
        run("rmi", self.reference)
        assert not is_here(image)
        return digest

    def lose(self, digest: str) -> None:
        """Remove an image from the registry with all it is made of, as a clean-up there does, and from this engine."""
        host, _, name = self.reference.rpartition(":")[0].partition("/")
        there = f"http://{host}/v2/{name}"
        kinds = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        manifest = httpx2.get(f"{there}/manifests/{digest}", headers=kinds).json()
        blobs = [one["digest"] for one in (manifest["config"], *manifest["layers"])]
        for one in (f"manifests/{digest}", *(f"blobs/{blob}" for blob in blobs)):
            answer = httpx2.delete(f"{there}/{one}")
            assert answer.status_code == 202, answer.text
        run("rmi", "-f", self.images[digest])
        assert not is_here(self.images[digest])

    def clean(self) -> None:
        """Remove from this engine whatever name the images have by now."""
        for image in self.images.values():
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


def is_here(image: str) -> bool:
    """Whether this engine has an image."""
    return subprocess.run(["docker", "inspect", image], capture_output=True, check=False).returncode == 0


def run(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    with registry(tmp_path / "registry") as running:
        found = Moving(f"{running.host}/acme/server:1")
        yield found
        found.clean()


OFFERS: dict[str, Any] = {
    "tools": [
        {"name": "search", "description": "Searches the archive", "inputSchema": {"type": "object"}},
        {"name": "count", "description": "Counts", "inputSchema": {"type": "object", "properties": {"a": {}}}},
    ],
    "prompts": [{"name": "greet", "description": "Greets"}],
    "templates": [{"uriTemplate": "doc://{id}", "name": "doc"}],
    "instructions": "Use search first.",
}


def offers(workspace: Workspace, **changed: Any) -> None:
    """What the drifting server offers from now on."""
    folder = workspace.directory / "offers"
    folder.mkdir(exist_ok=True)
    (folder / "new.json").write_text(json.dumps({**OFFERS, **changed}))
    (folder / "new.json").rename(folder / "offers.json")


def drifting(**keys: Any) -> dict[str, Any]:
    return program("drifting.py", volumes=["./offers:/offers:ro"], **keys)


def one_character() -> list[dict[str, Any]]:
    """The tools with one character of one description changed."""
    search, count = OFFERS["tools"]
    return [{**search, "description": "Searches the archive."}, count]


def image_of(view: Containers | docker.DockerClient, container: dict[str, Any]) -> str:
    client = view.client if isinstance(view, Containers) else view
    (digest,) = client.api.inspect_image(container["Image"])["RepoDigests"]
    return str(digest)


async def listed(workspace: Workspace) -> bytes:
    """The raw answer to `tools/list`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {
        "authorization": f"Bearer {workspace.token()}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/list",
    }
    async with httpx2.AsyncClient() as http:
        return (await http.post(workspace.endpoint(), json=body, headers=headers)).content


def tools(workspace: Workspace) -> list[str]:
    return [tool["name"] for tool in json.loads(workspace.run("tools", "ls", "--format", "json").stdout)]


async def test_two_machines_with_one_commit_run_the_same_images_and_list_the_same_tools_byte_for_byte(
    moving: Moving, workspace: Workspace, containers: Containers
) -> None:
    digest = moving.give_to("first")
    offers(workspace)
    workspace.save({"a": {**drifting(), "image": moving.reference}})
    workspace.run("lock")
    moving.give_to("second")
    run("rmi", "-f", moving.made[0])
    with another_engine() as host:
        other = Workspace(workspace.name, DOCKER_HOST=host)
        try:
            shutil.rmtree(other.directory)
            shutil.copytree(workspace.directory, other.directory)
            for machine in (workspace, other):
                machine.up("--locked")

            theirs = docker.DockerClient(host)
            found = theirs.api.inspect_container(f"{workspace.name}-a-1")
            images = image_of(containers, containers.of("a")), image_of(theirs, found)
            lists = await listed(workspace), await listed(other)
            theirs.close()
        finally:
            other.destroy()

    assert images == (moving.made[0], moving.made[0])
    assert moving.made[0].endswith(digest)
    assert lists[0] == lists[1]
    assert b"Searches the archive" in lists[0]


def test_an_image_that_changed_behind_its_tag_does_not_run_and_is_named_with_the_command_that_accepts_it(
    moving: Moving, workspace: Workspace, containers: Containers
) -> None:
    first = moving.give_to("first")
    offers(workspace)
    workspace.save({"a": {**drifting(), "image": moving.reference}, "b": drifting()})
    workspace.run("lock")
    second = moving.give_to("second")

    workspace.up("--locked")
    assert image_of(containers, containers.of("a")).endswith(first)
    assert workspace.run("lock", "--check").stdout == "everything is as locked\n"
    live = workspace.run("lock", "--check", "--live", code=5)
    assert f"~ image: {moving.reference} {first[:19]} -> {moving.reference} {second[:19]}" in live.stdout
    assert "`mcp-compose lock --accept a`" in live.stderr

    workspace.run("down")
    moving.lose(first)
    failed = workspace.up("--locked", code=1)
    assert "server `a` does not serve: the locked image cannot be had" in failed.stderr
    assert "`mcp-compose lock --accept a`" in failed.stderr
    assert workspace.servers()["b"]["state"] == "ready"

    accepted = workspace.run("lock", "--accept", "a")
    assert f"-> {moving.reference} {second[:19]}" in accepted.stdout
    workspace.when_ready()
    assert image_of(containers, containers.of("a")).endswith(second)
    workspace.up("--locked")


def test_one_character_of_a_description_withholds_that_tool_and_says_so_everywhere(
    workspace: Workspace, containers: Containers
) -> None:
    offers(workspace)
    shutil.copytree(workspace.directory / "offers", workspace.directory / "offers-b")
    workspace.save({"a": drifting(), "b": program("drifting.py", volumes=["./offers-b:/offers:ro"])})
    workspace.run("lock")
    workspace.up()
    before = containers.traces()

    offers(workspace, tools=one_character())
    until(lambda: "a__search" not in tools(workspace), "the tool is withheld")

    command = "mcp-compose lock --accept a"
    assert tools(workspace) == ["a__count", "b__search", "b__count"]
    assert "tool `search` (changed)" in workspace.run("tools", "ls").stderr
    shown = workspace.run("ps")
    assert f"withheld: tool `search` (changed); accept with `{command}`" in shown.stdout
    assert workspace.servers()["a"]["withheld"] == [{"kind": "tool", "name": "search", "why": "changed"}]
    assert workspace.servers()["b"]["withheld"] == []
    until(lambda: "withheld, as the lock does not hold it: tool `search` (changed)" in workspace.log(), "it is logged")
    assert "unknown tool `a__search`" in workspace.run("tools", "call", "a__search", code=1).stderr
    assert "tools/call" not in workspace.run("logs", "a").stdout

    refused = workspace.up("--locked", code=5)
    assert "tool `search` (changed)" in refused.stderr
    assert command in refused.stderr
    assert tools(workspace) == ["b__search", "b__count"]

    accepted = workspace.run("lock", "--accept", "a/search")
    assert "~ tool `search`: changed" in accepted.stdout
    assert tools(workspace) == ["a__search", "a__count", "b__search", "b__count"]
    workspace.up("--locked")
    assert containers.traces() == before


def test_a_lock_that_is_half_written_or_gone_leaves_what_is_served_as_it_was(
    workspace: Workspace, containers: Containers
) -> None:
    offers(workspace)
    workspace.save({"a": drifting()})
    workspace.run("lock")
    workspace.up()
    file = workspace.directory / "mcp-compose.lock"
    whole = file.read_text()

    for spoilt, said in ((whole[: len(whole) // 2], "mcp-compose.lock:"), ("", "ends in the middle")):
        file.write_text(spoilt)
        until(lambda said=said: said in json.dumps(workspace.status()["problem"]), "the problem is told")  # type: ignore[misc]
        assert tools(workspace) == ["a__search", "a__count"]
    file.unlink()
    until(lambda: bool(workspace.status()["unapproved"]), "its loss waits for approval")
    offers(workspace, tools=one_character())
    until(lambda: tools(workspace) == ["a__count"], "what is held goes on being withheld")

    file.write_text(whole)
    until(lambda: workspace.status()["problem"] is None, "it is as before")


def test_lock_leaves_nothing_running_and_writes_nothing_when_it_fails(
    workspace: Workspace, containers: Containers
) -> None:
    offers(workspace)
    workspace.save({"a": {**drifting(), "command": ["python3", "-c", "import sys; sys.exit(3)"]}})

    done = workspace.run("lock", code=1)

    assert "server `a` could not be looked at" in done.stderr
    assert not (workspace.directory / "mcp-compose.lock").exists()
    assert containers.all() == {}
    assert workspace.gateways() == []


def test_a_new_server_is_withheld_until_it_is_locked_and_the_others_stay_as_they_are(
    workspace: Workspace, containers: Containers
) -> None:
    offers(workspace)
    workspace.save({"a": drifting()})
    workspace.run("lock")
    workspace.up()
    offers(workspace, tools=one_character())

    workspace.save({"a": drifting(), "b": drifting()})
    until(lambda: workspace.servers().get("b", {}).get("state") == "ready", "the new one runs")
    assert tools(workspace) == ["a__count"]
    assert "`b` is not in the lock" in workspace.up("--locked", code=5).stderr
    done = workspace.run("lock", code=5)

    assert "~ tool `search`: changed" in done.stdout
    assert "`mcp-compose lock --accept a`" in done.stderr
    assert tools(workspace) == ["a__count", "b__search", "b__count"]
