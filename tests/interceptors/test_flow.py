"""What was read from private or untrusted sources does not reach public sinks."""

from __future__ import annotations

from typing import Any

import pytest

from harness.exchanges import before, built_in, call, session
from mcpcompose.interceptors.base import TO_CLIENT, AskPerson, Refuse
from mcpcompose.interceptors.sessions import GovernedSessions

SOURCES = [
    {"server": "github", "tools": ["get_issue"], "labels": ["untrusted"]},
    {"server": "github", "tools": ["get_file"], "labels": ["private"]},
]
SINKS = [{"server": "github", "tools": ["create_*"], "labels": ["public"]}]


def flow(**keys: Any) -> Any:
    return built_in("flow", **{"sources": SOURCES, "sinks": SINKS, **keys})


@pytest.mark.parametrize("read", ["get_issue", "get_file"])
def test_a_public_sink_is_closed_once_something_private_or_untrusted_was_read(read: str) -> None:
    one, who = flow(), session()
    assert before(one, call("create_issue", session=who)) is None
    assert before(one, call(read, session=who)) is None
    refused = before(one, call("create_issue", session=who))
    assert isinstance(refused, Refuse)
    assert read in refused.message
    assert refused.rule == ("untrusted-to-public" if read == "get_issue" else "private-to-public")
    assert before(one, call("get_file", session=who)) is None


def test_all_labels_of_a_rule_must_have_been_read() -> None:
    one, who = flow(forbid=[{"after": ["private", "untrusted"], "to": "public"}]), session()
    before(one, call("get_issue", session=who))
    assert before(one, call("create_issue", session=who)) is None
    before(one, call("get_file", session=who))
    assert isinstance(before(one, call("create_issue", session=who)), Refuse)


def test_labels_of_ones_own_and_whole_servers() -> None:
    one = flow(
        sources=[{"server": "crm*", "labels": ["customer"]}],
        sinks=[{"server": "mail", "labels": ["outside"]}],
        forbid=[{"after": ["customer"], "to": "outside"}],
    )
    for method in ("tools/call", "resources/read", "prompts/get", "completion/complete"):
        who = session()
        before(one, call(server="crm-eu", method=method, session=who))
        assert isinstance(before(one, call("send", server="mail", session=who)), Refuse), method
    who = session()
    before(one, call(server="crm-eu", session=who))
    assert isinstance(before(one, call(server="mail", method="resources/read", session=who)), Refuse)


def test_the_sampling_question_of_a_labelled_server_is_a_source_and_its_answer_a_sink() -> None:
    one = flow(sources=[{"server": "web", "labels": ["untrusted"]}], sinks=[{"server": "web", "labels": ["public"]}])
    question: dict[str, Any] = {
        "server": "web",
        "method": "sampling/createMessage",
        "direction": TO_CLIENT,
        "params": {},
    }
    who = session()
    assert before(one, call(**question, session=who)) is None
    assert who.has("untrusted")
    assert isinstance(before(one, call(**question, session=who)), Refuse)
    form = {**question, "method": "elicitation/create"}
    assert before(one, call(**form, session=who)) is None


@pytest.mark.parametrize(
    ("hints", "labels", "is_sink"),
    [
        ({"openWorldHint": True}, {"untrusted"}, True),
        ({"openWorldHint": True, "readOnlyHint": True}, {"untrusted"}, False),
        ({"openWorldHint": False}, set(), False),
        ({}, set(), False),
        ({"openWorldHint": "yes"}, set(), False),
    ],
)
def test_hints_label_tools_that_the_file_does_not_name(hints: dict[str, Any], labels: set[str], is_sink: bool) -> None:
    one, who = flow(), session()
    exchange = call("fetch", server="web", tool={"name": "fetch", "annotations": hints}, session=who)
    assert before(one, exchange) is None
    assert set(who.labels) == labels
    who.label("private", "x")
    assert isinstance(before(one, exchange), Refuse) is is_sink


def test_what_the_file_says_of_a_tool_counts_in_place_of_its_hints() -> None:
    one, who = flow(), session()
    who.label("private", "x")
    tool = {"name": "get_file", "annotations": {"openWorldHint": True}}
    assert before(one, call("get_file", tool=tool, session=who)) is None
    assert "untrusted" not in who.labels


def test_a_refused_sink_reads_nothing() -> None:
    one = flow(sources=[{"server": "web", "labels": ["untrusted"]}], sinks=[{"server": "web", "labels": ["public"]}])
    who = session()
    who.label("private", "x")
    assert isinstance(before(one, call("fetch", server="web", session=who)), Refuse)
    assert set(who.labels) == {"private"}


def test_with_ask_a_yes_lets_one_pass_and_what_it_reads_counts() -> None:
    one = flow(
        action="ask",
        sources=[{"server": "web", "labels": ["untrusted"]}],
        sinks=[{"server": "web", "labels": ["public"]}],
    )
    who = session()
    who.label("private", "github/get_file")
    asked = before(one, call("fetch", server="web", session=who))
    assert isinstance(asked, AskPerson)
    assert "github/get_file" in asked.question
    assert set(who.labels) == {"private"}
    assert asked.accepted is not None
    asked.accepted()
    assert set(who.labels) == {"private", "untrusted"}


def test_a_client_without_a_token_has_what_anybody_has_read() -> None:
    one, sessions = flow(), GovernedSessions()
    before(one, call("get_file", session=sessions.of("cursor")))
    assert isinstance(before(one, call("create_issue", session=sessions.of(None), has_token=False)), Refuse)
    assert before(one, call("create_issue", session=sessions.of("zed"))) is None
