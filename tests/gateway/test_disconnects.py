"""Clients that go away in the middle of their calls: the servers are told, and nothing of the calls is left."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest

from gateway.rawhttp import call_bytes, head_of
from gateway.stage import FakeServer, Stage, project, running, until
from gateway.test_interactive import Copies
from mcpcompose.spec.project import Gateway

CALLS = 1000
TOGETHER = 50


def never_answers() -> FakeServer:
    return FakeServer(answers={"tools/call": None})


def asked(server: FakeServer) -> list[str]:
    return [message["id"] for message in server.seen if message.get("method") == "tools/call"]


def cancelled(server: FakeServer) -> list[str]:
    return [
        message["params"]["requestId"] for message in server.seen if message.get("method") == "notifications/cancelled"
    ]


async def begun(stage: Stage, content: bytes) -> asyncio.StreamWriter:
    """A request on a connection of its own."""
    _, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(content)
    await writer.drain()
    return writer


async def gone(writers: list[asyncio.StreamWriter]) -> None:
    for number, writer in enumerate(writers):
        if number % 2:
            writer.transport.abort()  # a reset
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def nothing_left(stage: Stage, tasks: int) -> None:
    """No call, task, stream, connection or count of any of it."""
    gateway = stage.gateway
    for slot in gateway.supervisor._slots.values():
        await until(lambda slot=slot: slot.in_flight == 0 and slot.allowance.calls.held == 0)
        assert len(slot._parked) == 0
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert [gauge.held for gauge in gateway.kernel._gauges.values() if gauge.held] == []
    assert len(gateway.listeners) == 0
    assert gateway._front.sessions == 0
    assert gateway._listening is not None
    await until(lambda: not gateway._listening.connections)
    gc.collect()
    assert len(gateway.kernel.rounds.parked) == 0


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_modern_calls_whose_connection_closes_are_cancelled_at_the_server(stage: Stage, scale: int) -> None:
    server = never_answers()
    await stage.serve(project(servers={"a": {}}), {"a": server})
    body = call_bytes(b'"x"', modern=True)
    content = head_of(stage, body, modern=True) + body
    tasks = len(asyncio.all_tasks())

    for round_ in range(CALLS * scale // TOGETHER):
        writers = await asyncio.gather(*(begun(stage, content) for _ in range(TOGETHER)))
        await until(lambda so_far=(round_ + 1) * TOGETHER: len(asked(server)) == so_far)
        await gone(writers)
        await until(lambda so_far=(round_ + 1) * TOGETHER: len(cancelled(server)) == so_far)

    assert sorted(asked(server)) == sorted(cancelled(server))
    await nothing_left(stage, tasks)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ending", ["delete", "cancelled", "expired"])
async def test_handshake_calls_go_on_when_the_connection_closes_and_end_with_their_session(
    stage: Stage, scale: int, ending: str
) -> None:
    server, rounds = never_answers(), CALLS * scale // TOGETHER // (12 if ending == "expired" else 3)
    impatient = {"call": "1s"} if ending == "expired" else {}
    gateway = Gateway.model_validate({"timeouts": {"session": "1s"}} if ending == "expired" else {})
    await stage.serve(project(servers={"a": {"timeouts": impatient}}, gateway=gateway), {"a": server})
    tasks = len(asyncio.all_tasks())

    for round_ in range(rounds):
        before, after = round_ * TOGETHER, (round_ + 1) * TOGETHER
        session = await stage.session()
        bodies = [call_bytes(b'"x"', modern=False, id_=b"%d" % number) for number in range(TOGETHER)]
        heads = [head_of(stage, body, modern=False, session=session.id or "") for body in bodies]
        writers = await asyncio.gather(*(begun(stage, h + b) for h, b in zip(heads, bodies, strict=True)))
        await until(lambda after=after: len(asked(server)) == after)
        await gone(writers)
        if ending == "cancelled":
            assert len(cancelled(server)) == before
            for number in range(TOGETHER):
                await session.post("notifications/cancelled", {"requestId": number}, id_=None)
        if ending != "expired":
            await stage.http.delete(stage.url, headers=session.headers)
        await until(lambda after=after: len(cancelled(server)) == after)

    await stage.http.aclose()
    assert sorted(asked(server)) == sorted(cancelled(server))
    await until(lambda: stage.gateway._front.sessions == 0)
    await nothing_left(stage, tasks)


@pytest.mark.parametrize("scope", ["session", "call"])
async def test_instances_of_clients_that_went_away_are_stopped(tmp_path: Path, scope: str) -> None:
    copies = Copies()
    copies.make = never_answers
    async with running(tmp_path, instances=copies) as stage:
        await stage.serve(project(servers={"a": {"scope": scope}}), {"a": FakeServer()})
        await stage.http.get(stage.base + "/health")
        tasks = len(asyncio.all_tasks())
        for _ in range(5):
            modern = scope == "call"
            session = None if modern else await stage.session()
            body = call_bytes(b'"x"', modern=modern)
            head = head_of(stage, body, modern=modern, session=(session.id or "") if session else "")
            before = len(copies.servers)
            writer = await begun(stage, head + body)
            await until(lambda before=before: len(copies.servers) == before + 1)
            server = list(copies.servers.values())[-1]
            await until(lambda server=server: len(asked(server)) == 1)
            await gone([writer])
            if session is not None:
                await stage.http.delete(stage.url, headers=session.headers)
        await stage.http.aclose()

        await until(lambda: sorted(copies.stopped) == sorted(copies.servers))
        await nothing_left(stage, tasks)


async def test_a_stdio_client_that_goes_away_cancels_all_its_calls(stage: Stage) -> None:
    server = never_answers()
    await stage.serve(project(servers={"a": {}}), {"a": server})
    tasks = len(asyncio.all_tasks())

    for round_ in range(4):
        _, writer = await asyncio.open_unix_connection(str(stage.folder / "stdio.sock"))
        writer.write(b'{"profile":"default"}\n')
        for number in range(TOGETHER):
            writer.write(call_bytes(b'"x"', modern=True, id_=json.dumps(f"{number}").encode()) + b"\n")
        await until(lambda so_far=(round_ + 1) * TOGETHER: len(asked(server)) == so_far)
        await gone([writer])

    await until(lambda: sorted(asked(server)) == sorted(cancelled(server)))
    await nothing_left(stage, tasks)
