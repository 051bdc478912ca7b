"""Docker's MCP Toolkit as a source: its folder, its catalogs, its profiles."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.importing import Machine
from mcpcompose.actions.import_drafts import drafts
from mcpcompose.clients.import_docker import from_catalog, from_profile, is_catalog, is_profile
from mcpcompose.clients.import_paths import Surroundings
from mcpcompose.errors import UsageError

CATALOG = """\
version: 2
name: docker-mcp
displayName: Docker MCP Catalog
registry:
  filesystem:
    type: server
    title: Filesystem
    image: mcp/filesystem@sha256:35fcf0217ca0d5bf7b0a5bd68fb3b89e08174676c0e0b4f431604512cf7b3f67
    command: ["{{filesystem.paths|volume-target|into}}"]
    volumes: ["{{filesystem.paths|volume|into}}"]
    disableNetwork: true
    config:
      - {name: filesystem, type: object, properties: {paths: {type: array, default: [/Users/local-test]}}}
  github-official:
    type: server
    image: ghcr.io/github/github-mcp-server
    secrets: [{name: github.personal_access_token, env: GITHUB_PERSONAL_ACCESS_TOKEN, example: <YOUR_TOKEN>}]
    allowHosts: ["api.github.com:443"]
    oauth: {providers: [{provider: github, secret: github.pat, env: GITHUB_PERSONAL_ACCESS_TOKEN}]}
  notion:
    type: server
    image: mcp/notion
    secrets: [{name: notion.internal_integration_token, env: INTERNAL_INTEGRATION_TOKEN}]
    env:
      - {name: OPENAPI_MCP_HEADERS, value: '{"Authorization": "Bearer $INTERNAL_INTEGRATION_TOKEN", "V": "2022"}'}
  hub:
    type: server
    image: mcp/hub
    command: [--transport=stdio, "--username={{hub.username}}", "{{hub.extra|or:[]}}", "{{hub.mode|or:plain}}"]
    env: [{name: LOG, value: "{{hub.log}}"}, {name: NOTHING, value: "{{hub.nothing}}"}]
    volumes: ["{{hub.log_path|mount_as:/logs:ro}}", "hub-data:/data"]
    user: "{{hub.uid}}"
    extraHosts: ["host.docker.internal:host-gateway"]
    longLived: true
  curl:
    type: poci
    tools: [{name: curl, container: {image: alpine/curl, command: ["{{args|into}}"]}}]
  cloudflare-docs:
    type: remote
    remote: {transport_type: sse, url: "https://docs.mcp.cloudflare.com/sse"}
  keyed:
    type: remote
    remote: {transport_type: streamable-http, url: "https://keyed.example/mcp", headers: {X-Key: "${KEYED_API}"}}
    secrets: [{name: keyed.api, env: KEYED_API}]
"""
REGISTRY = ("filesystem", "github-official", "notion", "hub", "curl", "cloudflare-docs", "keyed", "gone")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def folder(machine: Machine) -> Path:
    """Docker's folder with everything switched on that its catalog has, and one server that no catalog has."""
    folder = machine.home / ".docker" / "mcp"
    (folder / "catalogs").mkdir(parents=True)
    (folder / "catalogs" / "docker-mcp.yaml").write_text(CATALOG)
    (folder / "catalog.json").write_text('{"catalogs": {"docker-mcp": {"displayName": "D", "url": "https://x"}}}')
    (folder / "registry.yaml").write_text("registry:\n" + "".join(f'  {name}: {{ref: ""}}\n' for name in REGISTRY))
    (machine.home / "files").mkdir()
    (machine.home / "logs").mkdir()
    (folder / "config.yaml").write_text(
        f"filesystem: {{paths: [{machine.home}/files]}}\n"
        f"hub: {{username: me, uid: '1000:1000', log: debug, log_path: {machine.home}/logs}}\n"
    )
    (folder / "tools.yaml").write_text("github-official: [get_me, list_issues]\n")
    return folder


