"""Docker's catalog format: every field means here what it means there, or the entry cannot be used and says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.docker_catalog import EVERY_FIELD
from harness.shelf import Shelf
from mcpcompose.catalog.docker_template import NotCarriedOver, Scope, item, text, volume
from mcpcompose.spec.server import NetworkAllow

PROJECT = """\
catalogs: {docker: {file: ./docker-mcp.yaml}}
servers:
  a:
    from: docker/everything
    config:
      jira: {url: https://jira.example}
      host: db
      port: 5432
      user: me
      user_id: "1000:1000"
      paths: [/srv/one, /srv/two]
      logs: /var/log/acme
secrets:
  everything.api_token: {environment: T}
"""
USE = "catalogs: {docker: ./docker-mcp.yaml}\nservers: {a: {from: docker/%s}}\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    (tmp_path / "docker-mcp.yaml").write_text(EVERY_FIELD.replace("IMAGE", "acme/everything@sha256:" + "a" * 64))
    return shelf


def test_every_field_of_a_server_means_what_it_means_there(shelf: Shelf) -> None:
    server = shelf.server(PROJECT)

    assert server.image == "acme/everything@sha256:" + "a" * 64
    assert server.command == ("--transport=stdio", "--user=me", "--empty=", "/srv/one", "/srv/two")
    assert server.environment == {
        "PLAIN": "true",
        "URL": "https://jira.example",
        "WITH_DEFAULT": "eu",
        "MIXED": "http://db:5432/",
        "HEADERS": '{"Authorization": "Bearer ${secret:everything.api_token}", "plain": "true"}',
    }
    assert [(use.source, use.env) for use in server.secrets] == [("everything.api_token", "API_TOKEN")]
    assert [(v.type, v.source, v.target, v.read_only) for v in server.volumes] == [
        ("bind", "/srv/one", "/srv/one", False),
        ("bind", "/srv/two", "/srv/two", False),
        ("bind", "/var/log/acme", "/logs", True),
        ("volume", "cache", "/cache", False),
    ]
    assert (server.user, server.network, server.prefix) == ("1000:1000", "none", "every")
    assert server.extra_hosts == {"myapp.local": "192.168.1.100"}
    assert server.tools.deny == ("never",)


def test_a_remote_server_gets_its_headers_from_secrets_and_configuration(shelf: Shelf) -> None:
    server = shelf.server(
        "catalogs: {docker: ./docker-mcp.yaml}\nservers: {a: {from: docker/sender, config: {team: red}}}\n"
        "secrets: {sender.token: {environment: T}}\n"
    )

    assert server.url == "https://mcp.example/red/mcp"
    assert server.headers == {"Authorization": "Bearer ${secret:sender.token}", "X-Team": "red"}
    assert server.secrets == ()
    assert server.transport is None


def test_old_remote_servers_speak_sse(shelf: Shelf) -> None:
    assert shelf.server(USE % "events").transport == "sse"
    older = shelf.server(USE % "older")
    assert (older.url, older.transport) == ("https://gitmcp.example/moby", "sse")


def test_a_server_has_a_way_out_unless_it_is_told_not_to_have_one(shelf: Shelf) -> None:
    assert shelf.server(USE % "open").network == "open"


def test_of_several_secrets_that_do_not_say_whether_they_are_needed_one_is(shelf: Shelf) -> None:
    (problem,) = shelf.problems(USE % "several")
    server = shelf.server(USE % "several" + "secrets: {several.own: {environment: T}}\n")

    assert "server `a` needs one of the secrets `several.cloud`, `several.own` | declare it:" in problem
    assert [(use.source, use.env) for use in server.secrets] == [("several.own", "OWN")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oauth", "`oauth` is not supported yet"),
        ("oauth", "`dynamic` is not supported"),
        ("containers", "`type: poci` is not supported"),
        ("forbidden", "Docker's policy does not allow this server"),
        ("newer", "unknown key `gpu` of Docker's catalog format"),
        ("broken", "the filter `upper` is not known"),
        ("broken", "`$NOBODY` is no variable of this server"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_its_place_when_it_is_used(shelf: Shelf, name: str, said: str) -> None:
    problems = [one for one in shelf.problems(USE % name) if said in one]

    assert len(problems) == 1
    line = int(problems[0].removeprefix("docker-mcp.yaml:").partition(":")[0])
    written = EVERY_FIELD.splitlines()[line - 1]
    word = {"forbidden": "policy", "containers": "poci", "newer": "gpu"}.get(name, "")
    assert word in written


def test_the_projects_own_word_takes_the_place_of_what_cannot_be_honoured(shelf: Shelf) -> None:
    assert shelf.server((USE % "hosts").replace("docker/hosts", "docker/hosts, network: open")).network == "open"
    text = (USE % "oauth").replace("docker/oauth", "docker/oauth, headers: {Authorization: 'Bearer ${secret:t}'}")
    assert shelf.server(text + "secrets: {t: {environment: T}}\n").url == "https://mcp.example/oauth"
    assert shelf.server((USE % "containers").replace("docker/containers", "docker/containers, image: x")).image == "x"


def test_the_artifacts_of_later_versions_are_read_too(shelf: Shelf) -> None:
    server = {
        "name": "echo",
        "type": "server",
        "image": "acme/echo",
        "title": "Echo",
        "tools": [{"name": "echo"}],
        "disableNetwork": True,
    }
    document = {
        "ref": "acme/catalog:1",
        "title": "ACME's",
        "servers": [
            {"type": "image", "image": "acme/echo", "tools": ["echo"], "snapshot": {"server": server}},
            {"type": "image", "image": "registry.example/acme/plain:1"},
            {"type": "registry", "source": "https://registry.example/v0/servers/io.acme%2Fx/versions/1"},
        ],
    }
    (shelf.folder / "docker-mcp.yaml").write_text(json.dumps(document))

    echo = shelf.server(USE % "echo")
    assert (echo.image, echo.tools.allow, echo.network) == ("acme/echo", ("echo",), "none")
    assert shelf.server(USE % "plain").image == "registry.example/acme/plain:1"


def test_a_catalog_that_is_no_catalog_of_docker_is_refused(shelf: Shelf) -> None:
    (shelf.folder / "docker-mcp.yaml").write_text("registry: {a: {image: x}}\nregistri: {}\n")

    assert shelf.problems(USE % "a")[0].startswith("docker-mcp.yaml:2:1 catalog `docker`: unknown key `registri`")


SCOPE = Scope({"s"}, {"TOKEN": "s.token"}, {"OTHER": "o"})


@pytest.mark.parametrize(
    ("carry", "written", "made"),
    [
        (text, "plain $$", "plain $$$$"),
        (text, "{{s.a}}", "${config:a}"),
        (text, "{{ s . a }}", "${config:a}"),
        (text, "{{a.b}}", "${config:a.b}"),
        (text, "x{{s.a}}y", "x${config:a:-}y"),
        (text, "{{s.a|or:b}}", "${config:a:-b}"),
        (text, "{{s.a|or:[]}}", "${config:a}"),
        (text, "{{s.a|first}}", "${config:a.0}"),
        (text, "{{s.a|last}}", "${config:a.-1}"),
        (text, "$TOKEN/${OTHER}", "${secret:s.token}/o"),
        (item, "{{s.a|volume-target|into}}", "${config:a}"),
        (item, "--x={{s.a}}", "--x=${config:a:-}"),
        (volume, "{{s.a|volume|into}}", "${config:a}:${config:a}"),
        (volume, "{{s.a|volume-target}}:/src", "${config:a}:/src"),
        (volume, "{{s.a|mount_as: /logs:ro }}", "${config:a.0}:/logs:ro"),
        (volume, "/var/run/x:/x", "/var/run/x:/x"),
        (volume, "{{s.a|mount_as:relative}}", NotCarriedOver),
        (text, "{{s.a b}}", NotCarriedOver),
        (text, "{{s.a|or:${X}}}", NotCarriedOver),
        (text, "$UNKNOWN", NotCarriedOver),
    ],
)
def test_templates_are_carried_over_or_refused(carry: object, written: str, made: object) -> None:
    if made is NotCarriedOver:
        with pytest.raises(NotCarriedOver):
            carry(written, SCOPE)  # type: ignore[operator]
    else:
        assert carry(written, SCOPE) == made  # type: ignore[operator]


def test_the_hosts_that_an_entry_allows_are_the_only_ones_it_reaches(shelf: Shelf) -> None:
    network = shelf.server(USE % "hosts").network
    assert isinstance(network, NetworkAllow)
    assert network.allow
