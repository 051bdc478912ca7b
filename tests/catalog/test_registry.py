"""The MCP registry: `server.json` in all its forms, and the API over a real connection to a registry on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.mcp_registry import McpRegistry, serving
from harness.shelf import Shelf

OCI = {
    "name": "io.github.acme/database",
    "description": "Databases",
    "title": "Database",
    "version": "3.1.0",
    "websiteUrl": "https://acme.example",
    "packages": [
        {"registryType": "mcpb", "identifier": "https://x/y.mcpb", "transport": {"type": "stdio"}},
        {
            "registryType": "oci",
            "identifier": "ghcr.io/acme/database:3.1.0",
            "transport": {"type": "stdio"},
            "runtimeHint": "docker",
            "runtimeArguments": [
                {
                    "type": "named",
                    "name": "--mount",
                    "value": "type=bind,src={source},dst={target}",
                    "variables": {
                        "source": {"format": "filepath", "isRequired": True},
                        "target": {"default": "/project"},
                    },
                },
                {
                    "type": "named",
                    "name": "-e",
                    "value": "DB_TYPE={db_type}",
                    "variables": {"db_type": {"choices": ["postgres", "mysql"], "isRequired": True}},
                },
                {"type": "positional", "value": "-i"},
                {"type": "positional", "value": "--rm"},
                {"type": "named", "name": "--user", "value": "1000"},
            ],
            "packageArguments": [
                {"type": "positional", "value": "serve"},
                {"type": "named", "name": "--host", "default": "localhost", "isRequired": True, "description": "Host"},
                {"type": "named", "name": "--port", "format": "number", "description": "Port"},
                {"type": "positional", "valueHint": "tables", "isRepeated": True},
                {"type": "named", "name": "--verbose"},
            ],
            "environmentVariables": [
                {"name": "DB_PASSWORD", "isRequired": True, "isSecret": True, "description": "Password"},
                {"name": "SSL_MODE", "default": "prefer", "choices": ["disable", "prefer"]},
                {"name": "TRACE", "format": "boolean"},
                {
                    "name": "DSN",
                    "value": "db://{user}:{pass}@host",
                    "variables": {"user": {"isRequired": True}, "pass": {"isSecret": True}},
                },
            ],
        },
    ],
    "remotes": [{"type": "sse", "url": "https://db.example/sse"}],
}
PYPI = {
    "name": "io.github.acme/weather",
    "description": "Weather",
    "version": "0.5.0",
    "packages": [
        {
            "registryType": "pypi",
            "registryBaseUrl": "https://pypi.org",
            "identifier": "weather-mcp",
            "version": "0.5.0",
            "runtimeHint": "uvx",
            "transport": {"type": "stdio"},
            "environmentVariables": [{"name": "UNITS", "default": "celsius"}],
        }
    ],
}
WEATHER_OLD = {**PYPI, "version": "0.4.0", "packages": [{**PYPI["packages"][0], "version": "0.4.0"}]}  # type: ignore[dict-item]
NPM_HTTP = {
    "name": "io.github.acme/files",
    "description": "Files",
    "version": "1.0.0",
    "packages": [
        {
            "registryType": "npm",
            "identifier": "@acme/files",
            "version": "1.0.0",
            "transport": {"type": "streamable-http", "url": "http://localhost:3000/mcp"},
            "runtimeArguments": [{"type": "positional", "value": "-y"}],
        }
    ],
}
REMOTE = {
    "name": "com.acme/tickets",
    "description": "Tickets",
    "version": "2.0.0",
    "x-status": "deprecated",
    "x-message": "use tickets-next",
    "remotes": [
        {
            "type": "streamable-http",
            "url": "https://{tenant}.acme.example/mcp",
            "variables": {"tenant": {"isRequired": True, "description": "Your tenant"}},
            "headers": [
                {"name": "X-API-Key", "isRequired": True, "isSecret": True},
                {"name": "Authorization", "value": "Bearer {token}", "variables": {"token": {"isSecret": True}}},
                {"name": "X-Region", "default": "eu"},
            ],
        }
    ],
}
UNSUPPORTED = {
    "name": "io.github.acme/bundle",
    "description": "A bundle",
    "version": "1.0.0",
    "packages": [
        {
            "registryType": "mcpb",
            "identifier": "https://x/y.mcpb",
            "fileSha256": "a" * 64,
            "transport": {"type": "stdio"},
        },
        {"registryType": "nuget", "identifier": "X", "version": "1", "transport": {"type": "stdio"}},
    ],
}
DELETED = {**PYPI, "name": "io.github.acme/gone", "x-status": "deleted"}
ALL = [OCI, WEATHER_OLD, PYPI, NPM_HTTP, REMOTE, UNSUPPORTED, DELETED]


@pytest.fixture
def registry() -> Iterator[McpRegistry]:
    with serving(McpRegistry(list(ALL))) as registry:
        yield registry


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def project(registry: McpRegistry, use: str, more: str = "") -> str:
    return f"catalogs: {{public: {{registry: '{registry.url}/'}}}}\nservers:\n  a: {{from: public/{use}}}\n{more}"


KINDS = "packages that can be run are `oci`, `pypi` and `npm`"
CONFIG = "{source: /srv/db, db_type: postgres, port: 5432, tables: [a, b], user: me, TRACE: true}"


def test_an_image_with_all_kinds_of_inputs(registry: McpRegistry, shelf: Shelf) -> None:
    text = project(
        registry,
        f"io.github.acme/database, config: {CONFIG}",
        "secrets: {db_password: {environment: P}, pass: {environment: Q}}\n",
    )

    server = shelf.load(text, fetch=True).project.servers["a"]

    assert server.image == "ghcr.io/acme/database:3.1.0"
    assert server.command == ("serve", "--host=localhost", "--port=5432", "a", "b", "--verbose")
    assert server.environment == {
        "SSL_MODE": "prefer",
        "TRACE": "true",
        "DSN": "db://me:${secret:pass}@host",
        "DB_TYPE": "postgres",
    }
    assert [(v.source, v.target) for v in server.volumes] == [("/srv/db", "/project")]
    assert [(use.source, use.env) for use in server.secrets] == [("db_password", "DB_PASSWORD")]
    assert (server.user, server.network) == ("1000", "open")


def test_inputs_are_checked(registry: McpRegistry, shelf: Shelf) -> None:
    text = project(
        registry,
        "io.github.acme/database, config: {source: /srv, db_type: oracle, prot: 1, user: me}",
        "secrets: {db_password: {environment: P}, pass: {environment: Q}}\n",
    )

    assert [one.partition(" ")[2] for one in shelf.problems(text, fetch=True)] == [
        "`db_type` of `config` must be one of `postgres`, `mysql`",
        "unknown key `prot` of `config` | did you mean `port`?",
    ]


def test_a_package_of_pypi_in_the_newest_and_in_a_pinned_version(registry: McpRegistry, shelf: Shelf) -> None:
    newest = shelf.load(project(registry, "io.github.acme/weather"), fetch=True).project.servers["a"]
    pinned = shelf.load(project(registry, "io.github.acme/weather@0.4.0"), fetch=True).project.servers["a"]
    again = shelf.load(project(registry, "io.github.acme/weather")).project.servers["a"]

    assert newest.package == "pypi:weather-mcp==0.5.0"
    assert pinned.package == "pypi:weather-mcp==0.4.0"
    assert again == newest
    assert newest.environment == {"UNITS": "celsius"}


def test_a_pinned_version_alone_is_not_taken_for_the_newest(registry: McpRegistry, shelf: Shelf) -> None:
    shelf.load(project(registry, "io.github.acme/weather@0.4.0"), fetch=True)

    (problem,) = shelf.problems(project(registry, "io.github.acme/weather"))

    assert "has no `io.github.acme/weather` without a version | known: `0.4.0`" in problem


def test_a_package_of_npm_that_speaks_http(registry: McpRegistry, shelf: Shelf) -> None:
    server = shelf.load(project(registry, "io.github.acme/files"), fetch=True).project.servers["a"]

    assert server.package == "npm:@acme/files@1.0.0"
    assert server.http is not None
    assert (server.http.port, server.http.path) == (3000, "/mcp")


def test_a_package_runs_as_a_process_too(registry: McpRegistry, shelf: Shelf) -> None:
    loaded = shelf.load(project(registry, "io.github.acme/weather"), fetch=True, engine="process")

    assert loaded.project.servers["a"].network is None


def test_a_remote_server_with_variables_headers_and_secrets(registry: McpRegistry, shelf: Shelf) -> None:
    text = project(
        registry,
        "com.acme/tickets, config: {tenant: red}",
        "secrets: {x_api_key: {environment: K}, token: {environment: T}}\n",
    )

    server = shelf.load(text, fetch=True).project.servers["a"]

    assert server.url == "https://red.acme.example/mcp"
    assert server.headers == {
        "X-API-Key": "${secret:x_api_key}",
        "Authorization": "Bearer ${secret:token}",
        "X-Region": "eu",
    }


def test_what_cannot_be_run_is_refused_when_it_is_used(registry: McpRegistry, shelf: Shelf) -> None:
    problems = shelf.problems(project(registry, "io.github.acme/bundle"), fetch=True)

    assert [one.partition("`a` from ")[2] for one in problems] == [
        f"`public/io.github.acme/bundle`: the package type `{kind}` is not supported | {KINDS}"
        for kind in ("mcpb", "nuget")
    ]


def test_what_is_not_there_is_said_with_the_next_step(registry: McpRegistry, shelf: Shelf) -> None:
    (problem,) = shelf.problems(project(registry, "io.github.acme/nothing@1"), fetch=True)

    assert "has no server `io.github.acme/nothing` in the version `1`" in problem


def test_without_a_network_nothing_is_fetched_and_that_is_said(registry: McpRegistry, shelf: Shelf) -> None:
    assert shelf.problems(project(registry, "io.github.acme/weather")) == [
        "mcp-compose.yaml:1:20 catalog `public` was never fetched | fetch it with `mcp-compose catalog pull`"
    ]
    assert registry.asked == []


def test_a_registry_that_breaks_later_keeps_what_was_fetched(registry: McpRegistry, shelf: Shelf) -> None:
    shelf.load(project(registry, "io.github.acme/weather"), fetch=True)
    registry.broken = 500

    assert shelf.load(project(registry, "io.github.acme/weather"), fetch=True).project.servers["a"].package
    (problem,) = shelf.problems(project(registry, "io.github.acme/files"), fetch=True)
    assert "answered 500" in problem


def test_the_older_revision_of_the_api_is_spoken_too(shelf: Shelf) -> None:
    with serving(McpRegistry(list(ALL), revision="v0")) as registry:
        server = shelf.load(project(registry, "io.github.acme/weather"), fetch=True).project.servers["a"]

    assert server.package == "pypi:weather-mcp==0.5.0"


def test_the_first_revision_of_server_json_is_read(tmp_path: Path, shelf: Shelf) -> None:
    old = {
        "name": "io.github.acme/old",
        "description": "Old",
        "status": "active",
        "version_detail": {"version": "1.0.2", "is_latest": True},
        "packages": [
            {
                "registry_type": "oci",
                "registry_base_url": "https://docker.io",
                "identifier": "mcp/filesystem",
                "version": "1.0.2",
                "package_arguments": [{"type": "positional", "value_hint": "target_dir", "value": "/project"}],
                "environment_variables": [{"name": "KEY", "is_required": True, "is_secret": True}],
            }
        ],
    }
    (tmp_path / "registry.json").write_text(json.dumps({"servers": [old], "metadata": {}}))
    text = (
        "catalogs: {r: ./registry.json}\nservers: {a: {from: r/io.github.acme/old}}\nsecrets: {key: {environment: K}}\n"
    )

    server = shelf.server(text)

    assert (server.image, server.command) == ("mcp/filesystem:1.0.2", ("/project",))
    assert [(use.source, use.env) for use in server.secrets] == [("key", "KEY")]


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (
            {"registryType": "pypi", "identifier": "x", "version": "1", "registryBaseUrl": "https://evil.example"},
            "another index",
        ),
        ({"registryType": "pypi", "identifier": "x", "version": "1", "fileSha256": "a" * 64}, "`fileSha256`"),
        (
            {
                "registryType": "oci",
                "identifier": "x",
                "runtimeArguments": [{"type": "positional", "value": "--privileged"}],
            },
            "--privileged",
        ),
        (
            {
                "registryType": "oci",
                "identifier": "x",
                "runtimeArguments": [{"type": "named", "name": "--cap-add", "value": "ALL"}],
            },
            "--cap-add ALL",
        ),
        (
            {
                "registryType": "npm",
                "identifier": "x",
                "version": "1",
                "runtimeArguments": [{"type": "positional", "value": "--node-options=x"}],
            },
            "--node-options",
        ),
        (
            {
                "registryType": "npm",
                "identifier": "x",
                "version": "1",
                "transport": {"type": "sse", "url": "http://localhost:1/x"},
            },
            "the transport `sse`",
        ),
        (
            {
                "registryType": "oci",
                "identifier": "x",
                "packageArguments": [{"type": "named", "name": "--key", "isSecret": True}],
            },
            "is a secret",
        ),
        ({"registryType": "oci", "identifier": "x", "surprise": 1}, "unknown key `surprise`"),
    ],
)
def test_what_a_package_asks_for_and_cannot_get_is_refused(
    shelf: Shelf, tmp_path: Path, package: dict[str, Any], said: str
) -> None:
    server = {"name": "io.github.acme/x", "description": "X", "version": "1.0.0", "packages": [package]}
    (tmp_path / "registry.json").write_text(json.dumps({"servers": [{"server": server}]}))

    problems = shelf.problems("catalogs: {r: ./registry.json}\nservers: {a: {from: r/io.github.acme/x}}\n")

    assert any(said in one for one in problems), problems


def test_a_host_network_is_as_dangerous_from_a_registry_as_from_the_file(shelf: Shelf, tmp_path: Path) -> None:
    package = {
        "registryType": "oci",
        "identifier": "x",
        "runtimeArguments": [{"type": "named", "name": "--network", "value": "host"}],
    }
    server = {"name": "io.github.acme/x", "description": "X", "version": "1.0.0", "packages": [package]}
    (tmp_path / "registry.json").write_text(json.dumps({"servers": [{"server": server}]}))

    problems = shelf.problems("catalogs: {r: ./registry.json}\nservers: {a: {from: r/io.github.acme/x}}\n")

    assert any("unsafe" in one for one in problems), problems


async def test_every_page_is_read_and_what_was_pinned_stays(shelf: Shelf) -> None:
    from mcpcompose.catalog.https import Egress
    from mcpcompose.catalog.registry_api import everything, some

    many = [{**PYPI, "name": f"io.github.acme/n{index:03}"} for index in range(250)]
    with serving(McpRegistry([*many, WEATHER_OLD, PYPI])) as registry:
        before = await some(registry.url, [("io.github.acme/weather", "0.4.0")], Egress())
        copy = await everything(registry.url, Egress(), before)

    servers = [(one["server"]["name"], one["server"]["version"]) for one in json.loads(copy.data)["servers"]]
    assert len(servers) == 252
    assert ("io.github.acme/weather", "0.4.0") in servers
    assert ("io.github.acme/weather", "0.5.0") in servers
    assert len([one for one in registry.asked if "cursor" in one]) == 2


async def test_an_answer_about_another_server_is_not_taken(shelf: Shelf) -> None:
    from mcpcompose.catalog.https import Egress
    from mcpcompose.catalog.registry_api import some
    from mcpcompose.errors import FetchFailed

    with serving(McpRegistry([PYPI])) as registry:
        registry._one = lambda name, version: (200, registry.item(PYPI))  # type: ignore[method-assign]
        with pytest.raises(FetchFailed, match="has no server"):
            await some(registry.url, [("io.github.acme/other", None)], Egress())


@pytest.mark.parametrize("body", ["[]", "no json", '{"servers": 1}', '{"servers": [1]}', "[" * 5000])
async def test_an_answer_that_no_registry_gives_is_said(body: str) -> None:
    from mcpcompose.catalog.https import Egress
    from mcpcompose.catalog.registry_api import everything
    from mcpcompose.errors import FetchFailed

    with serving(McpRegistry([])) as registry:
        registry.answer = lambda target: (200, body)  # type: ignore[method-assign]
        with pytest.raises(FetchFailed):
            await everything(registry.url, Egress())


def test_what_a_lock_pins_of_a_registry_is_the_same_on_every_machine(registry: McpRegistry, tmp_path: Path) -> None:
    digests = []
    for name, first in (("one", "io.github.acme/files"), ("two", "io.github.acme/weather@0.4.0")):
        shelf = Shelf(tmp_path / name)
        shelf.folder.mkdir()
        shelf.load(project(registry, first), fetch=True)
        loaded = shelf.load(project(registry, "io.github.acme/weather"), fetch=True)
        digests.append(loaded.project.provenance.catalog_digests["public"])

    assert digests[0] == digests[1]

    changed = {**PYPI, "version": "0.6.0"}
    registry.servers.append(changed)
    other = Shelf(tmp_path / "three")
    other.folder.mkdir()
    now = other.load(project(registry, "io.github.acme/weather"), fetch=True)
    assert now.project.provenance.catalog_digests["public"] != digests[0]
