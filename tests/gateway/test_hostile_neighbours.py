"""A server that floods, prattles, never reads or answers nonsense costs its own calls, and nobody else's."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.stage import FakeServer, Stage, project
from mcpcompose.engine.base import HttpEndpoint, StreamEndpoint
from mcpcompose.engine.process_launch import ProcessStream

PROGRAM = Path(__file__).parent / "servers" / "hostile.py"
HTTP_PROGRAM = PROGRAM.with_name("hostile_http.py")
LIMITS: dict[str, Any] = {
    "limits": {"result": "16MiB", "backlog": "1MiB"},
    "timeouts": {"call": "3s", "total": "4s"},
    "restart": "no",
}
SLOWEST = 2.0
"""Seconds that no neighbour's call may take, on a machine with other things to do; a free one has milliseconds."""
USUAL = 0.1
"""Seconds that half of them may not take."""


@asynccontextmanager
async def hostile(stage: Stage, mode: str) -> AsyncIterator[None]:
    """A misbehaving server `bad` beside a good one."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stream = ProcessStream()
    await stream.connect(process.stdin, process.stdout)
    try:
        servers = {"bad": StreamEndpoint(stream), "good": FakeServer()}
        await stage.serve(project(servers={"bad": LIMITS, "good": {}}), servers)
        yield
    finally:
        process.kill()
        process.wait()
        await stage.gateway.detach("bad")


@asynccontextmanager
async def hostile_http(stage: Stage, mode: str) -> AsyncIterator[None]:
    """The same over HTTP."""
    process = subprocess.Popen([sys.executable, str(HTTP_PROGRAM), mode], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await asyncio.to_thread(process.stdout.readline))
        servers = {"bad": HttpEndpoint(f"http://127.0.0.1:{port}/mcp"), "good": FakeServer()}
        await stage.serve(project(servers={"bad": LIMITS, "good": {}}), servers)
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        await stage.gateway.detach("bad")


async def call(stage: Stage, server: str, text: str = "x") -> dict[str, Any]:
    response = await stage.post("tools/call", {"name": f"{server}__echo", "arguments": {"text": text}})
    answer: dict[str, Any] = response.json()
    return answer


async def neighbours_are_quick(stage: Stage, until: asyncio.Future[Any], least: int = 30) -> None:
    """Calls of the good server are answered in time, from now until then."""
    took = []
    while not until.done() or len(took) < least:
        began = time.perf_counter()
        assert "result" in await call(stage, "good")
        took.append(time.perf_counter() - began)
    assert max(took) < SLOWEST
    assert statistics.median(took) < USUAL


@pytest.mark.parametrize("mode", ["floods", "prattles", "changes", "asks", "long", "deaf", "half"])
async def test_its_call_fails_and_its_neighbours_stay_quick(stage: Stage, mode: str) -> None:
    async with hostile(stage, mode):
        before = psutil.Process().memory_info().rss

        bad = asyncio.ensure_future(call(stage, "bad"))
        await neighbours_are_quick(stage, bad)

        assert (await bad)["error"]["data"]["server"] == "bad"
        assert psutil.Process().memory_info().rss - before < 64 << 20


@pytest.mark.parametrize("mode", ["floods", "asks", "long", "body", "drips", "silent", "half", "head", "garbage"])
async def test_over_http_its_call_fails_and_its_neighbours_stay_quick(stage: Stage, mode: str) -> None:
    async with hostile_http(stage, mode):
        before = psutil.Process().memory_info().rss

        bad = asyncio.ensure_future(call(stage, "bad"))
        await neighbours_are_quick(stage, bad)

        assert (await bad)["error"]["data"]["server"] == "bad"
        assert psutil.Process().memory_info().rss - before < 96 << 20


@pytest.mark.parametrize("mode", ["twice", "wrong"])
async def test_over_http_every_call_gets_its_own_answer_whatever_else_is_said(stage: Stage, mode: str) -> None:
    async with hostile_http(stage, mode):
        answers = await asyncio.gather(*(call(stage, "bad", f"text {n}") for n in range(20)))

        assert [a.get("error") for a in answers] == [None] * 20
        assert [a["result"]["content"][0]["text"] for a in answers] == [f"text {n}" for n in range(20)]
        assert "result" in await call(stage, "good")


@pytest.mark.parametrize("mode", ["twice", "wrong"])
async def test_every_call_gets_its_own_answer_whatever_else_is_said(stage: Stage, mode: str) -> None:
    async with hostile(stage, mode):
        answers = await asyncio.gather(*(call(stage, "bad", f"text {n}") for n in range(50)))

        texts = [answer["result"]["content"][0]["text"] for answer in answers]
        assert texts == [f"text {n}" for n in range(50)]
        assert "result" in await call(stage, "good")


async def test_a_server_that_never_reads_gets_no_more_calls_than_its_backlog_holds(stage: Stage) -> None:
    async with hostile(stage, "deaf"):
        text = "x" * 300_000
        calls = [asyncio.ensure_future(call(stage, "bad", text)) for _ in range(12)]
        done, _ = await asyncio.wait(calls, timeout=2, return_when=asyncio.FIRST_COMPLETED)

        refused = done.pop().result()["error"]
        await neighbours_are_quick(stage, asyncio.ensure_future(asyncio.sleep(0)))
        answers = await asyncio.gather(*calls)

        limit = "does not read its input: at most 1 MiB (`servers.bad.limits.backlog`)"
        assert refused["message"].endswith(limit)
        assert all(answer["error"]["data"]["server"] == "bad" for answer in answers)
