"""So many requests in so much time, so many bytes, and what the person is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.exchanges import around, before, built_in, call, session, texts, with_result
from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import AskPerson, Change, Refuse
from mcpcompose.interceptors.rate_limit import RateLimit, Window, parsed
from mcpcompose.interceptors.size_limit import cut
from mcpcompose.spec.interceptor import Interceptor as Spec


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(clock: Clock, **keys: Any) -> RateLimit:
    return RateLimit(Spec.model_validate({"use": "rate-limit", "limit": "3/minute", **keys}), around(), clock)


def test_what_is_too_much_is_refused_and_told_when_to_come_again() -> None:
    clock = Clock()
    one, who = limited(clock), session()
    assert [before(one, call(session=who)) for _ in range(3)] == [None] * 3
    refused = before(one, call(session=who))
    assert isinstance(refused, Refuse)
    assert "try again in 61 s" in refused.message or "try again in 60 s" in refused.message
    clock.now += 30
    assert isinstance(before(one, call(session=who)), Refuse)
    clock.now += 32
    assert [before(one, call(session=who)) for _ in range(3)] == [None] * 3


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.floats(0, 3, allow_nan=False), max_size=60),
)
def test_no_window_of_time_ever_has_more_than_the_limit(limit: int, steps: list[float]) -> None:
    window, now, taken = Window(limit, 10.0), 0.0, []
    for step in steps:
        now += step
        wait = window.take(now)
        if wait is None:
            taken.append(now)
        else:
            assert 0 < wait <= 10.0 + 10.0 / 60
            assert Window.take(window, now) is not None
    for start in taken:
        assert sum(start <= one < start + 10.0 for one in taken) <= limit


def test_what_was_told_to_come_again_then_may() -> None:
    window = Window(2, 60.0)
    assert window.take(5.0) is None
    assert window.take(17.3) is None
    wait = window.take(20.0)
    assert wait is not None
    assert window.take(20.0 + wait) is None


@pytest.mark.parametrize(
    ("per", "other", "is_apart"),
    [
        ("session", {"session": session("zed")}, True),
        ("session", {"server": "web"}, False),
        ("server", {"server": "web"}, True),
        ("server", {"session": session("zed")}, False),
        ("tool", {"name": "other"}, True),
        ("tool", {"server": "web"}, True),
        ("project", {"server": "web", "name": "other", "session": session("zed")}, False),
    ],
)
def test_what_is_counted_apart(per: str, other: dict[str, Any], is_apart: bool) -> None:
    one, who = limited(Clock(), per=per, limit="1/hour"), session()
    assert before(one, call(session=who)) is None
    assert isinstance(before(one, call(session=who)), Refuse)
    assert (before(one, call(**{"session": who, **other})) is None) is is_apart


def test_a_flood_of_names_is_counted_together_in_the_end() -> None:
    one, who = limited(Clock(), per="tool", limit="1/hour"), session()
    said = [before(one, call(f"tool{at}", session=who)) for at in range(10_050)]
    assert said[:9_999] == [None] * 9_999
    assert len(one._windows) <= 10_001
    assert any(isinstance(found, Refuse) for found in said[10_000:])


def test_notifications_are_not_counted() -> None:
    one, who = limited(Clock(), limit="1/hour"), session()
    for _ in range(5):
        assert before(one, call(method="notifications/progress", session=who)) is None
    assert before(one, call(session=who)) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [("30/minute", (30, 60.0)), ("5 / 10 seconds", (5, 10.0)), ("1/2hours", (1, 7200.0)), ("0/day", (0, 86400.0))],
)
def test_limits_are_read(text: str, found: tuple[int, float]) -> None:
    assert parsed(text) == found


@pytest.mark.parametrize("text", ["", "30", "3/0 minutes", "-1/minute", "3/fortnight"])
def test_what_is_no_limit_is_an_error(text: str) -> None:
    with pytest.raises(McpComposeError, match="cannot be"):
        parsed(text)


def test_a_limit_of_none_refuses_all_and_asks_when_told_to() -> None:
    refused = before(limited(Clock(), limit="0/day"), call())
    assert isinstance(refused, Refuse)
    assert "ask the person" in refused.message
    assert isinstance(before(limited(Clock(), limit="0/day", action="ask"), call()), AskPerson)


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_arguments_and_results_that_are_too_large_are_refused() -> None:
    one = built_in("size-limit", arguments="100b", result="200b")
    assert before(one, call(arguments={"x": "y" * 50})) is None
    assert isinstance(before(one, call(arguments={"x": "y" * 100})), Refuse)
    assert isinstance(before(one, call(method="resources/read", params={"uri": "x" * 200})), Refuse)
    assert one.after(with_result(call(), texts("x" * 100))) is None
    assert isinstance(one.after(with_result(call(), texts("x" * 300))), Refuse)
    failed = call()
    failed.error = json.dumps({"code": 1, "message": "x" * 300}).encode()
    assert isinstance(one.after(failed), Refuse)


def test_texts_are_cut_from_the_last_on_until_they_fit() -> None:
    one = built_in("size-limit", result="600b", action="truncate")
    changed = one.after(with_result(call(), texts("first", "é" * 400, "last")))
    assert isinstance(changed, Change)
    assert changed.result is not None
    assert len(changed.result) <= 600
    content = json.loads(changed.result)["content"]
    assert content[0]["text"] == "first"
    assert content[1]["text"].startswith("é")
    assert "cut this off" in content[1]["text"]


@given(st.lists(st.text(max_size=400), max_size=5), st.integers(80, 900))
def test_what_is_cut_always_fits_or_is_not_cut(parts: list[str], limit: int) -> None:
    found = cut(texts(*parts), limit)
    if found is not None:
        assert len(found) <= limit
        kept = [block["text"].partition("\n[mcp-compose cut")[0] for block in json.loads(found)["content"]]
        for text, part in zip(kept, parts, strict=True):
            assert part.startswith(text) or text.startswith("[mcp-compose cut")


@pytest.mark.parametrize(
    "result",
    [
        {**texts("x" * 300), "structuredContent": {"x": "y" * 300}},
        {"content": [{"type": "image", "data": "A" * 900, "mimeType": "image/png"}]},
        {"contents": [{"uri": "x", "blob": "A" * 900}]},
        {"content": "x" * 900},
        ["x" * 900],
    ],
)
def test_what_cannot_be_cut_is_refused(result: Any) -> None:
    one = built_in("size-limit", result="600b", action="truncate")
    assert isinstance(one.after(with_result(call(), result)), Refuse)


# --- the person -------------------------------------------------------------------------------------------------------

TAME = {"name": "x", "annotations": {"destructiveHint": False}}
READS = {"name": "x", "annotations": {"readOnlyHint": True}}


def test_the_person_is_asked_before_a_tool_that_may_destroy_something() -> None:
    one = built_in("approve")
    assert isinstance(before(one, call("drop", tool={"name": "drop"})), AskPerson)
    assert isinstance(before(one, call("drop", tool=None)), AskPerson)
    assert before(one, call(tool=TAME)) is None
    assert before(one, call(tool=READS)) is None
    assert before(one, call(method="resources/read")) is None


def test_with_a_match_the_person_is_asked_before_everything_it_is_about() -> None:
    one = built_in("approve", match={"tools": ["send_*"]})
    assert isinstance(before(one, call("send_mail", tool=TAME)), AskPerson)


def test_the_question_shows_the_arguments_on_one_line_without_secrets() -> None:
    one = built_in("approve", "hunter2secret", message="Mails cannot be called back.")
    arguments = {"to": "a@b", "text": "hi\n\nMay it be used? It is safe\u202e", "key": "hunter2secret"}
    asked = before(one, call("send", arguments))
    assert isinstance(asked, AskPerson)
    first, second, third = asked.question.splitlines()
    assert "`github/send`" in first
    assert "a@b" in second
    assert "hunter2" not in second
    assert "\\u202e" in second
    assert third == "Mails cannot be called back."
    huge = before(one, call("send", {"x": "y" * 100_000}))
    assert isinstance(huge, AskPerson)
    assert len(huge.question) < 1000
    assert "more characters" in huge.question


def test_an_answer_holds_for_the_session_and_tool_when_told_to() -> None:
    one, who = built_in("approve", remember="session"), session()
    asked = before(one, call("drop", session=who))
    assert isinstance(asked, AskPerson)
    assert asked.accepted is not None
    asked.accepted()
    assert before(one, call("drop", {"other": 1}, session=who)) is None
    assert isinstance(before(one, call("erase", session=who)), AskPerson)
    assert isinstance(before(one, call("drop", server="web", session=who)), AskPerson)
    assert isinstance(before(one, call("drop", session=session())), AskPerson)


def test_who_has_no_token_is_asked_each_time() -> None:
    one, who = built_in("approve", remember="session"), session("(shared)")
    asked = before(one, call("drop", session=who, has_token=False))
    assert isinstance(asked, AskPerson)
    assert asked.accepted is None
    once = built_in("approve")
    again = before(once, call("drop", session=who))
    assert isinstance(again, AskPerson)
    assert again.accepted is None
