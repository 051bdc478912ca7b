"""Edits as a person sees them: the shapes that differ from client to client, and what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from inline_snapshot import snapshot

from mcpcompose.clients import edit
from mcpcompose.clients.edit import EditFailed, Format, Unreadable

HTTP = {"type": "http", "url": "http://127.0.0.1:9/mcp"}


def added(fmt: Format, text: str, path: tuple[str, ...], entry: dict[str, Any] | None = None, **more: Any) -> str:
    """*text* with the entry `shop`, after making sure that taking it away gives *text* again."""
    undo = edit.undo(fmt, text, path)
    after = edit.put(fmt, text, path, "shop", entry or HTTP, **more)
    assert edit.remove(fmt, after, path, "shop", undo=undo, **more) == text
    return after


def test_a_trailing_comma_stays_the_last_thing_and_none_is_added() -> None:
    text = '{\n\t"servers": {\n\t\t"a": {}, // mine\n\t\t// "b": {}\n\t},\n}\n'

    assert added("jsonc", text, ("servers",)) == snapshot(
        '{\n\t"servers": {\n\t\t"a": {}, // mine\n\t\t"shop": {\n\t\t\t"type": "http",\n'
        '\t\t\t"url": "http://127.0.0.1:9/mcp"'
        '\n\t\t},\n\t\t// "b": {}\n\t},\n}\n'
    )


def test_the_comma_goes_behind_the_member_and_before_its_comment() -> None:
    text = '{\n  "servers": {\n    "a": {"x": 1} // } "shop": {\n    /* end */\n  }\n}'

    assert added("jsonc", text, ("servers",)) == snapshot(
        '{\n  "servers": {\n    "a": {"x": 1}, // } "shop": {\n    "shop": {\n      "type": "http",\n'
        '      "url": "http://127.0.0.1:9/mcp"\n    }\n    /* end */\n  }\n}'
    )


def test_a_scaffold_of_comments_alone_keeps_them() -> None:
    text = '{\n    "servers": {\n        // add your servers here\n    }\n}\n'

    assert added("jsonc", text, ("servers",), {"url": "u"}) == snapshot(
        '{\n    "servers": {\n        // add your servers here\n        "shop": {\n'
        '            "url": "u"\n        }\n    }\n}\n'
    )


def test_a_file_on_one_line_stays_on_one_line() -> None:
    assert added("json", '{"mcpServers":{"a":{"b":[]}}}', ("mcpServers",)) == snapshot(
        '{"mcpServers":{"a":{"b":[]},"shop":{"type":"http","url":"http://127.0.0.1:9/mcp"}}}'
    )
    assert added("json", '{"x": 1}', ("mcpServers",), {"url": "u"}) == '{"x": 1, "mcpServers": {"shop": {"url": "u"}}}'


def test_amp_has_a_dot_in_its_key_that_leads_nowhere() -> None:
    text = '{\n  "amp": {"mcpServers": {"not": "this"}},\n  "amp.mcpServers": {}\n}\n'

    after = added("jsonc", text, ("amp.mcpServers",), {"url": "u"})

    assert edit.read("jsonc", after) == {
        "amp": {"mcpServers": {"not": "this"}},
        "amp.mcpServers": {"shop": {"url": "u"}},
    }


def test_opencode_in_its_second_version_holds_servers_one_level_deeper() -> None:
    text = '{\n  "$schema": "s",\n  "mcp": {\n    "servers": {},\n    "timeout": 5\n  }\n}\n'

    after = added("jsonc", text, ("mcp", "servers"), {"type": "remote", "url": "u"})

    assert edit.read("jsonc", after)["mcp"] == {"servers": {"shop": {"type": "remote", "url": "u"}}, "timeout": 5}


def test_jan_keeps_the_fields_it_adds_itself() -> None:
    text = (
        '{\n  "mcpServers": {\n    "shop": {\n      "command": "old",\n      "args": [],\n'
        '      "active": true\n    }\n  }\n}\n'
    )

    after = edit.put(
        "json",
        text,
        ("mcpServers",),
        "shop",
        {"command": "new", "args": ["a"], "env": {}},
        owned=[("command",), ("args",)],
    )

    assert edit.read("json", after)["mcpServers"]["shop"] == {
        "command": "new",
        "args": ["a"],
        "active": True,
        "env": {},
    }


def test_codex_gets_a_table_among_its_tables() -> None:
    text = (
        'model = "gpt"\n\n[mcp_servers.docs] # mine\ncommand = "npx"\n\n[mcp_servers.docs.env]\n'
        'A = "b"\n\n[tui]\nx = 1\n'
    )

    assert added("toml", text, ("mcp_servers",), {"url": "u", "http_headers": {"Authorization": "x"}}) == snapshot(
        'model = "gpt"\n\n[mcp_servers.docs] # mine\ncommand = "npx"\n\n[mcp_servers.docs.env]\n'
        'A = "b"\n\n[mcp_servers.shop]\n'
        'url = "u"\nhttp_headers = { Authorization = "x" }\n\n[tui]\nx = 1\n'
    )


@pytest.mark.parametrize("text", ["mcp_servers = {}\n", "x = 1\nmcp_servers = { a = { url = 'x' } } # inline\n", ""])
def test_codex_with_an_inline_table_stays_inline(text: str) -> None:
    after = added("toml", text, ("mcp_servers",))

    assert edit.read("toml", after)["mcp_servers"]["shop"] == HTTP


def test_codex_fields_in_a_table_of_their_own_are_updated_there() -> None:
    text = (
        '[mcp_servers.shop]\nurl = "old"\nenabled = false # mine\n\n[mcp_servers.shop.http_headers]\n'
        'Authorization = "old"\nX = "mine"\n'
    )

    after = edit.put("toml", text, ("mcp_servers",), "shop", {"url": "new", "http_headers": {"Authorization": "new"}})

    assert after == text.replace('"old"', '"new"')


def test_vibe_gets_an_item_in_its_array_of_tables() -> None:
    text = '[[mcp_servers]]\nname = "a"\n\n[mcp_servers.env]\nA = "b"\n# end of a\n\n[tools]\nx = 1\n'

    assert added("toml", text, ("mcp_servers",), {"transport": "http", "url": "u"}, container="array") == snapshot(
        '[[mcp_servers]]\nname = "a"\n\n[mcp_servers.env]\nA = "b"\n# end of a\n\n[[mcp_servers]]\nname = "shop"\n'
        'transport = "http"\nurl = "u"\n\n[tools]\nx = 1\n'
    )


def test_vibe_with_its_empty_list_gets_the_list_back() -> None:
    text = "mcp_servers = [] # none\nx = 1\n"

    after = added("toml", text, ("mcp_servers",), {"url": "u"}, container="array")

    assert after == 'mcp_servers = [{ name = "shop", url = "u" }] # none\nx = 1\n'


def test_continue_gets_an_item_in_its_list() -> None:
    text = "name: Local\nmcpServers:\n  # mine\n  - name: a\n    command: npx # c\n\nrules: []\n"

    assert added("yaml", text, ("mcpServers",), {"type": "streamable-http", "url": "u"}, container="array") == snapshot(
        "name: Local\nmcpServers:\n  # mine\n  - name: a\n    command: npx # c\n  - name: shop\n"
        "    type: streamable-http\n"
        "    url: u\n\nrules: []\n"
    )


def test_continue_with_items_at_the_margin_stays_there() -> None:
    text = "mcpServers:\n- name: a\n  url: x"

    assert added("yaml", text, ("mcpServers",), {"url": "u"}, container="array") == (
        "mcpServers:\n- name: a\n  url: x\n- name: shop\n  url: u"
    )


def test_goose_keeps_its_bundled_extensions() -> None:
    text = (
        "GOOSE_MODEL: x\nextensions:\n  developer:\n    bundled: true\n    display_name: 'Developer'\n"
        "    enabled: true\n    type: builtin\nGOOSE_MODE: auto\n"
    )

    assert added("yaml", text, ("extensions",), {"name": "shop", "type": "streamable_http", "uri": "u"}) == snapshot(
        "GOOSE_MODEL: x\nextensions:\n  developer:\n    bundled: true\n    display_name: 'Developer'\n"
        "    enabled: true\n"
        "    type: builtin\n  shop:\n    name: shop\n    type: streamable_http\n    uri: u\nGOOSE_MODE: auto\n"
    )


@pytest.mark.parametrize(
    "text", ["y", "No", "on", "~", "1e3", "0x1", "", "a: b", "x #y", "- a", "@a", "12:30:45", "null", "é\x85"]
)
def test_yaml_that_looks_like_something_else_is_quoted(text: str) -> None:
    after = added("yaml", "a: 1\n", ("m",), {"value": text, text or "key": "v"})

    assert edit.read("yaml", after)["m"]["shop"] == {"value": text, text or "key": "v"}
    assert f"value: {text}\n" not in after


def test_anchors_elsewhere_are_left_alone() -> None:
    text = "defaults: &d\n  a: 1\nuse:\n  <<: *d\n  b: 2\nmcpServers:\n  x: {}\n"

    assert added("yaml", text, ("mcpServers",)).startswith(text)


@pytest.mark.parametrize(
    ("fmt", "text", "container", "said"),
    [
        ("json", '{"m": []}', "map", "`m` is not a mapping"),
        ("json", '{"m": "x"}', "map", "`m` is not a mapping"),
        ("json", '{"m": {}}', "array", "`m` is not a list"),
        ("json", '{"m": [{"name": "shop"}, {"name": "shop"}]}', "array", "two entries"),
        ("toml", "m = [1]\n", "map", "`m` is not a mapping"),
        ("toml", "[[m]]\nname = 'x'\n", "map", "`m` is not a mapping"),
        ("toml", "m = { a.b = 1, shop.url = 2 }\n", "map", "dotted keys"),
        ("yaml", "x: &a {}\nm: *a\n", "map", "shared"),
        ("yaml", "m: &a\n  b: 1\nx: *a\n", "map", "shared"),
        ("yaml", "x: &a {b: 1}\nm:\n  <<: *a\n  c: 2\n", "map", "shared"),
        ("yaml", "? m\n: {}\n", "map", "`?` key"),
        ("yaml", "m:\n  - 1\n", "map", "`m` is not a mapping"),
    ],
)
def test_a_place_that_cannot_be_edited_is_refused(fmt: Format, text: str, container: Any, said: str) -> None:
    with pytest.raises(EditFailed, match=said):
        edit.put(fmt, text, ("m",), "shop", {"url": "u"}, container=container)


@pytest.mark.parametrize(
    ("fmt", "text", "strict", "line", "column", "said"),
    [
        ("json", '{\n  "a": 1 // c\n}', True, 2, 10, "a comment"),
        ("json", "// c\n", True, 1, 1, "a comment"),
        ("json", '{\n  "a": 1,\n}', True, 3, 1, "a comma"),
        ("jsonc", '{\n  // c\n  "a": [1 ,],\n}', "commas", 3, 11, "a comma"),
        ("jsonc", '{"a": 1, "b": {"c": 1,\n "c": 2}}', False, 2, 2, "`c` stands twice"),
        ("jsonc", '{"a": 1, "\\u0061": 2}', False, 1, 10, "`a` stands twice"),
        ("jsonc", '{"a": 1,, }', False, 1, 9, "not JSON"),
        ("jsonc", "[,]", False, 1, 2, "not JSON"),
        ("jsonc", '{"a": /* ', False, 1, 7, "not JSON"),
        ("jsonc", "{a: 1}", False, 1, 2, "not JSON"),
        ("jsonc", "{'a': 1}", False, 1, 2, "not JSON"),
        ("jsonc", '{"a": NaN}', False, 1, 1, "NaN"),
        ("jsonc", '{"a": 01}', False, 1, 8, "not JSON"),
        ("jsonc", "{} {}", False, 1, 4, "not JSON"),
        ("jsonc", "[" * 100_000, False, 1, 1, "nested too deeply"),
        ("jsonc", "[]", False, 1, 1, "must hold a mapping"),
        ("jsonc", "null", False, 1, 1, "not `null`"),
        ("jsonc", '{"a": ' + "1" * 5000 + "}", False, 1, 1, "a number"),
        ("toml", "a = 1\na = 2", False, 2, 6, "not TOML"),
        ("toml", "a = ", False, 1, 5, "not TOML"),
        ("yaml", "a: 1\na: 2\n", False, 2, 1, "`a` stands twice"),
        ("yaml", "a: 1\n---\nb: 2\n", False, 2, 1, "second document"),
        ("yaml", "a:\n\t- 1\n", False, 2, 1, "not YAML"),
        ("yaml", "- a\n", False, 1, 1, "must hold a mapping"),
        ("yaml", "a: *b\n", False, 1, 4, "no anchor"),
        ("yaml", "a: x\u2028b\n", False, 1, 5, "line end"),
        ("yaml", "[a]: 1\n", False, 1, 1, "a key must be text"),
        ("yaml", "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(7)
        ), False, 6, 4, "aliases"),
        ("yaml", "[" * 5000, False, 1, 102, "nested deeper"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_the_place(  # noqa: PLR0917
    fmt: Format, text: str, strict: Any, line: int, column: int, said: str
) -> None:
    with pytest.raises(Unreadable, match=said) as caught:
        edit.put(fmt, text, ("m",), "shop", {"url": "u"}, strict=strict)

    assert (caught.value.line, caught.value.column) == (line, column)


def test_what_somebody_else_added_to_our_container_keeps_it() -> None:
    undo = edit.undo("json", "{}", ("mcpServers",))
    text = edit.put("json", edit.put("json", "{}", ("mcpServers",), "shop", HTTP), ("mcpServers",), "theirs", HTTP)

    assert edit.read("json", edit.remove("json", text, ("mcpServers",), "shop", undo=undo)) == {
        "mcpServers": {"theirs": HTTP}
    }


def test_several_pieces_of_one_file_are_taken_back_in_the_reverse_order() -> None:
    for text in ("", "{}\n", '{\n\t"servers": {},\n\t"inputs": []\n}', '{"inputs": [{"id": "x"}]}', "// c\n"):
        first = edit.undo("jsonc", text, ("servers",))
        one = edit.put("jsonc", text, ("servers",), "shop", HTTP)
        second = edit.undo("jsonc", one, ("inputs",))
        two = edit.put("jsonc", one, ("inputs",), "tok", {"password": True}, container="array", identifier="id")

        back = edit.remove("jsonc", two, ("inputs",), "tok", container="array", identifier="id", undo=second)

        assert back == one
        assert edit.remove("jsonc", back, ("servers",), "shop", undo=first) == text


def test_keys_that_a_new_file_needs_go_with_it_unless_the_user_changed_them() -> None:
    for fmt in ("json", "toml", "yaml"):
        undo = edit.undo(fmt, "", ("m",), root={"version": 1})  # type: ignore[arg-type]
        text = edit.put(fmt, "", ("m",), "shop", HTTP, root={"version": 1})  # type: ignore[arg-type]
        changed = text.replace("1", "2", 1)
        rest = edit.remove(fmt, changed, ("m",), "shop", undo=undo)  # type: ignore[arg-type]

        assert edit.read(fmt, text)["version"] == 1  # type: ignore[arg-type]
        assert edit.remove(fmt, text, ("m",), "shop", undo=undo) == ""  # type: ignore[arg-type]
        assert edit.read(fmt, rest) == {"version": 2}  # type: ignore[arg-type]


def test_a_megabyte_is_edited_in_a_tenth_of_a_second() -> None:
    projects = {
        f"/p{n}": {"history": [{"display": f"fix {n}", "pasted": {}}] * 50, "mcpServers": {}} for n in range(330)
    }
    text = json.dumps({"n": 1, "mcpServers": {"a": HTTP}, "projects": projects}, indent=2)
    assert len(text) > 1_000_000

    best = min(_seconds(text) for _ in range(5))

    assert best < 0.1


def _seconds(text: str) -> float:
    """Of the processor, not of the clock: others run on this machine too."""
    start = time.process_time()
    edit.put("json", text, ("mcpServers",), "shop", HTTP, strict=True)
    return time.process_time() - start
