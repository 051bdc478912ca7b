from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stage import project, tool
from mcpcompose.gateway.compiler import compile_endpoint
from mcpcompose.gateway.outward import Outward
from mcpcompose.gateway.table import EndpointTable, Place
from mcpcompose.gateway.tasks import TaskIds
from mcpcompose.gateway.uris import Links, Rewriting, rewritten_result, ui_resource
from mcpcompose.upstream.base import ServerLists


def table(**offered: ServerLists) -> EndpointTable:
    made = compile_endpoint(project(servers={name: {} for name in offered}), offered, "default", None)
    assert made is not None
    return made


def resources(*uris: str, templates: tuple[str, ...] = (), tools: tuple[dict[str, Any], ...] = ()) -> ServerLists:
    return ServerLists(
        tools=tools,
        resources=tuple({"uri": uri, "name": uri} for uri in uris),
        templates=tuple({"uriTemplate": uri, "name": uri} for uri in templates),
    )


def outward(endpoint: EndpointTable, server: str, links: Links | None = None) -> Outward:
    return Outward(endpoint, server, "me", Links() if links is None else links, TaskIds(b"k" * 32))


def app(uri: str) -> dict[str, Any]:
    return tool("show", _meta={"ui": {"resourceUri": uri, "visibility": ["model"]}})


uris = st.from_regex(r"[a-z][a-z0-9+.-]{0,8}:[!-~]{0,30}", fullmatch=True)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,23}", fullmatch=True), uris)
def test_every_uri_leads_back(name: str, uri: str) -> None:
    mark = Rewriting(name)

    assert mark.back(mark.out(uri)) == uri or uri.startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("file:///x", "db+file:///x"),
        ("custom:y", "db+custom:y"),
        ("ui://app/main.html", "ui://db/app/main.html"),
        ("https://a/b", "https://a/b"),
        ("HTTP://a/b", "HTTP://a/b"),
        ("file:///{path}", "db+file:///{path}"),
    ],
)
def test_the_mark_is_in_the_scheme_and_never_where_clients_fetch_themselves(uri: str, shown: str) -> None:
    assert Rewriting("db").out(uri) == shown


def test_only_the_later_server_of_a_collision_is_rewritten() -> None:
    made = table(
        a=resources("file:///x", templates=("file:///{p}",)),
        b=resources("file:///x", "other:1"),
        c=resources("c:1"),
    )

    assert [r["uri"] for r in made.resources] == ["file:///x", "b+file:///x", "b+other:1", "c:1"]
    assert set(made.rewriting) == {"b"}
    assert made.place("b+other:1") == Place("b", "other:1")
    assert made.place("file:///anything") == Place("a", "file:///anything")
    assert made.place("c+c:1") == Place("c", "c:1")


def test_two_templates_of_one_form_are_told_apart() -> None:
    made = table(a=resources(templates=("db://{t}",)), b=resources(templates=("db://{t}",)))

    assert made.place("db://rows") == Place("a", "db://rows")
    assert made.place("b+db://rows") == Place("b", "db://rows")
    assert made.template("b+db://{t}") == Place("b", "db://{t}")
    assert made.template("db://{t}") == Place("a", "db://{t}")


def test_apps_of_two_servers_do_not_show_each_others_pages() -> None:
    made = table(a=resources(tools=(app("ui://app/x.html"),)), b=resources(tools=(app("ui://app/x.html"),)))

    first, second = made.tools
    assert ui_resource(first) == "ui://app/x.html"
    assert second["_meta"] == {"ui": {"resourceUri": "ui://b/app/x.html", "visibility": ["model"]}}
    assert made.place("ui://app/x.html") == Place("a", "ui://app/x.html")
    assert made.place("ui://b/app/x.html") == Place("b", "ui://app/x.html")