def test_what_is_switched_on_is_imported_as_docker_would_run_it(machine: Machine, folder: Path) -> None:
    done = machine.imported("docker-mcp")

    servers = machine.servers()
    files = f"{machine.home}/files"
    assert servers["filesystem"] == {
        "image": "mcp/filesystem@sha256:35fcf0217ca0d5bf7b0a5bd68fb3b89e08174676c0e0b4f431604512cf7b3f67",
        "command": [files],
        "volumes": [f"~/files:{files}"],
    }
    assert servers["github-official"] == {
        "image": "ghcr.io/github/github-mcp-server",
        "secrets": [{"source": "github_personal_access_token", "env": "GITHUB_PERSONAL_ACCESS_TOKEN"}],
        "network": "open",
        "tools": {"allow": ["get_me", "list_issues"]},
    }
    assert servers["notion"]["environment"]["OPENAPI_MCP_HEADERS"] == (
        '{"Authorization": "Bearer ${secret:notion_internal_integration_token}", "V": "2022"}'
    )
    assert servers["hub"] == {
        "image": "mcp/hub",
        "command": ["--transport=stdio", "--username=me", "plain"],
        "environment": {"LOG": "debug"},
        "network": "open",
        "volumes": ["~/logs:/logs:ro", "hub-data:/data"],
        "extra_hosts": {"host.docker.internal": "host-gateway"},
        "user": "1000:1000",
    }
    assert servers["cloudflare-docs"] == {"url": "https://docs.mcp.cloudflare.com/sse", "transport": "sse"}
    assert servers["keyed"] == {"url": "https://keyed.example/mcp", "headers": {"X-Key": "${secret:keyed_api}"}}
    assert {one.name for one in done.left} == {"curl", "gone"}
    assert {one.name for one in done.to_set} == {
        "github_personal_access_token", "notion_internal_integration_token", "keyed_api"
    }  # fmt: skip
    assert "allowHosts" in machine.file.read_text()


def test_only_the_servers_named_are_imported(machine: Machine, folder: Path) -> None:
    machine.imported("docker-mcp", only=("hub",))

    assert list(machine.servers()) == ["hub"]


def test_a_catalog_file_is_imported_with_its_defaults(machine: Machine, folder: Path) -> None:
    machine.imported(folder / "catalogs" / "docker-mcp.yaml", only=("filesystem", "cloudflare-docs"))

    assert machine.servers()["filesystem"]["command"] == ["/Users/local-test"]
    assert "volumes" not in machine.servers()["filesystem"]


def test_of_a_large_catalog_servers_have_to_be_named(machine: Machine) -> None:
    many = {f"s{n}": {"type": "server", "image": f"mcp/s{n}"} for n in range(300)}
    file = machine.base / "many.json"
    file.write_text(json.dumps({"registry": many}))

    with pytest.raises(UsageError, match="300 servers"):
        machine.imported(file)
    machine.imported(file, only=("s7",))

    assert machine.servers()["s7"]["image"] == "mcp/s7"


PROFILE = {
    "version": 1,
    "id": "dev",
    "name": "Dev tools",
    "servers": [
        {
            "type": "image",
            "image": "mcp/github@sha256:" + "a" * 64,
            "secrets": "default",
            "config": {"level": "high"},
            "tools": ["get_me"],
            "snapshot": {
                "server": {
                    "name": "github",
                    "type": "server",
                    "image": "mcp/github",
                    "env": [{"name": "LEVEL", "value": "{{github.level}}"}],
                    "secrets": [{"name": "github.pat", "env": "PAT"}],
                }
            },
        },
        {"type": "image", "image": "acme/my-server:2"},
        {"type": "remote", "endpoint": "https://remote.example/mcp"},
        {"type": "registry", "source": "https://registry.modelcontextprotocol.io/v0/servers/x"},
    ],
    "secrets": {"default": {"provider": "docker-desktop-store"}},
}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_an_exported_profile_is_imported(machine: Machine, suffix: str) -> None:
    file = machine.base / f"dev.{suffix}"
    file.write_text(json.dumps(PROFILE))

    done = machine.imported(file)

    servers = machine.servers()
    assert servers["github"] == {
        "image": "mcp/github@sha256:" + "a" * 64,
        "environment": {"LEVEL": "high"},
        "secrets": [{"source": "github_pat", "env": "PAT"}],
        "network": "open",
        "tools": {"allow": ["get_me"]},
    }
    assert servers["my-server"]["image"] == "acme/my-server:2"
    assert servers["remote-example"]["url"] == "https://remote.example/mcp"
    assert ["registry" in one.why for one in done.left] == [True]


