"""Servers from catalogs, from the file to a call: Docker's format with every field, ours, and an MCP registry."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

import docker
import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.docker_catalog import EVERY_FIELD
from harness.mcp_registry import McpRegistry, serving
from harness.wait import until
from harness.workspace import PROGRAMS, Workspace, text

pytestmark = pytest.mark.docker

IMAGE = "mcp-compose-test/catalog-echo:1"
SECRET = "planted-catalog-token"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """An image that runs the echo server whatever arguments it gets, as images of catalogs do."""
    files = {
        "Dockerfile": f'FROM {BASE_IMAGE}\nCOPY echo.py /echo.py\nENTRYPOINT ["python3", "-u", "/echo.py"]\n',
        "echo.py": (PROGRAMS / "echo.py").read_text(),
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    context.seek(0)
    client = docker.from_env(timeout=120)
    client.images.build(fileobj=context, custom_context=True, tag=IMAGE, rm=True)
    yield IMAGE
    client.images.remove(IMAGE, force=True)
    client.close()


async def test_a_server_with_every_field_of_dockers_format_is_loaded_planned_and_run(
    workspace: Workspace, containers: Containers, image: str
) -> None:
    folders = [workspace.directory / name for name in ("one", "two", "logs")]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    (workspace.directory / "docker-mcp.yaml").write_text(EVERY_FIELD.replace("IMAGE", image))
    workspace.environ["THE_TOKEN"] = SECRET
    config = {
        "jira": {"url": "https://jira.example"}, "host": "db", "port": 5432, "user": "me", "user_id": "1000:1000",
        "paths": [str(folders[0]), str(folders[1])], "logs": str(folders[2]),
    }  # fmt: skip
    workspace.save(
        {"a": {"from": "docker/everything", "config": config}},
        catalogs={"docker": {"file": "./docker-mcp.yaml"}},
        secrets={"everything.api_token": {"environment": "THE_TOKEN"}},
    )

    shown = json.loads(workspace.run("config", "--format", "json").stdout)
    planned = workspace.run("plan").stdout
    workspace.up()
    workspace.when_ready()

    assert shown["servers"]["a"]["image"] == image
    assert "create" in planned
    async with workspace.client() as client:

        async def ask(tool: str, value: str) -> str:
            return text(await client.call_tool(f"every__{tool}", {"text": value}))

        assert await ask("env", "API_TOKEN") == SECRET
        assert await ask("env", "HEADERS") == f'{{"Authorization": "Bearer {SECRET}", "plain": "true"}}'
        assert await ask("env", "MIXED") == "http://db:5432/"
        assert await ask("env", "WITH_DEFAULT") == "eu"
        words = (await ask("read", "/proc/self/cmdline")).split("\0")
        assert words[3:-1] == ["--transport=stdio", "--user=me", "--empty=", *map(str, folders[:2])]
        assert [await ask("read", f"{folder}/file") for folder in folders[:2]] == ["one", "two"]
        assert await ask("read", "/logs/file") == "logs"
        assert "192.168.1.100\tmyapp.local" in await ask("read", "/etc/hosts")
        assert "Uid:\t1000\t" in await ask("read", "/proc/self/status")
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"every__echo", "every__env"}
    container = containers.of("a")
    assert container["HostConfig"]["NetworkMode"] == "none"
    assert {mount["Destination"]: mount["RW"] for mount in container["Mounts"] if mount["Destination"] != "/cache"} == {
        str(folders[0]): True, str(folders[1]): True, "/logs": False,
    }  # fmt: skip


async def test_a_changed_entry_takes_effect_and_a_broken_catalog_changes_nothing(
    workspace: Workspace, containers: Containers, image: str
) -> None:
    catalog = workspace.directory / "catalog.yaml"
    written = f"catalog: 1\nservers:\n  x: {{server: {{image: '{image}', environment: {{VERSION: '1'}}}}}}\n"
    catalog.write_text(written)
    workspace.save({"a": {"from": "own/x"}}, catalogs={"own": "./catalog.yaml"})
    workspace.up()
    workspace.when_ready()
    before = containers.traces()

    catalog.write_text("catalog: 1\nservers: [")
    broken = workspace.up(code=2)
    assert "catalog.yaml:" in broken.stderr
    assert containers.traces() == before

    catalog.write_text(written.replace("'1'", "'2'"))  # the running gateway sees it by itself
    until(lambda: containers.traces() != before, "the server is replaced")
    workspace.when_ready()
    async with workspace.client() as client:
        assert text(await client.call_tool("a__env", {"text": "VERSION"})) == "2"


async def test_a_server_of_an_mcp_registry_runs_once_it_is_approved(
    workspace: Workspace, containers: Containers, image: str
) -> None:
    package = {
        "registryType": "oci", "identifier": image, "transport": {"type": "stdio"},
        "environmentVariables": [{"name": "WHERE", "isRequired": True}],
    }  # fmt: skip
    server = {"name": "io.github.acme/echo", "description": "Echo", "version": "1.2.3", "packages": [package]}
    with serving(McpRegistry([server])) as registry:
        workspace.save(
            {"a": {"from": "public/io.github.acme/echo@1.2.3", "config": {"WHERE": "here"}}},
            catalogs={"public": {"registry": registry.url}},
        )
        refused = workspace.up(code=6)
        workspace.run("trust", "--all")
    workspace.up()  # the registry is gone: the last good copy is used
    workspace.when_ready()

    assert "network" in refused.stderr
    async with workspace.client() as client:
        assert text(await client.call_tool("a__env", {"text": "WHERE"})) == "here"


def test_a_catalog_that_cannot_be_had_starts_nothing(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"a": {"from": "gone/x"}}, catalogs={"gone": {"url": "http://127.0.0.1:1/catalog.yaml"}})

    done = workspace.up(code=2)

    assert "catalog `gone`" in done.stderr
    assert "cannot be reached" in done.stderr
    assert containers.all() == {}
