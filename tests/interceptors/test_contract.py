"""The JSON contract: what is told of a request, and that only what is plainly an answer is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interceptors.outside_stage import PLAIN, exchange
from mcpcompose.interceptors import contract
from mcpcompose.interceptors.base import AskPerson, Change, InterceptorFailed, Refuse, Respond, Warn
from mcpcompose.interceptors.contract_schema import contract_json_schema
from mcpcompose.interceptors.sessions import GovernedSession

RESULT = {"content": [{"type": "text", "text": "y"}]}


def decided(answer: dict[str, Any], phase: contract.Phase = "before", **fields: Any) -> Any:
    if phase == "after":
        fields.setdefault("result", PLAIN)
    return contract.answer(json.dumps(answer).encode(), exchange(**fields), phase)


def told(phase: contract.Phase = "before", **fields: Any) -> Any:
    line = contract.question(exchange(**fields), phase, "7")
    assert b"\n" not in line
    assert b"\r" not in line
    return json.loads(line)


def test_before_the_call_everything_known_of_it_is_told() -> None:
    session = GovernedSession("cursor", 0.0)
    session.label("private", "github/get_file")
    session.pin("repo", "a/b")

    assert told(session=session) == {
        "version": 1,
        "id": "7",
        "request": "r1",
        "phase": "before",
        "direction": "to_server",
        "method": "tools/call",
        "server": "github",
        "name": "create",
        "exposed": "gh__create",
        "params": {"name": "create", "arguments": {"title": "x"}},
        "tool": {"name": "create", "inputSchema": {"type": "object"}},
        "client": "cursor",
        "has_token": True,
        "profile": "developer",
        "session": {"id": session.id, "labels": {"private": "github/get_file"}, "pins": {"repo": "a/b"}},
    }


def test_after_the_call_the_result_or_the_error_is_told_on_one_line() -> None:
    assert told("after", result=b'{\n "content": [\r\n ]\n}')["result"] == {"content": []}
    failed = told("after", error=b'{"code":-32000,"message":"x"}')
    assert failed["error"] == {"code": -32000, "message": "x"}
    assert "result" not in failed


def test_numbers_of_any_size_are_told_as_they_are() -> None:
    params = {"name": "create", "arguments": {"n": 10**40}}
    assert told("after", params=params, result=b'{"n":123456789012345678901234567890}')["params"] == params


@pytest.mark.parametrize(
    ("answer", "phase", "decision"),
    [
        ({"decision": "allow"}, "before", None),
        ({"decision": "allow"}, "after", None),
        ({"version": 1, "id": "7", "decision": "allow"}, "before", None),
        ({"decision": "deny", "message": "no", "rule": "r"}, "before", Refuse("no", "r")),
        ({"decision": "deny", "message": "no"}, "after", Refuse("no")),
        (
            {"decision": "change", "arguments": {"title": "y"}, "note": "n"},
            "before",
            Change(params={"name": "create", "arguments": {"title": "y"}}, note="n"),
        ),
        (
            {"decision": "change", "params": {"name": "create", "arguments": {}}},
            "before",
            Change(params={"name": "create", "arguments": {}}),
        ),
        (
            {"decision": "change", "result": RESULT},
            "after",
            Change(result=b'{"content":[{"type":"text","text":"y"}]}'),
        ),
        (
            {"decision": "change", "error": {"code": 1, "message": "m"}},
            "after",
            Change(error=b'{"code":1,"message":"m"}'),
        ),
        ({"decision": "respond", "result": RESULT}, "before", Respond(b'{"content":[{"type":"text","text":"y"}]}')),
        ({"decision": "ask", "question": "May it?", "message": "no"}, "before", AskPerson("May it?", "no")),
        ({"decision": "warn", "note": "odd"}, "after", Warn("odd")),
    ],
)
def test_an_answer_decides(answer: dict[str, Any], phase: contract.Phase, decision: object) -> None:
    assert decided(answer, phase) == decision


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  \n",
        b"null",
        b"[]",
        b"{}",
        b"true",
        b"not json",
        b"\xff\xfe",
        b'{"decision":"allow"',
        b'{"decision":"allow"} and more',
        b'{"decision":"allow"}\n{"decision":"deny","message":"x"}',
        b'{"decision":"deny","decision":"allow"}',
        b'{"decision":"allow","decision":"allow"}',
        b'{"decision":"allow","id":"1","id":"1"}',
        b'{"decision":"deny","message":"x","message":"y"}',
        b'{"decision":"change","arguments":{"a":{"b":1,"b":2}}}',
        b'{"decision":"change","arguments":{"a":1,"\\u0061":2}}',
        b'{"decision":"change","result":{"content":[{"type":"text","text":"a","text":"b"}]}}',
        b'{"decision":"Allow"}',
        b'{"decision":"yes"}',
        b'{"decision":null}',
        b'{"Decision":"allow"}',
        b'{"decision":"allow","decison":"deny"}',
        b'{"decision":"allow","version":2}',
        b'{"decision":"allow","server":"other"}',
        b'{"decision":"allow","client":"admin"}',
        b'{"decision":"deny"}',
        b'{"decision":"deny","message":""}',
        b'{"decision":"deny","message":7}',
        b'{"decision":"respond"}',
        b'{"decision":"respond","result":null}',
        b'{"decision":"change"}',
        b'{"decision":"ask","question":"?"}',
        b'{"decision":"allow","labels":["NOT A LABEL"]}',
        b'{"decision":"respond","result":{"content":[{"type":"text","text":"\\ud800"}]}}',
        b'{"decision":"respond","result":{"content":[],"x":NaN}}',
        b'{"decision":"respond","result":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("phase", ["before", "after"])
def test_what_is_not_plainly_an_answer_is_a_failure(raw: bytes, phase: contract.Phase) -> None:
    with pytest.raises(InterceptorFailed):
        contract.answer(raw, exchange(result=PLAIN if phase == "after" else None), phase)


@pytest.mark.parametrize(
    ("answer", "phase", "fields"),
    [
        ({"decision": "change", "params": {"name": "delete", "arguments": {}}}, "before", {}),
        ({"decision": "change", "params": {"arguments": {}}}, "before", {}),
        ({"decision": "change", "params": {"name": "create", "arguments": ["drop"]}}, "before", {}),
        ({"decision": "change", "params": {"name": "create", "uri": "x://y"}}, "before", {}),
        (
            {"decision": "change", "params": {"uri": "file:///etc/passwd"}},
            "before",
            {"method": "resources/read", "params": {"uri": "file:///a"}},
        ),
        ({"decision": "change", "params": {"name": "create"}, "arguments": {}}, "before", {}),
        ({"decision": "change", "result": RESULT}, "before", {}),
        ({"decision": "change", "params": {"name": "create"}}, "after", {}),
        ({"decision": "change", "result": RESULT, "error": {"code": 1, "message": "m"}}, "after", {}),
        ({"decision": "change", "error": {"message": "m"}}, "after", {}),
        ({"decision": "respond", "result": RESULT}, "after", {}),
        ({"decision": "respond", "result": {"text": "no content"}}, "before", {}),
        ({"decision": "respond", "result": {"content": ["text"]}}, "before", {}),
        ({"decision": "respond", "result": {**RESULT, "isError": "no"}}, "before", {}),
        ({"decision": "respond", "result": {**RESULT, "resultType": "input_required"}}, "before", {}),
        ({"decision": "fail", "message": "no database"}, "before", {}),
    ],
)
def test_an_answer_cannot_send_a_request_elsewhere_or_do_what_is_not_possible_then(
    answer: dict[str, Any], phase: contract.Phase, fields: dict[str, Any]
) -> None:
    with pytest.raises(InterceptorFailed):
        decided(answer, phase, **fields)


def test_labels_of_an_answer_are_added_to_the_session() -> None:
    session = GovernedSession("cursor", 0.0)

    decided({"decision": "allow", "labels": ["private"]}, "after", session=session)

    assert session.labels == {"private": "github/create"}


def test_an_answer_that_fails_leaves_no_label() -> None:
    session = GovernedSession("cursor", 0.0)

    with pytest.raises(InterceptorFailed):
        decided({"decision": "respond", "result": RESULT, "labels": ["private"]}, "after", session=session)

    assert not session.labels


SCHEMA = Path(__file__).parents[2] / "schemas" / "mcp-compose-interceptor.schema.json"


def test_the_committed_schema_is_that_of_the_contract() -> None:
    assert json.loads(SCHEMA.read_text()) == contract_json_schema()


@pytest.mark.parametrize(("phase", "result"), [("before", None), ("after", PLAIN)])
def test_what_is_told_fits_the_schema(phase: contract.Phase, result: bytes | None) -> None:
    schema = json.loads(SCHEMA.read_text())
    told_ = told(phase, result=result)
    jsonschema.validate(told_, {"$ref": "#/$defs/Question", "$defs": schema["$defs"]})


@pytest.mark.parametrize(
    ("answer", "is_valid"),
    [
        ({"decision": "allow"}, True),
        ({"id": "7", "decision": "deny", "message": "no"}, True),
        ({"decision": "deny"}, False),
        ({"decision": "allow", "server": "x"}, False),
        ({"decision": "maybe"}, False),
        ({}, False),
    ],
)
def test_the_schema_and_the_reader_agree_on_answers(answer: dict[str, Any], is_valid: bool) -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/Answer", "$defs": schema["$defs"]})

    assert validator.is_valid(answer) is is_valid
    if not is_valid:
        with pytest.raises(InterceptorFailed):
            contract.read(json.dumps(answer).encode())
