"""Servers and clients that nobody here wrote: five servers in containers, the SDK's client, the inspector."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client

from harness.containers import Containers
from harness.workspace import COMMAND, Workspace, text

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.timeout(900)]

RUNNERS = {"pypi": "${MCP_COMPOSE_PYPI_RUNNER}", "npm": "${MCP_COMPOSE_NPM_RUNNER}"}
SERVERS: dict[str, dict[str, Any]] = {
    "time": {"package": "pypi:mcp-server-time==2026.10.19"},
    "git": {
        "package": "pypi:mcp-server-git==2026.10.19",
        "args": ["--repository", "/repo"],
        "volumes": ["./repo:/repo:ro"],
        "environment": {"GIT_CONFIG_COUNT": 1, "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "/repo"},
    },
    "everything": {"package": "npm:@modelcontextprotocol/server-everything@2026.8.31"},
    "files": {
        "package": "npm:@modelcontextprotocol/server-filesystem@2026.8.31",
        "args": ["/data"],
        "volumes": ["./data:/data:ro"],
    },
    "memory": {
        "package": "npm:@modelcontextprotocol/server-memory@2026.8.31",
        "environment": {"MEMORY_FILE_PATH": "/memory/memory.jsonl"},
        "volumes": ["memory:/memory"],
    },
}


@pytest.fixture(scope="module")
def five() -> Iterator[Workspace]:
    """The five servers, up; their images are built once per engine."""
    workspace = Workspace()
    view = Containers(workspace.name)
    try:
        (workspace.directory / "data").mkdir()
        (workspace.directory / "data" / "note.txt").write_text("written on the host")
        repository = workspace.directory / "repo"
        author = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)
        commit = ["commit", "-q", "--allow-empty", "-m", "first words"]
        subprocess.run(["git", "-C", repository, *author, *commit], check=True)
        workspace.save(SERVERS, runners=RUNNERS)
        workspace.up(bound=800)
        workspace.when_ready(bound=240)
        yield workspace
    finally:
        workspace.destroy()
        left = view.leftovers()
        view.remove_all()
    assert not left


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
async def test_the_sdks_client_uses_all_five_servers_in_every_era(five: Workspace, mode: str) -> None:
    async with five.client(mode) as client:
        await use_all_five(client, mode)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdks_client_uses_all_five_servers_over_stdio(five: Workspace, mode: str) -> None:
    async with Client(five.stdio(), mode=mode) as client:
        await use_all_five(client, f"stdio-{mode}")


async def use_all_five(client: Client, mark: str) -> None:
    names = {tool.name for tool in (await client.list_tools()).tools}
    assert {name.partition("__")[0] for name in names} == set(SERVERS)

    now = await client.call_tool("time__get_current_time", {"timezone": "Asia/Tokyo"})
    log = await client.call_tool("git__git_log", {"repo_path": "/repo"})
    total = await client.call_tool("everything__get-sum", {"a": 2, "b": 40})
    note = await client.call_tool("files__read_text_file", {"path": "/data/note.txt"})
    entity = {"name": f"from-{mark}", "entityType": "test", "observations": ["seen"]}
    await client.call_tool("memory__create_entities", {"entities": [entity]})
    graph = await client.call_tool("memory__read_graph", {})

    assert "Asia/Tokyo" in text(now)
    assert "first words" in text(log)
    assert "42" in text(total)
    assert text(note) == "written on the host"
    assert f"from-{mark}" in text(graph)


async def test_prompts_and_resources_of_the_everything_server_come_through(five: Workspace) -> None:
    async with five.client() as client:
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        resources = (await client.list_resources()).resources
        prompt = await client.get_prompt(next(name for name in sorted(prompts) if "simple" in name))
        content = await client.read_resource(resources[0].uri)

    assert prompt.messages
    assert content.contents
    assert all(name.startswith("everything__") for name in prompts)


async def test_one_servers_own_endpoint_does_not_rename(five: Workspace) -> None:
    async with five.client(path="/servers/time/mcp") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"get_current_time", "convert_time"}


def test_the_inspector_lists_and_calls_over_http(five: Workspace) -> None:
    header = f"Authorization: Bearer {five.token()}"
    target = [five.endpoint(), "--transport", "http", "--header", header]

    listed = inspector(five, *target, "--method", "tools/list")
    called = inspector(
        five, *target, "--method", "tools/call", "--tool-name", "everything__get-sum", "--tool-arg", "a=2", "b=40"
    )

    assert {tool["name"].partition("__")[0] for tool in listed["tools"]} == set(SERVERS)
    assert "42" in json.dumps(called)


def test_the_inspector_lists_and_calls_over_stdio(five: Workspace) -> None:
    handed_on = ("MCP_COMPOSE_HOME", "MCP_COMPOSE_PYPI_RUNNER", "MCP_COMPOSE_NPM_RUNNER", "DOCKER_HOST")
    environ = [word for name in handed_on if name in five.environ for word in ("-e", f"{name}={five.environ[name]}")]
    target = [*environ, "--", *COMMAND, "run", "--stdio"]

    listed = inspector(five, "--method", "tools/list", *target)
    called = inspector(
        five, "--method", "tools/call", "--tool-name", "time__get_current_time", "--tool-arg", "timezone=UTC", *target
    )

    assert {tool["name"].partition("__")[0] for tool in listed["tools"]} == set(SERVERS)
    assert "UTC" in json.dumps(called)


def test_the_command_line_calls_a_tool_through_the_gateway(five: Workspace) -> None:
    listed = json.loads(five.run("tools", "ls", "--format", "json").stdout)
    done = five.run("tools", "call", "everything__get-sum", "a=2", "b=40")

    assert "everything__get-sum" in json.dumps(listed)
    assert "42" in done.stdout


def inspector(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    """Run the inspector without a screen; its answer as JSON."""
    command = [os.environ["MCP_COMPOSE_TEST_NODE"], os.environ["MCP_COMPOSE_TEST_INSPECTOR"], "--cli", *arguments]
    environ = {**workspace.environ, "MCP_CATALOG_PATH": str(workspace.base / "catalog.json")}
    done = subprocess.run(
        command,
        cwd=workspace.directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)
