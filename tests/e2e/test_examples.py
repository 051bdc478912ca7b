"""Every example runs as its README says, with the runner image that is at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import Workspace, text

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture
def example(request: pytest.FixtureRequest, repository: Path) -> Iterator[Workspace]:
    """A copy of the example that the test names, under a project name of its own."""
    workspace = Workspace(TEAM_TOKEN="token of the team", TEAM_API_KEY="key of the team")
    view = Containers(workspace.name)
    shutil.rmtree(workspace.directory)
    shutil.copytree(repository / "examples" / request.param, workspace.directory)
    text_of_file = workspace.file.read_text()
    workspace.file.write_text(text_of_file.replace(f"name: {request.param}", f"name: {workspace.name}"))
    yield workspace
    workspace.destroy()
    left = view.leftovers()
    view.remove_all()
    assert not left


@pytest.mark.parametrize("example", ["filesystem-and-secrets"], indirect=True)
async def test_filesystem_and_secrets(example: Workspace) -> None:
    example.up(bound=600)
    example.when_ready(bound=120)

    async with example.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        note = text(await client.call_tool("files__read_text_file", {"path": "/data/note.txt"}))

    assert "files__write_file" not in names
    assert "can read" in note
    assert "token of the team" not in example.run("config").stdout


@pytest.mark.parametrize("example", ["team-profiles"], indirect=True)
async def test_team_profiles(example: Workspace) -> None:
    example.up(bound=600)
    example.when_ready(bound=120)

    async with example.client(path="/profiles/developer/mcp", name="editor") as client:
        developer = {tool.name for tool in (await client.list_tools()).tools}
        assert "42" in text(await client.call_tool("demo__add", {"a": 2, "b": 40}))
    async with example.client(path="/profiles/marketing/mcp", name="assistant") as client:
        marketing = {tool.name for tool in (await client.list_tools()).tools}

    assert {"demo__echo", "demo__add"} <= developer
    assert "demo__get-env" not in developer
    assert "memory__read_graph" in marketing
    assert "memory__create_entities" not in marketing
    assert not any(name.startswith("demo__") for name in marketing)


@pytest.mark.parametrize("example", ["own-image-and-remote"], indirect=True)
async def test_own_image_and_remote(example: Workspace, repository: Path) -> None:
    web = repository / "tests" / "e2e" / "servers" / "web.py"
    with subprocess.Popen([sys.executable, web], env={**os.environ, "PORT": "8931"}) as remote:
        try:
            assert "notes" in example.up(code=6).stderr
            assert "Dockerfile" in example.run("trust").stdout
            example.run("trust", "--all")
            example.up(bound=600)
            example.when_ready(bound=120)

            async with example.client() as client:
                assert "makes 1" in text(await client.call_tool("notes__add_note", {"text": "first"}))
                key = text(await client.call_tool("team__header", {"text": "authorization"}))
            assert key == "Bearer key of the team"
        finally:
            remote.terminate()


@pytest.mark.parametrize("example", ["one-base-many-servers"], indirect=True)
async def test_one_base_many_servers(example: Workspace) -> None:
    example.up(bound=600)
    example.when_ready(bound=120)

    async with example.client() as client:
        readers = {tool.name: tool for tool in (await client.list_tools()).tools}
        page = text(await client.call_tool("docs-read__read_text_file", {"path": "/data/how-we-work.md"}))
    assert "How we work" in page
    assert readers["docs-read__search_files"].title == "Handbook: Search the handbook"
    assert "before reading" in str(readers["docs-read__search_files"].description)
    assert not {"docs-read__write_file", "notes__delete_entities"} & readers.keys()

    said = example.run("config", "--explain", "servers.docs-write.mem_limit").stdout
    assert "base/servers.yaml" in said
    assert "extends `files`" in said
    writers = example.run("tools", "ls", "--profile", "writers").stdout
    assert "docs-write__write_file" in writers
    assert "docs-write__move_file" not in writers


@pytest.mark.parametrize("example", ["health-and-titles"], indirect=True)
async def test_health_and_titles(example: Workspace) -> None:
    example.up(bound=600)
    example.when_ready(bound=120)
    assert "scratch (Scratch space)" in example.run("ps").stdout

    async with example.client() as client:
        await client.call_tool("scratch__write_file", {"path": "/scratch/full", "content": "x"})

    until(lambda: int(example.servers()["scratch"]["restarts"]) >= 1, "it is started again", 60)
    example.when_ready(bound=60)
    assert example.servers()["scratch"]["health"] == "healthy"


@pytest.mark.parametrize("example", ["guarded"], indirect=True)
async def test_guarded(example: Workspace) -> None:
    example.up(bound=600)
    example.when_ready(bound=120)

    async def read(path: str, **more: str) -> str:
        async with example.client() as client:
            found = await client.call_tool("files__read_text_file", {"path": path, **more})
            return str(found.content[0].text)

    assert "Tuesday" in await read("/data/note.txt")
    poisoned = await read("/data/poisoned.txt")
    assert "withheld" in poisoned
    assert "previous instructions" not in poisoned
    assert "not for tools" in await read("/data/../../etc/shadow")
    assert "not for tools" in await read("/home/ann/.ssh/id_rsa")
    assert "no argument" in await read("/data/note.txt", __exec="id")
    told = example.run("audit", "tail").stdout
    assert "injection-scan" in told
    assert "check-arguments" in told
    assert "rules" in told
