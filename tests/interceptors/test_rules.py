"""Rules in the Common Expression Language: in order, and on the safe side where they have no value."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from harness.exchanges import before, built_in, call, session, texts, with_result
from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import TO_CLIENT, AskPerson, Refuse, Warn
from mcpcompose.interceptors.expression import LONGEST, Expression, ExpressionError
from mcpcompose.interceptors.rules import NAMES


def rules(*items: dict[str, str], **keys: Any) -> Any:
    return built_in("rules", rules=list(items), **keys)


def test_the_first_rule_that_decides_decides() -> None:
    one = rules(
        {"allow": "arguments.owner == 'acme'"},
        {"deny": "name.startsWith('delete_')", "message": "ask the platform team"},
        {"ask": "name == 'merge'"},
    )
    assert before(one, call("delete_repo", {"owner": "acme"})) is None
    assert before(one, call("delete_repo", {"owner": "x"})) == Refuse("ask the platform team", "rule-2")
    assert isinstance(before(one, call("merge", {"owner": "x"})), AskPerson)
    assert before(one, call("get", {"owner": "x"})) is None


@pytest.mark.parametrize(
    "arguments", [{}, {"amount": "7"}, {"amount": None}, {"amount": [1]}, {"amount": 10**30}, {"amount": {"x": 1}}]
)
def test_a_rule_without_a_value_is_on_the_safe_side(arguments: dict[str, Any]) -> None:
    exchange = call("pay", arguments)
    assert isinstance(before(rules({"deny": "arguments.amount > 100"}), exchange), Refuse)
    assert isinstance(before(rules({"ask": "arguments.amount > 100"}), exchange), AskPerson)
    second = rules({"allow": "arguments.amount < 100"}, {"deny": "true"})
    assert isinstance(before(second, exchange), Refuse)


def test_what_is_neither_true_nor_false_has_no_value() -> None:
    assert isinstance(before(rules({"deny": "name"}), call("x")), Refuse)


def test_a_hint_that_a_tool_does_not_give_counts_as_its_default() -> None:
    one = rules({"deny": "tool.annotations.destructiveHint && profile == 'marketing'"})
    assert isinstance(before(one, call(profile="marketing", tool={"name": "x"})), Refuse)
    assert isinstance(before(one, call(profile="marketing", tool=None)), Refuse)
    tame = {"name": "x", "annotations": {"destructiveHint": False}}
    assert before(one, call(profile="marketing", tool=tame)) is None
    assert before(one, call(profile="default", tool={"name": "x"})) is None
    odd = {"name": "x", "annotations": {"destructiveHint": "false"}}
    assert isinstance(before(one, call(profile="marketing", tool=odd)), Refuse)
    assert before(one, call(profile="marketing", method="resources/read")) is None


def test_rules_know_the_request_and_the_session() -> None:
    who = session()
    who.label("private", "github/get_file")
    who.pin("session-pin github", "acme/site")
    for text in (
        "server == 'github' && name == 'get_issue' && method == 'tools/call' && direction == 'to_server'",
        "client == 'cursor' && profile == 'default'",
        "'private' in session.labels && session.pins['session-pin github'] == 'acme/site'",
        "params.arguments.n == 1 && has(arguments.n) && !has(arguments.m)",
        "arguments.list.all(one, one.matches('^[a-z]+$'))",
    ):
        exchange = call("get_issue", {"n": 1, "list": ["a", "b"]}, session=who)
        assert isinstance(before(rules({"deny": text}), exchange), Refuse), text
        assert before(rules({"deny": f"!({text})"}), exchange) is None, text


def test_rules_about_the_result_are_asked_after_the_call() -> None:
    one = rules({"allow": "name == 'trusted'"}, {"deny": "result.content.exists(c, c.text.contains('BEGIN RSA'))"})
    exchange = call()
    assert before(one, exchange) is None
    assert one.after(with_result(exchange, texts("fine"))) is None
    assert isinstance(one.after(with_result(exchange, texts("-----BEGIN RSA PRIVATE KEY-----"))), Refuse)
    trusted = call("trusted")
    assert before(one, trusted) is None
    assert one.after(with_result(trusted, texts("BEGIN RSA"))) is None


def test_a_warning_is_kept_when_nothing_else_decides() -> None:
    one = rules({"warn": "true", "message": "odd"}, {"deny": "name == 'x'"})
    assert before(one, call("y")) == Warn("odd", "rule-1")
    assert isinstance(before(one, call("x")), Refuse)


def test_notifications_are_judged_only_when_they_are_named() -> None:
    note: dict[str, Any] = {"method": "notifications/message", "direction": TO_CLIENT, "params": {"level": "info"}}
    assert before(rules({"deny": "true"}), call(**note)) is None
    named = rules({"deny": "true"}, match={"methods": ["notifications/*"]})
    assert isinstance(before(named, call(**note)), Refuse)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'x'", "cannot be read"),
        ("nmae == 'x'", "no `nmae`"),
        ("name.lower() == 'x'", "no function `lower`"),
        ("(" * 500 + "true", "cannot be read"),
        ("name == '" + "x" * LONGEST + "'", "at most"),
        ("arguments.x.all(y, nope > 1)", "no `nope`"),
        ("// nothing", "cannot be read"),
    ],
)
def test_a_mistake_is_seen_before_any_request(text: str, said: str) -> None:
    with pytest.raises(McpComposeError, match=said) as caught:
        rules({"deny": "true"}, {"deny": text})
    assert caught.value.message.startswith("rule 2")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("profile == 'a' and name == 'b'", "from `and name == 'b'` on (character 16)", "`&&`"),
        ("not has(arguments.x)", "from `has(arguments.x)` on (character 5)", "`!`"),
        ("name = 'x'", "from `= 'x'` on (character 6)", "`==`"),
        ("name == 'x'\n  && name === 'y'", "from `= 'y'` on (line 2, character 13)", "`==`"),
        ("name == 'x", "from `'x` on (character 9)", "quotation mark"),
        ("arguments.amount >", "it ends too early", "arguments.amount > 100"),
        ("arguments.x ? 1", "it ends too early", "arguments.amount > 100"),
        ("", "it ends too early", "arguments.amount > 100"),
        ("has(name)", "from `name)` on (character 5)", "has(arguments.amount)"),
        ("(" * 500 + "true", "more than 96 levels", "arguments.amount > 100"),
        ("name.lower() == 'x'", "no function `lower`", "startsWith"),
    ],
)
def test_a_mistake_says_where_it_is_and_what_to_write(text: str, said: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text, NAMES)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "<input>" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        {"l": list(range(2_000)), "t": ""},
        {"l": [[0]] * 1_000_000, "t": ""},
        {"l": [], "t": "a" * 1_000_000 + "!"},
    ],
    ids=["squares", "a million", "a long text"],
)
def test_no_request_makes_a_rule_expensive(arguments: dict[str, Any]) -> None:
    one = rules(
        {"deny": "arguments.l.exists(x, arguments.l.exists(y, x == y + 1000000)) || arguments.t.matches('(a+)+$')"}
    )
    since = time.process_time()
    assert isinstance(before(one, call(arguments=arguments)), Refuse) is bool(arguments["l"])
    assert time.process_time() - since < 1.0


def test_macros_beside_one_another_do_not_multiply() -> None:
    expression = Expression(" && ".join(f"l.all(x{at}, x{at} > 0)" for at in range(8)), frozenset({"l"}))
    assert expression.holds({"l": list(range(1, 1000))}) is True
    nested = Expression("l.all(x, l.all(y, l.all( z, x + y + z > 0)))", frozenset({"l"}))
    assert nested.holds({"l": [1] * 30}) is True
    with pytest.raises(ExpressionError, match="too large"):
        nested.holds({"l": [1] * 100})


def test_the_library_comes_without_its_command_line() -> None:
    Expression("true", frozenset())
    assert "cel" not in sys.modules
    assert "prompt_toolkit" not in sys.modules


def test_a_rule_can_ask_for_the_type_of_a_value() -> None:
    one = rules({"deny": "arguments.exists(k, type(arguments[k]) == string && arguments[k].contains('..'))"})
    assert before(one, call("read", {"path": "a/b", "lines": 3, "more": ["x"]})) is None
    assert isinstance(before(one, call("read", {"lines": 3, "path": "../b"})), Refuse)
