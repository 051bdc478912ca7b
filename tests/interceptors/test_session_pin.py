"""The first key that a session touches is the only one, and nothing that is unclear counts as the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.exchanges import before, built_in, call, session
from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import TO_CLIENT, AskPerson, Refuse
from mcpcompose.interceptors.sessions import GovernedSessions

KEY = "{owner}/{repo}"
SITE = {"owner": "acme", "repo": "site"}
SECRET = {"owner": "acme", "repo": "secret"}


def pin(**keys: Any) -> Any:
    return built_in("session-pin", **{"key": KEY, "match": {"server": "github"}, **keys})


def test_the_first_repository_is_the_only_one() -> None:
    one, who = pin(), session()
    assert before(one, call(arguments=SITE, session=who)) is None
    assert before(one, call("create_issue", SITE, session=who)) is None
    refused = before(one, call("create_issue", SECRET, session=who))
    assert isinstance(refused, Refuse)
    assert refused.rule == "other-key"
    assert "acme/site" in refused.message
    assert "session reset cursor" in refused.message


def test_each_session_has_its_own() -> None:
    one = pin()
    assert before(one, call(arguments=SITE, session=session("a"))) is None
    assert before(one, call(arguments=SECRET, session=session("b"))) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"owner": "acme"},
        {"owner": "acme", "repo": ""},
        {"owner": "acme", "repo": None},
        {"owner": "acme", "repo": ["site"]},
        {"owner": "acme", "repo": {"name": "site"}},
        {"owner": "acme", "repo": True},
        {"owner": "acme", "repo": 1.5},
        {"owner": "acme", "repo": "site/../secret"},
        {"owner": "acme/site", "repo": "x"},
        {"owner": "acme", "repo": ".."},
        {"owner": "acme", "repo": "site?x"},
        {"owner": "acme", "repo": "site#x"},
        {"owner": "acme", "repo": "si\\te"},
        {"owner": "acme", "repo": "site%2f..%2fsecret"},
        {"owner": "acme", "repo": " site"},
        {"owner": "acme", "repo": "site\u200b"},
        {"owner": "acme", "repo": "site\x00"},
        {"owner": "acme", "repo": "site\u2215x"},
        {"owner": "acme", "repo": "x" * 300},
        {**SITE, "Repo": "secret"},
        {**SITE, "REPO": "site"},
        {**SITE, "re_po": "secret"},
        {**SITE, "\uff52epo": "secret"},
        "owner=acme",
        None,
    ],
)
def test_what_is_not_clearly_one_repository_is_refused(arguments: Any) -> None:
    exchange = call(params={"name": "get_issue", "arguments": arguments})
    refused = before(pin(), exchange)
    assert isinstance(refused, Refuse)
    assert refused.rule == "no-key"
    assert exchange.session.pins == {}


def test_two_texts_that_read_alike_are_two_repositories() -> None:
    one, who = pin(), session()
    assert before(one, call(arguments=SITE, session=who)) is None
    for repo in ("Site", "sit\u0435", "site.git"):
        assert isinstance(before(one, call(arguments={"owner": "acme", "repo": repo}, session=who)), Refuse)


def test_tools_without_a_key_pass_only_when_the_file_names_them() -> None:
    one, who = pin(unpinned=["get_me", "list_*"]), session()
    assert before(one, call("get_me", session=who)) is None
    assert before(one, call("list_teams", session=who)) is None
    assert isinstance(before(one, call("search_code", {"q": "repo:acme/secret"}, session=who)), Refuse)
    assert before(one, call("get_issue", SITE, session=who)) is None
    assert isinstance(before(one, call("list_issues", SECRET, session=who)), Refuse)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "repo://acme/secret/contents/README.md"}),
        ("resources/subscribe", {"uri": "repo://acme/secret"}),
        ("prompts/get", {"name": "summary", "arguments": SECRET}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "repo", "value": ""}},
        ),
    ],
)
def test_no_other_method_is_a_way_around(method: str, params: dict[str, Any]) -> None:
    one, who = pin(), session()
    assert before(one, call(arguments=SITE, session=who)) is None
    name = params.get("name") or params.get("uri")
    exchange = call(name=name, params=params, method=method, session=who)
    assert isinstance(before(one, exchange), Refuse)


def test_questions_of_servers_and_lists_are_not_about_a_repository() -> None:
    one = pin()
    assert before(one, call(method="elicitation/create", direction=TO_CLIENT, params={})) is None
    assert before(one, call(method="tasks/get", params={"taskId": "1"})) is None


def test_with_ask_the_person_may_let_one_pass_and_the_pin_stays() -> None:
    one, who = pin(action="ask"), session()
    before(one, call(arguments=SITE, session=who))
    asked = before(one, call("create_issue", SECRET, session=who))
    assert isinstance(asked, AskPerson)
    assert "acme/secret" in asked.question
    if asked.accepted is not None:
        asked.accepted()
    assert isinstance(before(one, call("create_issue", SECRET, session=who)), AskPerson)
    assert list(who.pins.values()) == ["acme/site"]


def test_a_key_can_lie_deeper_and_be_a_number() -> None:
    one, who = pin(key="{project.id}"), session()
    assert before(one, call(arguments={"project": {"id": 7}}, session=who)) is None
    assert before(one, call(arguments={"project": {"id": "7"}}, session=who)) is None
    assert isinstance(before(one, call(arguments={"project": {"id": 8}}, session=who)), Refuse)
    assert isinstance(before(one, call(arguments={"project": {"id": 7}, "project.id": 8}, session=who)), Refuse)
    assert isinstance(before(one, call(arguments={"project": {"id": 7}, "Project": {"id": 8}}, session=who)), Refuse)


def test_a_key_of_one_part_may_be_a_path_or_a_channel() -> None:
    one, who = pin(key="{channel}"), session()
    assert before(one, call(arguments={"channel": "#general"}, session=who)) is None
    assert isinstance(before(one, call(arguments={"channel": "#random"}, session=who)), Refuse)
    other, who = pin(key="{project}"), session()
    assert before(other, call(arguments={"project": "group/site"}, session=who)) is None
    assert isinstance(before(other, call(arguments={"project": "group/site/../secret"}, session=who)), Refuse)


def test_two_pins_of_one_session_do_not_mix() -> None:
    code, chat, who = pin(), pin(key="{channel}", match={"server": "slack"}), session()
    assert before(code, call(arguments=SITE, session=who)) is None
    assert before(chat, call(arguments={"channel": "dev"}, session=who, server="slack")) is None
    assert isinstance(before(code, call(arguments=SECRET, session=who)), Refuse)


def test_a_pin_that_cannot_be_written_down_lets_nothing_pass_also_not_the_second_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    who = GovernedSessions(folder / "sessions.json").of("cursor")
    folder.rmdir()
    one = pin()
    for _ in range(2):
        with pytest.raises(OSError, match=r"sessions\.json"):
            before(one, call(arguments=SITE, session=who))
    folder.mkdir()
    assert before(one, call(arguments=SECRET, session=who)) is None


def test_neither_other_connections_nor_a_restart_clear_it(tmp_path: Path) -> None:
    one, path = pin(), tmp_path / "sessions.json"
    before(one, call(arguments=SITE, session=GovernedSessions(path).of("cursor")))
    again = GovernedSessions(path)
    for profile in ("default", "other"):
        refused = before(one, call(arguments=SECRET, session=again.of("cursor"), profile=profile, modern=True))
        assert isinstance(refused, Refuse)
    assert isinstance(before(pin(), call(arguments=SECRET, session=again.of(None), has_token=False)), Refuse)
    again.reset("cursor")
    assert before(one, call(arguments=SECRET, session=again.of("cursor"))) is None


def test_a_refusal_shows_no_secret_and_nothing_that_cannot_be_seen() -> None:
    one, who = built_in("session-pin", "hunter2secret", key="{owner}"), session()
    before(one, call(arguments={"owner": "acme"}, session=who))
    refused = before(one, call(arguments={"owner": "hunter2secret"}, session=who))
    assert isinstance(refused, Refuse)
    assert "hunter2" not in refused.message


def test_a_key_without_arguments_is_an_error() -> None:
    with pytest.raises(McpComposeError, match="names no argument"):
        built_in("session-pin", key="acme/site")