def test_the_profiles_of_a_newer_docker_become_profiles(machine: Machine, folder: Path) -> None:
    other = {**PROFILE, "id": "ops", "name": "Ops", "servers": [PROFILE["servers"][0], PROFILE["servers"][2]]}
    with closing(sqlite3.connect(folder / "mcp-toolkit.db")) as database:
        database.execute("CREATE TABLE working_set (id TEXT PRIMARY KEY, name TEXT, servers TEXT, secrets TEXT)")
        for one in (PROFILE, other):
            row = (one["id"], one["name"], json.dumps(one["servers"]), "{}")
            database.execute("INSERT INTO working_set VALUES (?, ?, ?, ?)", row)
        database.commit()

    machine.imported("docker-mcp")

    profiles = {name: one.servers for name, one in machine.loaded().project.profiles.items()}
    assert profiles == {
        "default": ("github", "my-server", "remote-example"),
        "dev": ("github", "my-server", "remote-example"),
        "ops": ("github", "remote-example"),
    }


@pytest.mark.parametrize(
    "text", ["registry: [1, 2]", "registry:\n  a: 7\n  b: {type: server}\n", "registry: {a: {image: [x]}}", "a: {"]
)
def test_a_broken_registry_or_catalog_is_an_error_and_not_a_crash(machine: Machine, folder: Path, text: str) -> None:
    for name in ("registry.yaml", "catalogs/docker-mcp.yaml"):
        (folder / name).write_text(text)

    with pytest.raises(UsageError):
        machine.imported("docker-mcp")

    assert not machine.file.exists()


SERVER: dict[str, Any] = {
    "type": "server", "image": "a/b:1", "command": ["--x", "{{s.a}}", "$TOK"], "user": "{{s.u}}",
    "disableNetwork": True, "env": [{"name": "A", "value": "{{s.a}}"}],
    "secrets": [{"name": "s.t", "env": "TOK"}], "oauth": {"providers": []},
    "volumes": ["{{s.p|volume|into}}"], "allowHosts": ["h:1"], "extraHosts": ["a:1"], "tools": [{"name": "t"}],
    "config": [{"name": "s", "type": "object", "properties": {"a": {"type": "string", "default": "q"}}}],
}  # fmt: skip
REMOTE = {"type": "remote", "remote": {"url": "https://x/y", "transport_type": "sse", "headers": {"A": "Bearer $TOK"}}}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "catalog": {"registry": {"s": SERVER, "r": REMOTE}},
    "profile": {
        "name": "p",
        "servers": [
            {"type": "image", "image": "a/b:1", "snapshot": {"server": {**SERVER, "name": "s"}}, "config": {"a": "1"}},
            {"type": "remote", "endpoint": "https://x/y", "tools": ["t"]},
            {"type": "registry", "source": "https://x"},
        ],
    },
}
WRONG: tuple[Any, ...] = (None, 5, True, "", "x", [], [5], [None], {}, {"a": 5}, "{{", "$", "\x00", "\ud800", 10**400)


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict | list):
        for step in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[step], (*way, step))


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_whatever_stands_anywhere_in_it_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    where = Surroundings(tmp_path, tmp_path)
    for *way, last in filter(None, _places(DOCUMENTS[kind])):
        for wrong in WRONG:
            root = copy.deepcopy(DOCUMENTS[kind])
            here = root
            for step in way:
                here = here[step]
            here[last] = wrong
            try:
                if kind == "catalog" and is_catalog(root):
                    drafts(from_catalog(root, Path("c.yaml"), ()), (), where, {})
                elif kind == "profile" and is_profile(root):
                    drafts(from_profile(root, Path("p.json")), (), where, {})
            except UsageError:
                pass
            except (TypeError, AttributeError, ValueError, KeyError) as error:
                pytest.fail(f"{wrong!r} at {[*way, last]}: {error!r}")


@pytest.mark.parametrize("wrong", ["5", "true", "null", '"x"', "[5]", '{"a": 5}', "[null]"])
@pytest.mark.parametrize("name", ["catalog.json", "config.yaml", "tools.yaml"])
def test_files_beside_the_registry_that_hold_something_else_are_no_crash(
    machine: Machine, folder: Path, name: str, wrong: str
) -> None:
    key = {"catalog.json": "catalogs", "config.yaml": "filesystem", "tools.yaml": "filesystem"}[name]
    (folder / name).write_text(f'{{"{key}": {wrong}}}')

    done = machine.imported("docker-mcp", dry_run=True)

    assert done.servers


def test_without_dockers_folder_it_is_said(machine: Machine) -> None:
    with pytest.raises(UsageError, match=r"\.docker/mcp"):
        machine.imported("docker-mcp")
