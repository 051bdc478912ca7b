"""`kill -9` of a gateway under load, again and again: the chain holds, and no completed call is missing in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.desk import Desk, eventually
from harness.load import BadAnswerError, Caller, Target
from harness.wait import until_async, until_ended
from mcpcompose.audit.entries import Filter, entries
from mcpcompose.audit.verify import verify

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3000)]

CALLERS = 8
SEED = 20260728


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="mcd-", dir="/tmp", ignore_cleanup_errors=True) as base:
        made = Desk(Path(base))
        try:
            yield made
        finally:
            made.leave()


class Load:
    """Callers in both protocol eras; each call has a number of its own, and is noted when its answer is there."""

    def __init__(self, desk: Desk) -> None:
        entry = json.loads(desk.ok("client", "config", "default", "--http", "--show-token", "--format", "json"))
        (http,) = entry["http"].values()
        token = http["headers"]["Authorization"].removeprefix("Bearer ")
        self._target = Target(http["url"], token, "a__echo")
        self.sent = 0
        self.answered: list[str] = []

    async def until_killed(self, desk: Desk, after: float) -> None:
        """Call without a pause; kill the gateway *after* so many seconds of that."""
        gateway = desk.gateway()
        before = len(self.answered)
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(self._call(modern=number % 2 == 0))
            await until_async(lambda: len(self.answered) >= before + CALLERS, "calls are answered")
            await asyncio.sleep(after)  # the moment of the kill is what this test varies
            gateway.kill()
        until_ended(gateway)

    async def _call(self, *, modern: bool) -> None:
        with contextlib.suppress(BadAnswerError, OSError):
            caller = await Caller(self._target, modern=modern).open()
            while True:
                self.sent += 1
                number = f"n-{self.sent}"
                await caller.ask("tools/call", {"name": "a__echo", "arguments": {"text": number}})
                self.answered.append(number)


def test_no_completed_call_is_missing_after_kills_at_any_moment(desk: Desk, scale: int) -> None:
    kills = 20 * scale
    moments = random.Random(SEED)
    servers = {"a": {"process": ["python3", "-u", "echo.py"]}}
    audit = {"values": "redacted", "rotate": "300k", "keep": 10_000}
    desk.write(json.dumps({"name": "desk", "engine": "process", "audit": audit, "servers": servers}))
    desk.up()
    load = Load(desk)
    (logs,) = (desk.home / "state").glob("*/logs")
    folder = logs.with_name("audit")
    began = time.monotonic()
    for kill in range(kills):
        asyncio.run(load.until_killed(desk, moments.uniform(0, 0.3)))
        verdict = verify(folder)
        assert verdict.problems == [], kill
        desk.ok("up", "-d")
        eventually(lambda: desk.state("a").get("state") == "ready", 60)
    desk.ok("down")

    ended = Counter(
        entry["values"]["text"]
        for entry in entries(folder, Filter(method="tools/call", outcome="ok"))
        if entry["values"]
    )
    verdict = verify(folder)
    print(
        f"{kills} kills in {time.monotonic() - began:.0f} s: {len(load.answered)} calls answered, "
        f"{verdict.records} records in {verdict.files} files, {verdict.interrupted} interrupted, "
        f"{len(verdict.notes)} torn"
    )
    assert verdict.problems == []
    assert [number for number in load.answered if ended[number] != 1] == []
    assert len(load.answered) > kills * CALLERS
    assert desk.json("audit", "verify")["intact"] is True
