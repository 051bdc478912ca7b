"""
The cross-repository attack of May 2025, replayed: a stranger's issue makes a model read a private repository and write
it into a public one. The model is scripted: it does whatever the texts it reads tell it to.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp import Client, stdio_client

from harness.wait import until
from harness.workspace import Workspace
from mcpcompose.audit.entries import Filter, entries

PIN = {"use": "session-pin", "match": {"server": "github"}, "key": "{owner}/{repo}", "unpinned": ["get_me"]}
FLOW = {
    "use": "flow",
    "sources": [
        {"server": "github", "tools": ["get_issue", "list_*"], "labels": ["untrusted"]},
        {"server": "github", "tools": ["get_file_contents", "search_code"], "labels": ["private"]},
    ],
    "sinks": [{"server": "github", "tools": ["add_*", "create_*"], "labels": ["public"]}],
    "forbid": [{"after": ["untrusted", "private"], "to": "public"}],
}
TASK = {"owner": "acme", "repo": "site", "number": 7}
SALARY = "81000"


def told(result: Any) -> str:
    """The texts of a result, also of a refusal."""
    return "".join(block.text for block in result.content)


@dataclass
class Model:
    """Does what it was told last, by whomever: `@agent TOOL ARGUMENTS` in what it reads."""

    client: Client
    said: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    async def look_at_the_issue(self) -> None:
        waiting: list[tuple[str, dict[str, Any]]] = [("get_issue", TASK)]
        while waiting and len(self.said) < 10:
            name, arguments = waiting.pop(0)
            found = await self.call(name, arguments)
            for tool, given in re.findall(r"^@agent (\w+) (\{.*\})$", found, re.MULTILINE):
                waiting.append((tool, json.loads(given)))

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        given = {key: self.said[-1] if one == "PREVIOUS" else one for key, one in arguments.items()}
        result = await self.client.call_tool(f"github__{name}", given)
        self.said.append(told(result))
        if result.is_error:
            self.refusals.append(self.said[-1])
        return self.said[-1]


class Host:
    """A project with the source host in it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.file = workspace.base / "written.jsonl"

    def up(self, *interceptors: dict[str, Any], **top: Any) -> None:
        server = {
            "process": [sys.executable, "-u", "programs/repos.py"],
            "environment": {"WRITTEN": str(self.file)},
        }
        self.workspace.save({"github": server}, engine="process", interceptors=list(interceptors), **top)
        self.workspace.run("trust", "--all")
        self.workspace.up()
        self.workspace.when_ready()

    def written(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.exists() else ""

    def audited(self, **wanted: Any) -> list[dict[str, Any]]:
        (folder,) = self.workspace.home.glob("state/**/audit")
        return [dict(one) for one in entries(folder, Filter(**wanted))]


@pytest.fixture
def host(workspace: Workspace) -> Host:
    return Host(workspace)


async def attack(host: Host, mode: str) -> Model:
    async with host.workspace.client(mode) as client:
        model = Model(client)
        await model.look_at_the_issue()
        return model


async def test_without_interceptors_the_attack_works_and_can_be_seen_in_the_audit_log(host: Host) -> None:
    host.up()

    await attack(host, "legacy")

    assert SALARY in host.written()
    assert [one["name"] for one in host.audited(method="tools/call")] == [
        "get_issue", "get_file_contents", "add_issue_comment",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_session_pin_alone_stops_it(host: Host, mode: str) -> None:
    host.up(PIN)

    model = await attack(host, mode)

    assert SALARY not in "".join(model.said)
    assert SALARY not in host.written()
    assert len(model.refusals) == 1
    assert "acme/site" in model.refusals[0]
    (refused,) = host.audited(outcome="refused")
    assert (refused["client"], refused["server"], refused["name"]) == ("default", "github", "get_file_contents")
    assert [(one["interceptor"], one["rule"]) for one in refused["decisions"]] == [("session-pin", "other-key")]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_flow_alone_stops_it(host: Host, mode: str) -> None:
    host.up(FLOW)

    model = await attack(host, mode)

    assert SALARY in "".join(model.said)
    assert host.written() == ""
    (refused,) = host.audited(outcome="refused")
    assert refused["name"] == "add_issue_comment"
    assert [(one["interceptor"], one["rule"]) for one in refused["decisions"]] == [
        ("flow", "untrusted+private-to-public")
    ]


async def test_neither_search_nor_a_pull_request_is_a_way_around_the_pin(host: Host) -> None:
    host.up(PIN)
    async with host.workspace.client() as client:
        model = Model(client)
        await model.call("get_issue", TASK)
        await model.call("get_me", {})
        assert not model.refusals
        await model.call("search_code", {"q": "repo:acme/payroll salary"})
        await model.call("create_pull_request", {"owner": "acme", "repo": "payroll", "title": "x", "body": "y"})
        await model.call("get_file_contents", {"owner": "acme", "repo": "site", "Repo": "payroll", "path": "x"})
    assert len(model.refusals) == 3
    assert host.written() == ""


@pytest.mark.parametrize("rules", [[PIN], [FLOW]], ids=["session-pin", "flow"])
async def test_nothing_but_a_person_clears_what_a_session_has_read(host: Host, rules: list[dict[str, Any]]) -> None:
    profiles = {"default": {"servers": ["github"]}, "other": {"servers": ["github"]}}
    host.up(*rules, profiles=profiles)
    workspace = host.workspace
    async with workspace.client() as client:
        model = Model(client)
        await model.call("get_issue", TASK)
        if rules == [FLOW]:
            await model.call("get_file_contents", {"owner": "acme", "repo": "payroll", "path": "salaries.csv"})
        async with workspace.client() as second:
            await is_closed(second, "a second connection")
    async with workspace.client() as client:
        await is_closed(client, "reconnecting")
    async with workspace.client("2026-07-28") as client:
        await is_closed(client, "the other era")
    async with workspace.client(path="/servers/github/mcp") as client:
        await is_closed(client, "another endpoint", prefix="")
    async with Client(stdio_client(workspace.stdio()), mode="legacy") as client:
        await is_closed(client, "a client without a token")

    workspace.run("restart", "github")
    workspace.when_ready()
    async with workspace.client() as client:
        await is_closed(client, "the server restarted")
    workspace.gateway().kill()
    until(lambda: not workspace.gateways(), "the gateway is gone")
    workspace.up()
    workspace.when_ready()
    async with workspace.client() as client:
        await is_closed(client, "kill -9 of the gateway")
    host.up(*rules, profiles=profiles, clients={"default": {"profile": "other"}})
    async with workspace.client(path="/profiles/other/mcp") as client:
        await is_closed(client, "another profile's endpoint")

    workspace.run("session", "reset", "default")
    async with workspace.client(path="/profiles/other/mcp") as client:
        assert not (await client.call_tool("github__create_pull_request", OTHER)).is_error
    assert "payroll" in host.written()


OTHER = {"owner": "acme", "repo": "payroll", "title": "x", "body": "y"}


async def is_closed(client: Client, way: str, prefix: str = "github__") -> None:
    result = await client.call_tool(f"{prefix}create_pull_request", OTHER)
    assert result.is_error, way
    assert "refused" in told(result) or "closed" in told(result), way
