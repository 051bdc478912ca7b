"""A million calls, and ten thousand sessions opened and dropped, leave the gateway as it was."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from harness.load import Caller, Target, tool_call
from harness.wait import until_async
from harness.workspace import Workspace, echo

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(3000)]

SESSIONS_KEPT = 1000
"""How many the gateway keeps at most: only when they are all there can memory be flat."""
ALLOWED = 4 << 20
"""Bytes of growth that are noise of the allocator."""


def resident(gateway: psutil.Process) -> int:
    return int(gateway.memory_info().rss)


async def calls(target: Target, number: int, *, modern: bool) -> None:
    """*number* calls by 16 callers."""
    callers = [await Caller(target, modern=modern).open() for _ in range(16)]

    async def calling(caller: Caller) -> None:
        caller.prepare("tools/call", tool_call(target, 100))
        for _ in range(number // len(callers)):
            await caller.again()

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(calling(caller))
    for caller in callers:
        await caller.end()


async def sessions(target: Target, number: int) -> None:
    """Open *number* sessions with a call in each; half of them are ended, half of them only dropped."""

    async def visiting(first: int) -> None:
        for index in range(first, number, 16):
            caller = await Caller(target, modern=False).open()
            await caller.ask("tools/call", tool_call(target, 100))
            if index % 2:
                caller.close()
            else:
                await caller.end()

    async with asyncio.TaskGroup() as group:
        for first in range(16):
            group.create_task(visiting(first))


async def test_many_calls_and_sessions_leave_the_gateway_as_it_was(workspace: Workspace, scale: int) -> None:
    workspace.save({"a": echo()})
    workspace.up()
    workspace.when_ready()
    gateway = workspace.gateway()
    target = Target(workspace.endpoint(), workspace.token(), "a__echo")
    await sessions(target, 2 * SESSIONS_KEPT + 200)
    await calls(target, 4_000, modern=False)
    await calls(target, 4_000, modern=True)
    before, files, threads = resident(gateway), gateway.num_fds(), gateway.num_threads()

    started = time.monotonic()
    await calls(target, 50_000 * scale, modern=False)
    await calls(target, 50_000 * scale, modern=True)
    await sessions(target, 1_000 * scale)

    await until_async(lambda: gateway.num_fds() <= files, "connections are closed", 30)
    grown = resident(gateway) - before
    print(f"{100_000 * scale} calls and {1_000 * scale} sessions in {time.monotonic() - started:.0f} s: {grown} B more")
    assert grown <= ALLOWED
    assert gateway.num_threads() <= threads
    assert workspace.servers()["a"]["restarts"] == 0
