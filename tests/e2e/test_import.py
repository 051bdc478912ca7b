"""What a person has in a client becomes servers that run: import, up, call, without editing anything."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.containers import BASE_IMAGE, Containers
from harness.snippets import SNIPPETS, TOKENS
from harness.workspace import Workspace, text

TOKEN = TOKENS["github"]
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
PROGRAM = """\
import hashlib, json, os, sys
NAMES = ("digest", "keys", "delete_all")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "digest", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}
    elif params.get("name") == "keys":
        result = {"content": [{"type": "text", "text": " ".join(sorted(os.environ))}]}
    else:
        value = os.environ.get("API_TOKEN") or sys.argv[sys.argv.index("--api-token") + 1]
        result = {"content": [{"type": "text", "text": hashlib.sha256(value.encode()).hexdigest()}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def client_file(workspace: Workspace, servers: dict[str, Any]) -> Path:
    """The program as a file of the project, and a client's file that launches it."""
    (workspace.directory / "digest.py").write_text(PROGRAM)
    file = workspace.base / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


async def test_an_imported_process_serves_with_its_token_from_the_keyring(workspace: Workspace) -> None:
    workspace.environ["MCP_COMPOSE_KEYRING"] = "file"
    script = str(workspace.directory / "digest.py")
    file = client_file(
        workspace,
        {
            "Digest Server": {"command": sys.executable, "args": ["-u", script], "env": {"API_TOKEN": TOKEN},
                              "disabledTools": ["delete_all"]},
            "By Argument": {"command": sys.executable, "args": ["-u", script, "--api-token", TOKEN]},
        },
    )  # fmt: skip

    done = workspace.run("--engine", "process", "import", str(file))
    workspace.run("--engine", "process", "trust", "--all")
    workspace.run("--engine", "process", "up", "-d")
    workspace.when_ready()
    async with workspace.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        by_variable = text(await client.call_tool("digest-server__digest", {}))
        by_argument = text(await client.call_tool("by-argument__digest", {}))

    assert by_variable == by_argument == DIGEST
    assert "digest-server__delete_all" not in names
    written = done.stdout + done.stderr + workspace.file.read_text() + workspace.log()
    assert TOKEN not in written


@pytest.mark.docker
async def test_an_imported_docker_run_serves_with_its_token_volume_and_arguments(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.environ["MCP_COMPOSE_KEYRING"] = "file"
    programs = f"{workspace.directory}:/programs:ro"
    args = ["run", "-i", "--rm", "-e", "API_TOKEN", "-e", "MODE=calm", "-v", programs, "--privileged", BASE_IMAGE]
    file = client_file(
        workspace,
        {"digest": {"command": "docker", "args": [*args, "python3", "-u", "/programs/digest.py"],
                    "env": {"API_TOKEN": TOKEN}}},
    )  # fmt: skip
    workspace.save({})

    workspace.run("import", str(file))
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()
    async with workspace.client() as client:
        digest = text(await client.call_tool("digest__digest", {}))
        keys = text(await client.call_tool("digest__keys", {})).split()

    assert digest == DIGEST
    assert {"API_TOKEN", "MODE"} <= set(keys)
    assert "`--privileged` is not carried over" in workspace.file.read_text()
    assert TOKEN not in workspace.file.read_text() + workspace.log()


@pytest.mark.docker
@pytest.mark.real
@pytest.mark.timeout(600)
async def test_imported_packages_serve_with_a_folder_of_the_host_and_a_token_in_their_arguments(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.environ["MCP_COMPOSE_KEYRING"] = "file"
    notes = workspace.base / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("written on the host")
    file = client_file(
        workspace,
        {
            "filesystem": {
                "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-filesystem@2026.8.31", str(notes)],
            },
            "time": {"command": "uvx", "args": ["mcp-server-time@2026.10.19", "--local-timezone=UTC"]},
            "everything": {
                "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-everything@2026.8.31", "stdio", f"--api-key={TOKEN}"],
            },
        },
    )
    runners = {"pypi": "${MCP_COMPOSE_PYPI_RUNNER}", "npm": "${MCP_COMPOSE_NPM_RUNNER}"}
    workspace.save({}, runners=runners)

    workspace.run("import", str(file))
    workspace.run("trust", "--all")
    workspace.up(bound=500)
    workspace.when_ready(bound=240)
    async with workspace.client() as client:
        note = text(await client.call_tool("filesystem__read_text_file", {"path": str(notes / "a.txt")}))
        total = text(await client.call_tool("everything__get-sum", {"a": 40, "b": 2}))
        now = text(await client.call_tool("time__get_current_time", {"timezone": "Asia/Tokyo"}))

    assert note == "written on the host"
    assert "42" in total
    assert "Asia/Tokyo" in now
    assert TOKEN not in workspace.file.read_text() + workspace.log()


@pytest.mark.docker
def test_every_snippet_of_the_manuals_plans_without_an_edit(workspace: Workspace) -> None:
    workspace.environ["MCP_COMPOSE_KEYRING"] = "file"
    file = workspace.base / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {name: entry for name, (entry, _) in SNIPPETS.items()}}))

    done = json.loads(workspace.run("import", str(file), "--format", "json").stdout)
    for secret in done["secrets"]:
        match secret["source"]:
            case {"environment": variable}:
                workspace.environ[variable] = "set-by-a-person"
            case _ if secret["to_set"]:
                put(workspace, secret["name"])
    planned = json.loads(workspace.run("plan", "--format", "json").stdout)

    started = {step["server"] for step in planned["steps"]}
    assert {name for name in SNIPPETS if name in started} | {"own-shell"} >= {
        one["name"] for one in done["servers"] if one["kind"] in {"image", "package"}
    }


def put(workspace: Workspace, name: str) -> None:
    """`secret set` as a person's script does it."""
    import subprocess

    from harness.workspace import COMMAND

    subprocess.run(
        [*COMMAND, "secret", "set", name], input="typed", text=True, cwd=workspace.directory, env=workspace.environ,
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
