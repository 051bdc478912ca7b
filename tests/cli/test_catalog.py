"""`catalog ls`, `search`, `show` and `diff`, through the front door."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.desk import Desk
from harness.mcp_registry import McpRegistry, serving

CATALOG = """\
catalog: 1
title: Approved
servers:
  github:
    title: GitHub
    description: Issues and pull requests.
    publisher: GitHub
    version: 1.0.0
    tags: [code]
    tools: [create_issue, {name: search, description: Search code}]
    secrets: {github_token: {env: TOKEN, description: a token}}
    config: {type: object, properties: {org: {type: string}}}
    server: {image: acme/github:1, environment: {ORG: "${config:org}"}, network: open}
  gitlab: {description: Like github., server: {image: acme/gitlab:1}}
  other: {description: Talks to GitHub too., server: {image: acme/other:1}}
  bad: {description: "Broken github thing \\x1b[31m\\u202e", server: {imagge: x}}
"""
SERVER = {
    "name": "io.github.acme/github-tools",
    "description": "From the registry",
    "version": "2.0.0",
    "packages": [{"registryType": "oci", "identifier": "acme/tools:2", "transport": {"type": "stdio"}}],
}


@pytest.fixture
def registry() -> Iterator[McpRegistry]:
    with serving(McpRegistry([SERVER])) as registry:
        yield registry


@pytest.fixture
def project(desk: Desk) -> Desk:
    (desk.project / "catalog.yaml").write_text(CATALOG)
    desk.write("catalogs: {acme: ./catalog.yaml, gone: {url: 'http://127.0.0.1:1/c'}}\nservers: {}\n")
    return desk


def test_the_catalogs_are_listed_with_what_is_wrong_with_them(project: Desk) -> None:
    done = project.run("catalog", "ls")

    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "own" in lines["acme"]
    assert " 4 " in lines["acme"]
    assert "Approved" in lines["acme"]
    assert "never fetched" in lines["gone"]


def test_the_entries_of_one_catalog_are_listed(project: Desk) -> None:
    done = project.run("catalog", "ls", "acme", "--format", "json")

    assert [one["from"] for one in json.loads(done.stdout)] == ["acme/github", "acme/gitlab", "acme/other", "acme/bad"]
    assert project.run("catalog", "ls", "acmee").returncode == 2
    assert project.run("catalog", "ls", "gone").returncode == 1


def test_a_search_puts_first_what_is_called_so_and_last_what_cannot_be_used(project: Desk) -> None:
    done = project.run("catalog", "search", "GitHub", "--format", "json")

    found = json.loads(done.stdout)
    assert [one["from"] for one in found] == ["acme/github", "acme/other", "acme/gitlab", "acme/bad"]
    assert [one["usable"] for one in found] == [True, True, True, False]
    assert "gone" in done.stderr


def test_a_search_wants_every_word(project: Desk) -> None:
    found = json.loads(project.run("catalog", "search", "github", "create_issue", "--format", "json").stdout)

    assert [one["from"] for one in found] == ["acme/github"]


def test_a_search_asks_registries_and_says_when_one_does_not_answer(project: Desk, registry: McpRegistry) -> None:
    project.write(f"catalogs: {{acme: ./catalog.yaml, public: {{registry: '{registry.url}'}}}}\nservers: {{}}\n")

    found = json.loads(project.run("catalog", "search", "github", "--format", "json").stdout)
    assert "public/io.github.acme/github-tools" in [one["from"] for one in found]

    registry.broken = 503
    done = project.run("catalog", "search", "github")
    assert done.returncode == 0
    assert "503" in done.stderr
    assert "acme/github" in done.stdout


def test_an_entry_is_shown_with_all_that_it_would_run_and_asks_for(project: Desk) -> None:
    shown = project.run("catalog", "show", "acme/github").stdout

    for word in ("acme/github@1.0.0", "image: acme/github:1", "network: open", "env: TOKEN", "org:", "create_issue"):
        assert word in shown
    assert "catalog.yaml:4" in shown
    said = json.loads(project.run("catalog", "show", "acme/github", "--format", "json").stdout)
    assert said["server"]["environment"] == {"ORG": "${config:org}"}
    assert said["secrets"]["github_token"] == {"description": "a token", "env": "TOKEN", "required": True}


def test_an_entry_of_a_registry_is_fetched_to_be_shown(project: Desk, registry: McpRegistry) -> None:
    project.write(f"catalogs: {{public: {{registry: '{registry.url}'}}}}\nservers: {{}}\n")

    shown = project.run("catalog", "show", "public/io.github.acme/github-tools@2.0.0").stdout

    assert "image: acme/tools:2" in shown


def test_what_cannot_be_used_is_shown_with_the_reason_and_without_a_terminals_tricks(project: Desk) -> None:
    shown = project.run("catalog", "show", "acme/bad")

    assert "unknown key `imagge` of a server, did you mean `image`?" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    for arguments in (["ls", "acme"], ["search", "broken"], ["show", "acme/bad", "--format", "json"]):
        assert not {"\x1b", "\u202e"} & set(project.run("catalog", *arguments).stdout)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [("acme/githb", "did you mean `acme/github`?"), ("acme/github@2", "known: `1.0.0`"), ("github", "`catalog/entry`")],
)
def test_an_entry_that_is_not_there_is_said_with_what_may_be_meant(project: Desk, entry: str, hint: str) -> None:
    done = project.run("catalog", "show", entry)

    assert done.returncode == 2
    assert hint in done.stderr


def test_two_catalogs_are_compared(project: Desk) -> None:
    changed = CATALOG.replace("acme/github:1", "acme/github:2").replace("  gitlab:", "  gitlub:")
    (project.project / "next.yaml").write_text(changed)

    done = project.run("catalog", "diff", "acme", "./next.yaml")
    said = json.loads(project.run("catalog", "diff", "acme", "./next.yaml", "--format", "json").stdout)

    assert done.stdout.splitlines() == [
        "~ github  server.image",
        "    - acme/github:1",
        "    + acme/github:2",
        "- gitlab  image acme/gitlab:1",
        "+ gitlub  image acme/gitlab:1",
    ]
    assert [(one["entry"], one["key"]) for one in said] == [("github", "server.image"), ("gitlab", ""), ("gitlub", "")]
    assert "no difference" in project.run("catalog", "diff", "acme", "acme").stderr


def test_what_changed_since_it_was_fetched_is_said_and_not_kept(project: Desk, registry: McpRegistry) -> None:
    project.write(f"catalogs: {{public: {{registry: '{registry.url}'}}}}\nservers: {{}}\n")
    project.run("catalog", "show", "public/io.github.acme/github-tools")
    newer = json.loads(json.dumps(SERVER).replace("acme/tools:2", "acme/tools:3").replace("2.0.0", "3.0.0"))
    registry.servers.append(newer)

    for _ in range(2):
        done = project.run("catalog", "diff", "public")
        assert "+ acme/tools:3" in done.stdout.replace("    ", "")


def test_a_file_alone_is_compared_with_nothing(project: Desk) -> None:
    assert "name two catalogs" in project.run("catalog", "diff", "acme").stderr