def test_results_of_a_rewritten_server_name_its_uris_as_clients_know_them() -> None:
    made = table(a=resources("file:///x"), b=resources("file:///x"))
    result = {
        "content": [
            {"type": "text", "text": "file:///x"},
            {"type": "resource_link", "uri": "file:///new", "name": "n", "vendor": [1]},
            {"type": "resource", "resource": {"uri": "file:///x", "text": "t"}},
            {"type": "unheard-of", "uri": "file:///x"},
        ],
        "contents": [{"uri": "file:///x", "blob": "AA=="}],
        "messages": [{"role": "user", "content": {"type": "resource", "resource": {"uri": "file:///x"}}}],
        "_meta": {"ui": {"resourceUri": "ui://p"}, "vendor/key": 1.50},
        "structuredContent": {"uri": "file:///x"},
    }

    shown = json.loads(outward(made, "b")(json.dumps(result).encode(), "tools/call"))

    assert shown["content"][0] == result["content"][0]
    assert shown["content"][1]["uri"] == "b+file:///new"
    assert shown["content"][1]["vendor"] == [1]
    assert shown["content"][2]["resource"]["uri"] == "b+file:///x"
    assert shown["content"][3] == result["content"][3]
    assert shown["contents"][0]["uri"] == "b+file:///x"
    assert shown["messages"][0]["content"]["resource"]["uri"] == "b+file:///x"
    assert shown["_meta"] == {"ui": {"resourceUri": "ui://b/p"}, "vendor/key": 1.5}
    assert shown["structuredContent"] == {"uri": "file:///x"}


def test_results_of_others_stay_the_very_bytes_and_their_links_are_remembered() -> None:
    made = table(a=resources("file:///x"), b=resources("b:1"))
    links = Links()
    raw = b'{ "content" : [ {"type":"resource_link","uri":"made:up"} ] , "n": 1.0e2 }'

    assert outward(made, "b", links)(raw, "tools/call") is raw
    assert links.owner("me", "default", "made:up") == "b"
    assert links.owner("other", "default", "made:up") is None
    assert made.place("made:up", "b") == Place("b", "made:up")
    plain = b'{"content":[{"type":"text","text":"hi"}]}'
    assert outward(made, "b", links)(plain, "tools/call") is plain


def test_a_link_that_would_lead_to_another_server_is_marked() -> None:
    made = table(a=resources(templates=("file:///{p}",)), b=resources("b:1"))
    raw = b'{"content":[{"type":"resource_link","uri":"file:///mine"},{"type":"resource_link","uri":"https://x/"}]}'

    shown = json.loads(outward(made, "b")(raw, "tools/call"))

    assert [block["uri"] for block in shown["content"]] == ["b+file:///mine", "https://x/"]
    assert made.place("b+file:///mine") == Place("b", "file:///mine")


_blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["resource", "resource_link", "text"]) | st.none()},
    optional={
        "uri": uris | st.integers(),
        "resource": st.dictionaries(st.just("uri"), uris),
        "x": st.floats(allow_nan=False),
    },
)
_results = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(_blocks) | _blocks | st.text(),
        "contents": st.lists(_blocks),
        "messages": st.lists(st.fixed_dictionaries({"content": _blocks | st.lists(_blocks)})),
        "_meta": st.fixed_dictionaries({"ui": st.fixed_dictionaries({"resourceUri": uris})}),
        "structuredContent": st.recursive(st.none() | st.text(), st.lists),
    },
)


@given(_results)
def test_what_is_rewritten_and_back_is_what_it_was(result: dict[str, Any]) -> None:
    raw, mark = json.dumps(result).encode(), Rewriting("b")

    assert rewritten_result(raw, lambda uri: uri) is raw
    there = rewritten_result(raw, mark.out)
    assert json.loads(rewritten_result(there, mark.back)) == result


def test_links_are_forgotten_when_there_are_too_many() -> None:
    links = Links(most=2)
    for uri in ("a:", "b:", "c:"):
        links.saw("me", "p", uri, "s")
    links.saw("me", "p", "x" * 5000, "s")

    assert [links.owner("me", "p", uri) for uri in ("a:", "b:", "c:")] == [None, "s", "s"]
    assert len(links) == 2


@pytest.mark.parametrize(
    "raw", [b"[]", b"{", b"null", b'{"content":5}', b'{"content":[[1],{"type":7}]}', b'{"contents":{}}']
)
def test_what_cannot_be_read_is_left_as_it_is(raw: bytes) -> None:
    assert rewritten_result(raw, Rewriting("b").out) == raw
