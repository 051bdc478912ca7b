"""Interceptors that were written for Docker's MCP gateway run unchanged, and what failed open there does not here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interceptors.outside_stage import PLAIN, asked, exchange, made
from mcpcompose.interceptors import docker_format
from mcpcompose.interceptors.base import Change, InterceptorFailed, Respond
from mcpcompose.interceptors.contract import Phase

READ = "import json, sys; q = json.load(sys.stdin)"
ISSUE = {"name": "create", "arguments": {"owner": "acme", "repo": "web"}, "_meta": {"progressToken": 1}}


def script(code: str) -> list[str]:
    """As `exec` runs it: a line for the shell."""
    return ["sh", "-c", f"python3 -c '{READ}\n{code}'"]


@pytest.mark.parametrize(
    ("code", "phase"),
    [
        # a request by its present form, and by the older one
        ('print(json.dumps({"content": [{"type": "text", "text": q["params"]["arguments"]["repo"]}]}))', "before"),
        ('print(json.dumps({"content": [{"type": "text", "text": q["Params"]["arguments"]["repo"]}]}))', "before"),
        # a result by itself, below `response`, and with the request beside it
        ('print(json.dumps({"content": [{**q["content"][0], "text": "web"}]}))', "after"),
        ('r = q["response"]; r["content"][0]["text"] = "web"; print(json.dumps(r))', "after"),
        ('q["content"][0]["text"] = q["request"]["Params"]["arguments"]["repo"]; print(json.dumps(q))', "after"),
    ],
)
async def test_a_script_reads_and_answers_every_form_that_was_ever_sent(tmp_path: Path, code: str, phase: str) -> None:
    async with made(tmp_path, run=script(code), format="docker") as one:
        found = await asked(one, exchange(params=ISSUE, result=PLAIN if phase == "after" else None), phase)

    assert isinstance(found, Respond if phase == "before" else Change)
    assert json.loads(found.result or b"") == {"content": [{"type": "text", "text": "web"}]}


@pytest.mark.parametrize("phase", ["before", "after"])
async def test_a_script_that_says_nothing_lets_through(tmp_path: Path, phase: str) -> None:
    async with made(tmp_path, run=["sh", "-c", "cat >&2"], format="docker") as one:
        assert await asked(one, exchange(result=PLAIN if phase == "after" else None), phase) is None


async def test_a_refusal_in_the_form_of_a_result_takes_the_servers_place(tmp_path: Path) -> None:
    code = 'print(json.dumps({"isError": True, "content": [{"type": "text", "text": "blocked"}]}))'
    async with made(tmp_path, run=script(code), format="docker") as one:
        found = await asked(one, exchange())

    assert isinstance(found, Respond)
    assert json.loads(found.result)["isError"] is True


@pytest.mark.parametrize(
    "reply",
    [
        b"null",
        b"[]",
        b"{}",
        b"yes",
        b'{"content":"text"}',
        b'{"content":[{}]}',
        b'{"content":[],"isError":1}',
        b'{"content":[],"content":[{"type":"text","text":"x"}]}',
    ],
)
@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_reply_that_is_no_result_is_a_failure(reply: bytes, phase: Phase) -> None:
    with pytest.raises(InterceptorFailed):
        docker_format.answer(reply, exchange(), phase)


async def test_a_script_that_fails_does_not_let_through_what_it_said(tmp_path: Path) -> None:
    async with made(tmp_path, run=["sh", "-c", "exit 1"], format="docker") as one:
        with pytest.raises(InterceptorFailed, match="exited with code 1"):
            await asked(one, exchange())


@pytest.mark.parametrize("method", ["resources/read", "prompts/get", "elicitation/create"])
async def test_only_calls_of_tools_are_told(tmp_path: Path, method: str) -> None:
    async with made(tmp_path, run=["sh", "-c", "exit 1"], format="docker") as one:
        assert await asked(one, exchange(method)) is None


def test_an_error_of_the_protocol_is_told_in_the_form_of_a_result() -> None:
    failed: dict[str, Any] = json.loads(
        docker_format.question(exchange(error=b'{"code":-32000,"message":"token ghp_x"}'), "after")
    )
    assert failed["content"] == [{"type": "text", "text": "token ghp_x"}]
    assert failed["isError"] is True
