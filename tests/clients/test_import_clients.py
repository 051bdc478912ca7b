"""What any client application keeps in its own file can be imported, by the client's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.importing import Machine
from harness.snippets import TOKENS
from mcpcompose.clients.edit import put
from mcpcompose.clients.entries import Http, Stdio, can, entry
from mcpcompose.clients.places import Machine as Places
from mcpcompose.clients.places import candidates
from mcpcompose.clients.registry import Application, Kind, ScopeName, applications
from mcpcompose.errors import UsageError

TOKEN = TOKENS["github"]


def cases() -> list[tuple[str, ScopeName, Kind]]:
    found: list[tuple[str, ScopeName, Kind]] = []
    for name, application in applications().items():
        for scope in application.scopes:
            kinds: tuple[Kind, ...] = ("stdio", "http")
            found += [(name, scope, kind) for kind in kinds if kind in application.templates]
    return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def write(machine: Machine, application: Application, scope_name: ScopeName, kind: Kind) -> Path | None:
    """The client's file with one server in it, as the client has it; None when it has no file on this system."""
    scope = application.scopes[scope_name]
    places = Places(machine.home, machine.environ, machine.project)
    files = candidates(scope, places)
    if not files:
        return None
    connection = (
        Stdio("npx", ("-y", "some-server"), {"SOME_TOKEN": TOKEN})
        if kind == "stdio"
        else Http("https://mcp.example.com/mcp", f"Bearer {TOKEN}")
    )
    made: dict[str, Any] = entry(application, "some", connection)
    folders = {"{agent}": "root", "{project}": str(machine.project)}
    key = tuple(folders.get(step, step) for step in scope.key)
    made = {name: "acme/some:1" if value == "@image" else value for name, value in made.items()}
    identifier = application.list_of
    text = put(
        application.format, "", key, "some", made, container=application.container, identifier=identifier,
        root=scope.root or None, strict=application.is_strict,
    )  # fmt: skip
    files[0].parent.mkdir(parents=True, exist_ok=True)
    files[0].write_text(text)
    return files[0]


@pytest.mark.parametrize(("name", "scope", "kind"), cases())
def test_a_clients_own_entry_is_imported(machine: Machine, name: str, scope: ScopeName, kind: Kind) -> None:
    application = applications()[name]
    if (file := write(machine, application, scope, kind)) is None:
        with pytest.raises(UsageError):
            machine.imported(name, scope=scope)
        return
    before = file.read_bytes()

    done = machine.imported(name, scope=scope)

    (server,) = machine.servers().values()
    if kind == "http" and "url" in server:
        assert server["url"] == "https://mcp.example.com/mcp"
    elif "image" in application.templates[kind]:
        assert str(server["image"]) in json.dumps([application.templates[kind], "acme/some:1"])
    else:
        assert server["package"] == "npm:some-server", done.text
    assert TOKEN not in machine.file.read_text()
    assert file.read_bytes() == before


def test_what_counts_more_for_the_client_counts_here(machine: Machine) -> None:
    (machine.home / ".cursor").mkdir()
    (machine.project / ".cursor").mkdir()
    user = {"mcpServers": {"a": {"url": "https://user.example/mcp"}, "b": {"url": "https://b.example/mcp"}}}
    project = {"mcpServers": {"a": {"url": "https://project.example/mcp"}}}
    (machine.home / ".cursor" / "mcp.json").write_text(json.dumps(user))
    (machine.project / ".cursor" / "mcp.json").write_text(json.dumps(project))

    done = machine.imported("cursor")

    assert {name: one["url"] for name, one in machine.servers().items()} == {
        "a": "https://project.example/mcp",
        "b": "https://b.example/mcp",
    }
    assert [one.name for one in done.left] == ["a"]


def test_claude_codes_servers_of_this_folder_come_first_and_those_switched_off_not_at_all(machine: Machine) -> None:
    root = {
        "mcpServers": {
            "a": {"type": "http", "url": "https://user.example/mcp"},
            "off": {"command": "x"},
        },
        "projects": {
            str(machine.project): {
                "mcpServers": {"a": {"type": "http", "url": "https://local.example/mcp"}},
                "disabledMcpServers": ["off"],
            },
            "/elsewhere": {"mcpServers": {"other": {"command": "npx", "args": ["y"]}}},
        },
    }
    (machine.home / ".claude.json").write_text(json.dumps(root))

    machine.imported("claude-code")

    assert {name: one["url"] for name, one in machine.servers().items()} == {"a": "https://local.example/mcp"}
    assert "`off`: it is switched off there" in machine.file.read_text()


