"""The exact entry of every client, against files that were looked at, and what is never in one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from clients.bench import TOKEN, gateway
from mcpcompose.clients.choice import Wish, choose
from mcpcompose.clients.entries import Http, Stdio, can, default_name, entry, good_name, parse_entry
from mcpcompose.clients.parts import snippet
from mcpcompose.clients.registry import Application, Kind, ScopeName, applications, named
from mcpcompose.errors import UsageError

GOLDEN = Path(__file__).parent / "golden"
KINDS: tuple[Kind, ...] = ("http", "stdio")


def shown(application: Application) -> str:
    """Everything that can be written for *application*, as text."""
    scopes: list[ScopeName] = list(application.scopes) or ["user"]
    parts = []
    for scope in scopes:
        for kind in (kind for kind in KINDS if can(application, kind)):
            for reference in (False, True):
                try:
                    choice = choose(application, scope, gateway(fixed=True), Wish(kind, reference))
                except UsageError as error:
                    parts.append(f"=== {scope}, {kind}{', by reference' * reference}: refused\n{error}\n")
                    continue
                if reference and (kind == "stdio" or scope == "project"):
                    continue  # the same once more
                text = snippet(application, "shop", choice, "/p", scope).rstrip("\n")
                parts.append(f"=== {scope}, {kind}{', by reference' * reference}\n{text}\n")
    return "\n".join(parts)


@pytest.mark.parametrize("name", applications())
def test_what_is_written_for_a_client_is_what_was_looked_at(name: str) -> None:
    text, file = shown(applications()[name]), GOLDEN / f"{name}.txt"
    if os.environ.get("MCP_COMPOSE_TEST_GOLDEN") == "write":
        file.write_text(text)

    assert text == file.read_text()


def test_there_is_no_golden_file_of_a_client_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(applications())


@pytest.mark.parametrize("name", applications())
def test_a_projects_file_never_gets_the_token(name: str) -> None:
    application = applications()[name]
    wishes = [Wish(), Wish("http"), Wish("stdio"), Wish(reference=True), Wish(variable="OTHER")]
    for wish in wishes:
        for fixed in (False, True):
            try:
                choice = choose(application, "project", gateway(fixed=fixed), wish)
            except UsageError:
                continue
            if "project" in application.scopes:
                assert choice.secret is None
                assert TOKEN not in snippet(application, "shop", choice, "/p", "project")


@pytest.mark.parametrize("name", [name for name, one in applications().items() if one.scopes.get("user")])
def test_a_persons_file_gets_the_token_or_a_command(name: str) -> None:
    application = applications()[name]

    choice = choose(application, "user", gateway(), Wish())
    text = snippet(application, "shop", choice, "/p", "user")

    if isinstance(choice.connection, Http):
        assert TOKEN in text
        assert choice.secret == TOKEN
    else:
        assert TOKEN not in text
        assert "/opt/mcp-compose" in text


@pytest.mark.parametrize("name", [name for name, one in applications().items() if "http" in one.templates])
def test_a_gateway_that_lets_everybody_in_is_written_without_a_token_or_a_reference(name: str) -> None:
    application = applications()[name]
    for scope in list(application.scopes) or ["user"]:
        choice = choose(application, scope, gateway(is_open=True, fixed=True), Wish("http"))
        text = snippet(application, "shop", choice, "/p", scope)

        assert choice.secret is None
        assert choice.variable is None
        assert TOKEN not in text
        assert "MCP_COMPOSE_TOKEN" not in text


@pytest.mark.parametrize(
    "wish",
    [Wish(variable="A B"), Wish(variable='x"'), Wish(host="a/b"), Wish(host="a@b"), Wish(host="a:1"), Wish(host="")],
)
def test_a_variable_or_host_that_is_none_is_refused(wish: Wish) -> None:
    with pytest.raises(UsageError, match="is no"):
        choose(named("cursor"), "user", gateway(), wish)


@pytest.mark.parametrize("name", [name for name, one in applications().items() if one.templates])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_understood_again(name: str, kind: Kind) -> None:
    application = applications()[name]
    if kind not in application.templates or name == "docker-gordon":  # which starts `mcp-remote` instead
        return
    wanted: Any = Http("http://127.0.0.1:1/mcp", "Bearer x") if kind == "http" else Stdio("c", ("a", "b"), {"K": "v"})

    found = parse_entry(entry(application, "shop", wanted))

    assert found.kind == kind
    if isinstance(wanted, Http):
        assert found.url == wanted.url
        assert found.headers in ({"Authorization": "Bearer x"}, {})
        assert found.headers or "@headers" not in str(application.templates["http"])
    else:
        assert (found.command, found.args, found.env) == ("c", ("a", "b"), {"K": "v"})


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"httpUrl": "https://a/b"}, "http"),
        ({"transport": {"type": "streamableHttp", "url": "https://a/b"}}, "http"),
        ({"url": "https://a/b"}, "http"),
        ({"type": "http", "url": "https://a/b", "command": "", "args": []}, "http"),
        ({"source": "custom", "command": {"path": "c", "args": ["a"], "env": {"K": "v"}}}, "stdio"),
        ({"type": "local", "command": ["c", "a"], "environment": {"K": "v"}}, "stdio"),
        ({"note": "nothing"}, None),
    ],
)
def test_entries_as_people_write_them_are_understood(raw: Any, kind: str | None) -> None:
    found = parse_entry(raw)

    assert found.kind == kind
    if kind == "stdio":
        assert (found.command, found.args, found.env) == ("c", ("a",), {"K": "v"})
    if kind == "http":
        assert found.url == "https://a/b"


@pytest.mark.parametrize(
    ("project", "name"),
    [("shop", "shop"), ("my_shop", "my-shop"), ("7shop", "mcp-7shop"), ("a__b--c", "a-b-c"), ("x" * 63, "x" * 40)],
)
def test_an_entry_has_the_projects_name_as_far_as_every_client_takes_it(project: str, name: str) -> None:
    assert default_name(project) == name
    for application in applications().values():
        assert good_name(application, name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "a b", "a.b", "-a", "a-", "a--b", "1a", "a" * 41, "ä", "a/b", "../a"])
def test_a_name_that_some_client_refuses_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        good_name(named("cursor"), name)


def test_a_name_that_a_client_keeps_for_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="keeps the name `workspace` for itself"):
        good_name(named("claude-code"), "workspace")


def test_a_path_that_a_client_would_replace_is_refused() -> None:
    with pytest.raises(UsageError, match="replace what looks like a variable"):
        entry(named("claude-code"), "shop", Stdio("/home/$HOME/mcp-compose"))
    with pytest.raises(UsageError, match="no command with a space"):
        entry(named("trae"), "shop", Stdio("/a b/mcp-compose"))
    assert entry(named("claude-desktop"), "shop", Stdio("/a $b/mcp-compose"))["command"] == "/a $b/mcp-compose"
