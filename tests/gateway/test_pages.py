from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stage import project, tool
from mcpcompose.gateway.compiler import RoutingTable, compile_table
from mcpcompose.gateway.listeners import changed_kinds
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.spec.project import Gateway
from mcpcompose.upstream.base import ServerLists

INFO = "io.modelcontextprotocol/serverInfo"


def made(offered: dict[str, ServerLists], only: str | None = None, before: RoutingTable | None = None) -> EndpointTable:
    what = project(servers={name: {} for name in offered}, gateway=Gateway(auth="none"))
    endpoint = compile_table(what, offered, before).endpoint("default", only)
    assert endpoint is not None
    return endpoint


def tools(count: int, name: str = "t", **beside: Any) -> ServerLists:
    return ServerLists(
        tools=tuple(tool(f"{name}{number}") for number in range(count)),
        beside={"tools": beside},
        capabilities={"tools": {}},
    )


def page(table: EndpointTable, at: str | None, most: int | None, *, modern: bool = True) -> dict[str, Any]:
    found = table.page("tools/list", at, most, modern=modern)
    assert found is not None
    read: dict[str, Any] = json.loads(found)
    return read


def walk(table: EndpointTable, most: int | None) -> list[str]:
    names: list[str] = []
    at: str | None = None
    while True:
        read = page(table, at, most)
        names += [one["name"] for one in read["tools"]]
        at = read.get("nextCursor")
        if at is None:
            return names


@given(st.integers(0, 30), st.integers(1, 12))
def test_pages_are_the_whole_list_in_order(count: int, most: int) -> None:
    table = made({"a": tools(count)})

    assert walk(table, most) == [f"a__t{number}" for number in range(count)] == walk(table, None)


def test_an_empty_cursor_is_the_first_page_and_a_foreign_one_is_refused() -> None:
    table = made({"a": tools(5)})
    cursor = page(table, None, 2)["nextCursor"]

    assert page(table, "", 2) == page(table, None, 2)
    for bad in ("x", "e30", 7, cursor[:-3], "AAAA" * 2000, "bnVsbA"):
        assert table.page("tools/list", bad, 2, modern=True) is None
    assert table.page("prompts/list", cursor, 2, modern=True) is None


def test_a_cursor_of_an_older_table_goes_on_after_the_same_entry() -> None:
    before, after = made({"a": tools(6)}), made({"new": tools(3), "a": tools(6)})
    cursor = page(before, None, 2)["nextCursor"]

    assert [one["name"] for one in page(after, cursor, 2)["tools"]] == ["a__t2", "a__t3"]
    assert page(made({"a": tools(1, "x")}), cursor, 2)["tools"] == []


def test_hints_are_the_shortest_time_and_private_if_one_is() -> None:
    fast = tools(1, ttlMs=5000, cacheScope="public")

    assert page(made({"a": fast, "b": tools(1, ttlMs=900, cacheScope="public")}), None, None)["ttlMs"] == 900
    both = page(made({"a": fast, "b": tools(1, ttlMs=900, cacheScope="private")}), None, None)
    assert both["cacheScope"] == "private"
    assert page(made({"a": fast}), None, None)["cacheScope"] == "public"


def test_a_legacy_server_and_one_that_is_down_make_it_zero() -> None:
    fast = tools(1, ttlMs=5000, cacheScope="public")
    down = compile_table(project(servers={"a": {}, "b": {}}), {"a": fast}).endpoint("default")

    assert page(made({"a": fast, "b": tools(1)}), None, None)["ttlMs"] == 0
    assert down is not None
    assert (page(down, None, None)["ttlMs"], page(down, None, None)["cacheScope"]) == (0, "private")


def test_a_server_without_a_kind_of_list_says_nothing_about_its_age() -> None:
    fast = tools(1, ttlMs=5000, cacheScope="public")
    without = ServerLists(capabilities={"prompts": {}}, beside={})

    assert page(made({"a": fast, "b": without}), None, None)["ttlMs"] == 5000


@pytest.mark.parametrize("ttl", [-1, "soon", None, True, 1.5])
def test_a_time_that_is_none_is_zero(ttl: Any) -> None:
    assert page(made({"a": tools(1, ttlMs=ttl, cacheScope="public")}), None, None)["ttlMs"] == 0


def test_what_nobody_knows_beside_a_list_stays_on_the_servers_own_endpoint() -> None:
    said = tools(2, ttlMs=7, cacheScope="public", vendor={"x": 1}, _meta={"v/k": 1, INFO: {"name": "up"}})

    modern, handshake = page(made({"a": said}, "a"), None, None), page(made({"a": said}, "a"), None, None, modern=False)

    assert modern["vendor"] == {"x": 1}
    assert modern["_meta"] == {"v/k": 1, INFO: {"name": "up"}}
    assert handshake == {"tools": modern["tools"], "vendor": {"x": 1}, "_meta": {"v/k": 1}}
    assert "vendor" not in page(made({"a": said}), None, None)


def test_execution_stays_for_handshake_clients_of_the_servers_own_endpoint() -> None:
    listed = ServerLists(tools=(tool("t", execution={"taskSupport": "optional"}),))

    own, all_ = made({"a": listed}, "a"), made({"a": listed})

    assert b"execution" in own.listed("tools/list", modern=False)
    assert b"execution" not in own.listed("tools/list", modern=True)
    assert b"execution" not in all_.listed("tools/list", modern=False)


def test_hints_alone_are_no_change_of_a_list() -> None:
    what = project(servers={"a": {}})
    before = compile_table(what, {"a": tools(2, ttlMs=5)})
    after = compile_table(what, {"a": tools(2, ttlMs=6)}, before)
    other = compile_table(what, {"a": tools(3, ttlMs=6)}, after)

    assert changed_kinds(before, after, "default", None) == frozenset()
    assert changed_kinds(after, other, "default", None) == {"tools"}


def test_ten_thousand_tools_are_listed_from_the_table_and_one_change_costs_one_server() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "d" * 40} for n in range(5)}}
    offered = {
        f"s{number}": ServerLists(tools=tuple(tool(f"tool_{n}") | {"inputSchema": schema} for n in range(100)))
        for number in range(100)
    }
    what = project(servers={name: {} for name in offered})
    before = compile_table(what, offered)
    endpoint = before.endpoint("default")
    assert endpoint is not None
    endpoint.listed("tools/list", modern=True)
    began = time.process_time()
    listed = endpoint.listed("tools/list", modern=True)
    again = time.process_time() - began
    changed = {**offered, "s50": ServerLists(tools=(tool("other"),))}
    began = time.process_time()
    after = compile_table(what, changed, before)
    assert changed_kinds(before, after, "default", None) == {"tools"}
    swap = time.process_time() - began

    assert len(json.loads(listed)["tools"]) == 10_000
    assert again < 0.1
    assert swap < 0.1