def test_codex_names_variables_instead_of_tokens(machine: Machine) -> None:
    (machine.home / ".codex").mkdir()
    (machine.home / ".codex" / "config.toml").write_text(
        'model = "x" # kept\n[mcp_servers.figma]\nurl = "https://mcp.figma.com/mcp"\n'
        'bearer_token_env_var = "FIGMA_OAUTH_TOKEN"\nhttp_headers = {"X-Figma-Region" = "us-east-1"}\n'
        'env_http_headers = {"X-Team" = "TEAM"}\nenabled_tools = ["get_code"]\ndisabled_tools = ["x"]\n'
    )

    machine.imported("codex")

    assert machine.servers()["figma"] == {
        "url": "https://mcp.figma.com/mcp",
        "headers": {
            "X-Figma-Region": "us-east-1",
            "Authorization": "Bearer ${secret:figma_oauth_token}",
            "X-Team": "${secret:team}",
        },
        "tools": {"allow": ["get_code"], "deny": ["x"]},
    }


def test_vs_codes_inputs_become_secrets_where_they_are_passwords(machine: Machine) -> None:
    (machine.project / ".vscode").mkdir()
    (machine.project / ".vscode" / "mcp.json").write_text(
        """{
          // what VS Code asks for
          "inputs": [
            {"type": "promptString", "id": "perplexity", "description": "Key", "password": true},
            {"type": "promptString", "id": "region", "description": "Region"},
          ],
          "servers": {"p": {"type": "stdio", "command": "npx", "args": ["-y", "ask-mcp", "${input:region}"],
                            "env": {"PERPLEXITY": "${input:perplexity}", "REGION": "${input:region}"}}},
        }"""
    )

    done = machine.imported("vscode")

    server = machine.servers()["p"]
    assert server["secrets"] == [{"source": "perplexity", "env": "PERPLEXITY"}]
    assert server["environment"] == {"REGION": "${REGION}"}
    assert server["args"] == ["${REGION}"]
    assert [one.name for one in done.to_set] == ["perplexity"]


def test_what_connect_wrote_for_this_gateway_is_not_imported(machine: Machine) -> None:
    (machine.home / ".cursor").mkdir()
    ours = [
        {"url": "http://127.0.0.1:27000/mcp", "headers": {"Authorization": "Bearer mcpc_abcdefghijklmnopqrstuvwxyz"}},
        {"url": "http://127.0.0.1:27000/mcp", "headers": {"Authorization": "Bearer ${env:MCP_COMPOSE_TOKEN}"}},
        {
            "command": "/usr/bin/python3",
            "args": ["-m", "mcpcompose", "--file=x", "run", "--stdio", "--client", "cursor"],
        },
        {"command": "/home/me/.local/bin/mcp-compose", "args": ["run", "--stdio"]},
    ]
    servers = {f"ours-{number}": one for number, one in enumerate(ours)} | {"other": {"url": "https://x.example/mcp"}}
    (machine.home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))

    done = machine.imported("cursor")

    assert list(machine.servers()) == ["other"]
    assert {one.why for one in done.left} == {"it is `mcp-compose` itself"}


def test_an_unknown_client_is_an_error_with_the_name_that_may_be_meant(machine: Machine) -> None:
    with pytest.raises(UsageError, match="did you mean `cursor`"):
        machine.imported("cursr")


def test_a_client_that_is_not_here_is_an_error_that_says_where_was_looked(machine: Machine) -> None:
    with pytest.raises(UsageError) as raised:
        machine.imported("cursor")

    assert str(machine.home / ".cursor" / "mcp.json") in (raised.value.hint or "")


def test_every_kind_of_client_has_a_case() -> None:
    assert len({name for name, *_ in cases()}) >= 50
    assert can(applications()["claude-code"], "http")
