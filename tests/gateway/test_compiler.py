from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.stage import project, tool
from mcpcompose.gateway.compiler import compile_endpoint, compile_table
from mcpcompose.gateway.names import exposed_name, marked
from mcpcompose.gateway.table import EndpointTable, Place, Template
from mcpcompose.upstream.base import ServerLists


def endpoint(servers: dict[str, Any], offered: dict[str, ServerLists], only: str | None = None) -> EndpointTable:
    made = compile_endpoint(project(servers=servers), offered, "default", only)
    assert made is not None
    return made


def tools(*names: str) -> ServerLists:
    return ServerLists(tools=tuple(tool(name) for name in names))


def names(table: EndpointTable) -> list[str]:
    return [item["name"] for item in table.tools]


server_names = st.from_regex(r"[a-z][a-z0-9-]{0,23}", fullmatch=True)
tool_names = st.text(min_size=1, max_size=80)


@given(st.dictionaries(server_names, st.lists(tool_names, max_size=6), max_size=4))
def test_every_exposed_name_is_fit_unique_and_maps_back(offered: dict[str, list[str]]) -> None:
    lists = {name: tools(*owned) for name, owned in offered.items()}

    table = endpoint({name: {} for name in offered}, lists)

    exposed = names(table)
    assert len(exposed) == len(set(exposed))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,46}", name) for name in exposed)
    back = [(table.tool_routes[name].server, table.tool_routes[name].name) for name in exposed]
    assert sorted(back) == sorted({(name, owned) for name, all_of in offered.items() for owned in all_of})


def test_a_name_that_was_taken_on_purpose_hides_nobody_elses_tool() -> None:
    """A server can work out what another's tool would be called, and offer one of that name first."""
    taken = marked("a__x", "b\0x")
    lists = {"a": tools("x", taken.removeprefix("a__")), "b": tools("x")}

    table = endpoint({"a": {}, "b": {"prefix": "a"}}, lists)

    exposed = names(table)
    assert len(exposed) == len(set(exposed)) == 3
    assert ("b", "x") in [(table.tool_routes[name].server, table.tool_routes[name].name) for name in exposed]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,46}", name) for name in exposed)


def test_a_tool_that_is_listed_twice_is_not_said_to_be_left_out() -> None:
    table = endpoint({"a": {}, "b": {"prefix": "a"}}, {"a": tools("x"), "b": tools("x", "x")})

    assert len(names(table)) == 2
    assert [text for _, text in table.collisions if "left out" in text] == []


@given(st.dictionaries(server_names, st.lists(tool_names, max_size=6), max_size=4))
def test_the_same_input_gives_the_same_table(offered: dict[str, list[str]]) -> None:
    lists = {name: tools(*owned) for name, owned in offered.items()}
    what = {name: {} for name in offered}

    assert endpoint(what, lists) == endpoint(what, lists)


def test_names_that_are_too_long_or_odd_end_in_a_digest() -> None:
    assert exposed_name("a", "b") == "a__b"
    assert exposed_name("", "b") == "b"
    assert exposed_name("a", "b.c") == "a__b_c_ad50ce" or re.fullmatch(r"a__b_c_[0-9a-f]{6}", exposed_name("a", "b.c"))
    assert len(exposed_name("server", "x" * 100)) == 46
    assert exposed_name("server", "x" * 100) != exposed_name("server", "x" * 101)


def test_allow_deny_rename_and_prefix_do_what_they_say() -> None:
    rules = {"allow": ["get_*", "drop"], "deny": ["get_secret", "drop"], "rename": {"get_b": "fetch"}}

    table = endpoint({"a": {"tools": rules, "prefix": "gh"}}, {"a": tools("get_a", "get_b", "get_secret", "drop", "x")})

    assert names(table) == ["gh__get_a", "gh__fetch"]
    assert table.tool_routes["gh__fetch"].name == "get_b"
    assert set(table.tool_routes) == {"gh__get_a", "gh__fetch", "get_a", "get_b", "fetch"}


def test_a_servers_own_endpoint_is_not_renamed_but_filtered() -> None:
    rules = {"deny": ["drop"], "rename": {"get": "fetch"}}

    table = endpoint({"a": {"tools": rules}}, {"a": tools("get", "drop")}, only="a")

    assert names(table) == ["get"]


def test_of_two_names_that_collide_the_second_is_marked_and_reported() -> None:
    table = endpoint({"a": {"prefix": "x"}, "b": {"prefix": "x"}}, {"a": tools("t"), "b": tools("t")})

    first, second = names(table)
    assert first == "x__t"
    assert re.fullmatch(r"x__t_[0-9a-f]{6}", second)
    assert table.tool_routes[second].server == "b"
    assert table.collisions[0][0] == "b"
    assert "`t` is" in table.collisions[0][1]


def test_a_tool_whose_header_annotation_is_invalid_is_left_out() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "number", "x-mcp-header": "Q"}}}

    table = endpoint({"a": {}}, {"a": ServerLists(tools=(tool("t") | {"inputSchema": schema}, tool("u")))})

    assert names(table) == ["a__u"]
    assert "x-mcp-header" in table.collisions[0][1]


def test_resources_go_to_their_owner_by_uri_then_by_template() -> None:
    a = ServerLists(
        resources=({"uri": "file:///a", "name": "a"}, {"uri": "same://x", "name": "x"}),
        templates=({"uriTemplate": "file:///{path}", "name": "f"},),
    )
    b = ServerLists(
        resources=({"uri": "same://x", "name": "x"},),
        templates=({"uriTemplate": "file:///logs/{day}.txt", "name": "g"},),
    )

    table = endpoint({"a": {}, "b": {}}, {"a": a, "b": b})

    assert table.owner("file:///a") == "a"
    assert table.place("b+file:///logs/today.txt") == Place("b", "file:///logs/today.txt")
    assert table.owner("file:///other") == "a"
    assert table.owner("same://x") == "a"
    assert table.owner("https://elsewhere") is None
    assert [r["uri"] for r in table.resources] == ["file:///a", "same://x", "b+same://x"]
    assert table.place("b+same://x") == Place("b", "same://x")
    assert table.collisions == (("b", "its resources have `b` in front: `a` has `same://x`, too, and came first"),)


def test_a_template_matches_in_linear_time() -> None:
    hostile = Template("a", ("", *["a"] * 5000, ""))

    assert not hostile.matches("a" * 4999)
    assert hostile.matches("a" * 5000)
    assert not Template("a", ("x", "yx")).matches("xyx"[:2])
    assert not Template("a", ("ab", "ba")).matches("aba")


def test_handshake_clients_get_no_output_schema_that_is_no_object() -> None:
    listed = tool("t", outputSchema={"type": "array"}, execution={"taskSupport": "optional"})
    table = endpoint({"a": {}}, {"a": ServerLists(tools=(listed,))})

    assert b"outputSchema" not in table.listed("tools/list", modern=False)
    assert b"outputSchema" in table.listed("tools/list", modern=True)
    assert b"execution" not in table.listed("tools/list", modern=True)


def test_an_endpoint_of_nothing_declared_is_none() -> None:
    table = compile_table(project(servers={"a": {}}), {})

    assert table.endpoint("default") is not None
    assert table.endpoint("other") is None
    assert table.endpoint("default", "b") is None
    assert table.endpoint("default", "a") is not None
