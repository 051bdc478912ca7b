"""What people and models are told about servers and tools in the file's words: `title` and `tools.override`."""

from __future__ import annotations

import json
from typing import Any

from gateway.stage import project, tool
from mcpcompose.gateway.compiler import compile_endpoint, compile_table
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.upstream.base import ServerLists

SEARCH = tool("search", title="Search", description="Searches.", annotations={"title": "Find", "readOnlyHint": True})
OFFER = ServerLists(
    tools=(SEARCH, tool("plain", description="Plain.")),
    prompts=({"name": "ask", "title": "Ask"},),
    instructions="Be kind.",
    info={"name": "their-server", "version": "3", "title": "Theirs"},
)


def endpoint(server: dict[str, Any], offer: ServerLists = OFFER, only: str | None = None) -> EndpointTable:
    made = compile_endpoint(project(servers={"s": server}), {"s": offer}, "default", only)
    assert made is not None
    return made


def tools_of(table: EndpointTable) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in table.tools}


def test_a_server_without_a_title_is_passed_on_as_it_is() -> None:
    table = endpoint({})

    assert tools_of(table)["s__search"] == {**SEARCH, "name": "s__search"}
    assert table.instructions == "## s\n\nBe kind."


def test_a_title_stands_before_the_titles_of_tools_and_prompts_where_several_servers_are_together() -> None:
    table = endpoint({"title": "Company Wiki"})

    tools = tools_of(table)
    assert tools["s__search"]["title"] == "Company Wiki: Search"
    assert "title" not in tools["s__plain"]
    assert json.loads(table.entries["prompts"][0].modern)["title"] == "Company Wiki: Ask"
    assert table.instructions == "## Company Wiki (s)\n\nBe kind."


def test_on_its_own_endpoint_a_title_is_the_servers_own() -> None:
    table = endpoint({"title": "Company Wiki"}, only="s")

    assert table.info == {"name": "their-server", "version": "3", "title": "Company Wiki"}
    assert tools_of(table)["search"]["title"] == "Search"
    silent = endpoint({"title": "Company Wiki"}, ServerLists(), only="s")
    assert silent.info["title"] == "Company Wiki"


def test_an_override_changes_what_is_said_of_a_tool_and_nothing_else_of_it() -> None:
    said = {"search": {"description": "Looks it up in the wiki.", "title": "Look up"}, "plain": {"title": "Simple"}}

    table = endpoint({"tools": {"override": said}})

    tools = tools_of(table)
    assert tools["s__search"] == {
        **SEARCH,
        "name": "s__search",
        "title": "Look up",
        "description": "Looks it up in the wiki.",
        "annotations": {"title": "Look up", "readOnlyHint": True},
    }
    assert tools["s__plain"] == {**tool("plain", description="Plain."), "name": "s__plain", "title": "Simple"}
    assert table.tool_routes["s__search"].name == "search"


def test_an_override_goes_by_the_servers_own_name_and_is_there_on_its_own_endpoint_too() -> None:
    rules = {"rename": {"search": "find"}, "override": {"search": {"description": "Ours."}}}

    assert tools_of(endpoint({"tools": rules}))["s__find"]["description"] == "Ours."
    assert tools_of(endpoint({"tools": rules}, only="s"))["search"]["description"] == "Ours."


def test_a_new_title_or_override_is_served_by_the_next_table_without_the_server_saying_anything() -> None:
    before = compile_table(project(servers={"s": {}}), {"s": OFFER})
    assert before.endpoint("default") is not None

    after = compile_table(
        project(servers={"s": {"title": "T", "tools": {"override": {"plain": {"description": "New."}}}}}),
        {"s": OFFER},
        before,
    ).endpoint("default")

    assert after is not None
    assert tools_of(after)["s__search"]["title"] == "T: Search"
    assert tools_of(after)["s__plain"]["description"] == "New."


def test_a_title_cannot_bring_control_characters_into_the_instructions() -> None:
    table = endpoint({"title": "a\nb\x1b[2J"})

    assert table.instructions is not None
    assert "\x1b" not in table.instructions
    assert table.instructions.startswith("## a b")
