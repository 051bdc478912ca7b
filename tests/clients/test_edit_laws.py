"""What must hold of every edit of every file: hypothesis writes the files."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.documents import KEY, Document, entries, json_documents, toml_documents, yaml_documents
from mcpcompose.clients import edit
from mcpcompose.clients.edit import Container, EditFailed, Format, Unreadable

EXAMPLES = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
OURS = "mcp-compose"

Case = tuple[Format, bool, Container, Document]


def cases() -> st.SearchStrategy[Case]:
    return st.one_of(
        st.tuples(st.just("json"), st.just(True), st.just("map"), json_documents(comments=False)),
        st.tuples(st.just("jsonc"), st.just(False), st.just("map"), json_documents(comments=True)),
        st.tuples(st.just("toml"), st.just(False), st.just("map"), toml_documents(array=False)),
        st.tuples(st.just("toml"), st.just(False), st.just("array"), toml_documents(array=True)),
        st.tuples(st.just("yaml"), st.just(False), st.just("map"), yaml_documents(array=False)),
        st.tuples(st.just("yaml"), st.just(False), st.just("array"), yaml_documents(array=True)),
    )


def readable(case: Case) -> Case:
    fmt, strict, _, document = case
    try:
        edit.read(fmt, document.text, strict=strict)
    except Unreadable:
        assume(False)
    return case


def put(case: Case, text: str, entry: dict[str, Any], name: str = OURS, **more: Any) -> str:
    fmt, strict, container, _ = case
    return edit.put(fmt, text, (KEY,), name, entry, container=container, strict=strict, **more)


def remove(case: Case, text: str, name: str = OURS, **more: Any) -> str:
    fmt, strict, container, _ = case
    return edit.remove(fmt, text, (KEY,), name, container=container, strict=strict, **more)


def read_by_another(fmt: Format, text: str) -> Any:
    """What a parser that has nothing to do with the editor reads."""
    match fmt:
        case "json":
            return json.loads(text)
        case "jsonc":
            from json5.loader import loads

            return loads(text)
        case "toml":
            return tomllib.loads(text)
        case "yaml":
            return YAML(typ="safe", pure=True).load(text)


def held(value: Any) -> dict[str, Any]:
    """The servers by name."""
    servers = (value or {}).get(KEY) or {}
    return {item.get("name"): item for item in servers} if isinstance(servers, list) else dict(servers)


@EXAMPLES
@given(cases().map(readable), entries)
def test_an_entry_put_and_removed_leaves_the_file_byte_for_byte(case: Case, entry: dict[str, Any]) -> None:
    fmt, strict, _, document = case
    undo = edit.undo(fmt, document.text, (KEY,), strict=strict)

    assert remove(case, put(case, document.text, entry), undo=undo) == document.text


@EXAMPLES
@given(cases().map(readable), entries)
def test_nothing_changes_beside_the_entry(case: Case, entry: dict[str, Any]) -> None:
    fmt, strict, _, document = case
    before = document.text

    after = put(case, before, entry)

    undo = edit.undo(fmt, before, (KEY,), strict=strict)
    gone, come = middles(before, after)
    kept = gone.removeprefix((undo.was or "").strip()).strip()
    assert gone.strip() in (undo.was or "") or come.startswith((f",{gone}", kept))


def middles(before: str, after: str) -> tuple[str, str]:
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    end = next((at for at in range(shorter - start) if before[-1 - at] != after[-1 - at]), shorter - start)
    return before[start : len(before) - end], after[start : len(after) - end]


@EXAMPLES
@given(cases().map(readable), entries)
def test_another_parser_finds_the_entry_and_everything_else(case: Case, entry: dict[str, Any]) -> None:
    fmt, _, container, document = case
    is_blank = fmt == "jsonc" and "{" not in document.text
    before = {} if is_blank else read_by_another(fmt, document.text) or {}

    after = read_by_another(fmt, put(case, document.text, entry))

    ours = {"name": OURS, **entry} if container == "array" else entry
    assert held(after) == {**held(before), OURS: ours}
    assert {**after, KEY: None} == {**before, KEY: None}


@EXAMPLES
@given(cases().map(readable), entries)
def test_the_same_entry_again_changes_nothing(case: Case, entry: dict[str, Any]) -> None:
    once = put(case, case[3].text, entry)

    assert put(case, once, entry, owned=edit.fields(entry)) == once


@EXAMPLES
@given(cases().map(readable), entries, entries)
def test_an_update_has_the_new_fields_and_none_of_the_old(case: Case, old: dict[str, Any], new: dict[str, Any]) -> None:
    fmt, strict, container, document = case
    undo = edit.undo(fmt, document.text, (KEY,), strict=strict)
    once = put(case, document.text, old)

    text = put(case, once, new, owned=edit.fields(old))

    found = edit.entry(fmt, text, (KEY,), OURS, container, strict=strict)
    assert found == ({"name": OURS, **new} if container == "array" else new)
    assert remove(case, text, undo=undo) == document.text


@EXAMPLES
@given(cases().map(readable), entries, entries)
def test_what_the_user_added_to_our_entry_stays(case: Case, old: dict[str, Any], new: dict[str, Any]) -> None:
    fmt, strict, container, document = case
    theirs = put(case, document.text, {**old, "autoApprove": ["x"], "headers": {**old.get("headers", {}), "mine": "y"}})

    text = put(case, theirs, new, owned=edit.fields(old))

    found = edit.entry(fmt, text, (KEY,), OURS, container, strict=strict)
    assert found is not None
    assert (found["autoApprove"], found["headers"]["mine"]) == (["x"], "y")
    assert all(found[key] == value for key, value in new.items() if key != "headers")


@EXAMPLES
@given(cases().map(readable), entries, entries)
def test_a_neighbour_that_came_later_survives_the_removal(
    case: Case, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    fmt, strict, container, document = case
    undo = edit.undo(fmt, document.text, (KEY,), strict=strict)
    both = put(case, put(case, document.text, ours), theirs, "later")

    text = remove(case, both, undo=undo)

    assert held(edit.read(fmt, text, strict=strict)) == held(
        edit.read(fmt, put(case, document.text, theirs, "later"), strict=strict)
    )
    assert edit.entry(fmt, text, (KEY,), OURS, container, strict=strict) is None


SPOILERS = st.sampled_from(
    [*"{}[]\",:#/*\\\n\r\t -=.'&!|>?%@`~0a\x00\x7f\u2028\ufeff😀", "<<: *x", "[[", "\n---\n", "/*"]
)


@settings(parent=EXAMPLES, max_examples=200)
@given(cases(), entries, st.data())
def test_a_spoilt_file_is_refused_or_edited_rightly_and_nothing_else_happens(
    case: Case, entry: dict[str, Any], data: st.DataObject
) -> None:
    fmt, strict, container, document = case
    text = document.text
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(SPOILERS | st.just("")) + text[at + cut :]
    spoilt = (fmt, strict, container, Document(text, None))

    try:
        undo = edit.undo(fmt, text, (KEY,), strict=strict)
        after = put(spoilt, text, entry)
    except (Unreadable, EditFailed):
        return

    assert edit.read(fmt, after, strict=strict)
    assert put(spoilt, after, entry) == after
    assert _back(spoilt, after, undo) in {text, None}


def _back(case: Case, text: str, undo: edit.Undo) -> str | None:
    try:
        return remove(case, text, undo=undo)
    except EditFailed:
        return None


@pytest.mark.parametrize("fmt", ["json", "jsonc", "toml", "yaml"])
@given(text=st.text(max_size=60))
def test_any_text_at_all_is_read_or_refused(fmt: Format, text: str) -> None:
    try:
        value = edit.read(fmt, text)
    except Unreadable as error:
        value, place = {}, (error.line, error.column)
    else:
        place = (1, 1)

    assert isinstance(value, dict)
    assert place >= (1, 1)
    assert place[0] <= text.count("\n") + text.count("\r") + 2
