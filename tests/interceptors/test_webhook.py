"""Webhooks: only the body of a 2xx answer decides; everything else is a failure, within the limit."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.wait import LOADED
from interceptors.hook import hook, http, said
from interceptors.outside_stage import PLAIN, asked, exchange, made
from mcpcompose.interceptors.base import Change, InterceptorFailed, Refuse, Respond

LIMIT = 0.6
YES = b'{"decision":"allow"}'
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

BAD: dict[str, Callable[[dict[str, Any]], bytes | None]] = {
    "never answers": lambda _: None,
    "closes at once": lambda _: b"connection: close",
    "500 with nothing": lambda _: http(b"", "500 Oops"),
    "500 with a yes": lambda _: http(YES, "500 Oops"),
    "404": lambda _: http(b"not here", "404 Not Found"),
    "401": lambda _: http(b"", "401 Unauthorized"),
    "a redirect": lambda _: http(b"", "307 Elsewhere", "location: http://127.0.0.1:1/"),
    "a redirect with a yes": lambda _: http(YES, "302 Elsewhere", "location: /other"),
    "304": lambda _: http(b"", "304 Not Modified"),
    "200 with nothing": lambda _: http(b""),
    "204": lambda _: b"HTTP/1.1 204 No Content\r\n\r\n",
    "nonsense": lambda _: http(b"<html>ok</html>"),
    "no HTTP": lambda _: b"SSH-2.0-OpenSSH_9.2\r\n",
    "too much": lambda _: http(b" " * (1 << 17) + YES),
    "too much by pieces": lambda _: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK * 8,
    "less than it says": lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n" + YES,
    "packed": lambda _: http(gzip.compress(YES), "200 OK", "content-encoding: gzip"),
    "another question": said(id="999", decision="allow"),
    "tries to widen": said(decision="change", params={"name": "delete_repository", "arguments": {}}),
    "tries to be somebody else": said(decision="allow", profile="admin"),
}


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("bad", BAD)
async def test_a_webhook_that_does_not_decide_is_a_failure_within_the_limit(
    tmp_path: Path, bad: str, phase: str
) -> None:
    async with hook(BAD[bad]) as there, made(tmp_path, url=there.url, output=1 << 16, timeout=LIMIT) as one:
        since = time.monotonic()
        with pytest.raises((InterceptorFailed, TimeoutError)):
            await asked(one, exchange(result=PLAIN if phase == "after" else None), phase, LIMIT)

        assert time.monotonic() - since < LIMIT + LOADED


@pytest.mark.parametrize(
    ("answer", "phase", "decision"),
    [
        ({"decision": "allow"}, "before", None),
        ({"decision": "deny", "message": "no"}, "before", Refuse("no")),
        ({"decision": "deny", "message": "no"}, "after", Refuse("no")),
        ({"decision": "change", "result": {"content": []}}, "after", Change(result=b'{"content":[]}')),
        ({"decision": "respond", "result": {"content": []}}, "before", Respond(b'{"content":[]}')),
    ],
)
async def test_a_webhook_decides(tmp_path: Path, answer: dict[str, Any], phase: str, decision: object) -> None:
    async with hook(said(**answer)) as there, made(tmp_path, url=there.url) as one:
        assert await asked(one, exchange(result=PLAIN if phase == "after" else None), phase) == decision

    assert there.asked[0]["phase"] == phase
    assert there.asked[0]["method"] == "tools/call"


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "299 Fine"])
async def test_every_2xx_answers(tmp_path: Path, status: str) -> None:
    async with hook(lambda _: http(YES, status)) as there, made(tmp_path, url=there.url) as one:
        assert await asked(one, exchange()) is None


async def test_headers_have_their_values_and_nothing_else_is_sent(tmp_path: Path) -> None:
    keys = {"headers": {"Authorization": "Bearer ${secret:key}", "X-Team": "${TEAM}"}}
    values = {"secret:key": "sesame", "TEAM": "platform"}
    async with (
        hook(lambda _: http(YES, "200 OK", "set-cookie: id=1")) as there,
        made(tmp_path, url=there.url, more={"values": values}, **keys) as one,
    ):
        await asked(one, exchange())
        await asked(one, exchange())

    for sent in there.headers:
        assert sent["authorization"] == "bearer sesame"
        assert sent["x-team"] == "platform"
        assert set(sent) <= {
            "host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "connection",
            "authorization", "x-team",
        }  # fmt: skip


async def test_a_value_that_would_begin_another_header_is_not_sent(tmp_path: Path) -> None:
    more = {"values": {"TEAM": "a\r\nX-Admin: 1"}}
    async with (
        hook(said(decision="allow")) as there,
        made(tmp_path, url=there.url, headers={"X-Team": "${TEAM}"}, more=more) as one,
    ):
        with pytest.raises(InterceptorFailed, match="no header can have"):
            await asked(one, exchange())

    assert not there.asked


async def test_connections_are_kept_and_one_that_was_closed_meanwhile_costs_no_request(tmp_path: Path) -> None:
    async with hook(lambda _: http(YES)) as there, made(tmp_path, url=there.url) as one:
        for _ in range(5):
            assert await asked(one, exchange()) is None
        assert there.connections == 1
        there.answer = lambda _: http(YES, "200 OK", "connection: close")
        for _ in range(5):
            assert await asked(one, exchange()) is None


async def test_no_more_connections_than_requests_it_may_have_at_once(tmp_path: Path) -> None:
    async with hook(lambda _: http(YES)) as there, made(tmp_path, url=there.url, concurrency=3) as one:
        await asyncio.gather(*(asked(one, exchange()) for _ in range(30)))

    assert len(there.asked) == 30
    assert there.connections <= 3


async def test_docker_webhooks_get_their_payload_and_nothing_lets_through(tmp_path: Path) -> None:
    async with hook(lambda _: http(b"")) as there, made(tmp_path, url=there.url, format="docker") as one:
        assert await asked(one, exchange()) is None
        there.answer = lambda _: http(json.dumps({"content": []}).encode())
        assert await asked(one, exchange()) == Respond(b'{"content":[]}')
        there.answer = lambda _: http(b"", "500 Oops")
        with pytest.raises(InterceptorFailed, match="answered 500"):
            await asked(one, exchange())

    assert there.asked[0]["params"] == {"name": "create", "arguments": {"title": "x"}}


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "nonsense", "http://user:word@127.0.0.1/x"])
async def test_what_is_no_address_of_a_webhook_is_a_failure(tmp_path: Path, url: str) -> None:
    async with made(tmp_path, url=url) as one:
        with pytest.raises(InterceptorFailed, match="its `url`"):
            await asked(one, exchange())


async def test_one_that_is_not_there_is_a_failure_that_names_it(tmp_path: Path) -> None:
    async with hook(said(decision="allow")) as there:
        url = there.url
    async with made(tmp_path, url=url) as one:
        with pytest.raises(InterceptorFailed, match=r"`127\.0\.0\.1` cannot be reached"):
            await asked(one, exchange())
