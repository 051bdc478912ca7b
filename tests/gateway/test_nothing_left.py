"""Clients of both eras that answer, cancel, leave and come back at random: each gets its own answer, and all ends."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, running, until
from gateway.test_interactive import CAN, ELICITATION, FORM, Copies, Events

CLIENTS = 12
CALLS = 6


def handshake_server() -> FakeServer:
    """Asks in every call under an id of its own, and answers with what it was told and by whom."""
    waiting: dict[str, dict[str, Any]] = {}

    def asks(server: FakeServer, message: dict[str, Any]) -> None:
        id_ = f"ask of {message['id']}"
        waiting[id_] = message
        server.send({"jsonrpc": "2.0", "id": id_, "method": "elicitation/create", "params": FORM})

    def told(server: FakeServer, message: dict[str, Any]) -> None:
        asked = waiting.pop(message["id"], None)
        if asked is not None:
            text = json.dumps([asked["params"]["arguments"], message.get("result")])
            server.result(asked, {"content": [{"type": "text", "text": text}]})

    return FakeServer(answers={"tools/call": asks, None: told})


def modern_server() -> FakeServer:
    """The same in rounds."""

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        params = message["params"]
        if "inputResponses" not in params:
            requests = {"q": {"method": "elicitation/create", "params": FORM}}
            state = json.dumps(params["arguments"])
            server.result(message, {"resultType": "input_required", "inputRequests": requests, "requestState": state})
        else:
            assert params["requestState"] == json.dumps(params["arguments"])
            text = json.dumps([params["arguments"], params["inputResponses"]["q"]])
            server.result(message, {"resultType": "complete", "content": [{"type": "text", "text": text}]})

    return FakeServer(modern=True, answers={"tools/call": call})


def check(result: dict[str, Any], mine: str) -> None:
    arguments, told = json.loads(result["content"][0]["text"])
    assert arguments == {"mine": mine}
    assert told == {"action": "accept", "content": {"name": mine}}


async def modern_client(stage: Stage, chance: random.Random, name: str) -> None:
    for number in range(CALLS):
        mine = f"{name}-{number}"
        params: dict[str, Any] = {"name": f"{chance.choice('sm')}__echo", "arguments": {"mine": mine}, **CAN}
        does = chance.choice(["answer", "answer", "leave", "forget", "twice"])
        if does == "leave":
            task = asyncio.create_task(stage.post("tools/call", params))
            await asyncio.wait({task}, timeout=chance.random() * 0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            continue
        asked = (await stage.post("tools/call", params)).json()["result"]
        if does == "forget":
            continue
        answer = {"action": "accept", "content": {"name": mine}}
        again = {
            **params,
            "requestState": asked["requestState"],
            "inputResponses": dict.fromkeys(asked["inputRequests"], answer),
        }
        repeated = [stage.post("tools/call", again) for _ in range(2 if does == "twice" else 1)]
        answers = [response.json() for response in await asyncio.gather(*repeated)]
        done = [one["result"] for one in answers if "result" in one]
        assert done
        for result in done:
            check(result, mine)


async def handshake_client(stage: Stage, chance: random.Random, name: str) -> None:
    session = await stage.session(capabilities=ELICITATION)
    for number in range(CALLS):
        mine = f"{name}-{number}"
        params = {"name": f"{chance.choice('sm')}__echo", "arguments": {"mine": mine}}
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
        does = chance.choice(["answer", "answer", "cancel", "leave", "delete"])
        async with stage.http.stream("POST", stage.url, content=body, headers=session.headers) as response:
            events = Events(response)
            asked = await events.next()
            assert asked["method"] == "elicitation/create"
            if does == "leave":
                continue
            if does == "delete":
                await stage.http.delete(stage.url, headers=session.headers)
                session = await stage.session(capabilities=ELICITATION)
            elif does == "cancel":
                await session.post("notifications/cancelled", {"requestId": number}, id_=None)
            else:
                answer = {"action": "accept", "content": {"name": mine}}
                told = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}).encode()
                await stage.http.post(stage.url, content=told, headers=session.headers)
            while "id" not in (last := await events.next()) or "method" in last:
                pass
            assert last["id"] == number
            if does == "answer":
                check(last["result"], mine)
            else:
                assert last["error"]["code"] == -32800
    await stage.http.delete(stage.url, headers=session.headers)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everybody_gets_their_own_answer_and_nothing_is_left(tmp_path: Path, seed: int) -> None:
    copies = Copies()
    copies.make = handshake_server
    async with running(tmp_path, instances=copies) as stage:
        times = {"parked": "500ms"}
        servers = {"s": {"scope": "session", "timeouts": times, "instances": {"limit": 100}}, "m": {"timeouts": times}}
        await stage.serve(project(servers=servers), {"s": FakeServer(), "m": modern_server()})
        chances = [random.Random(f"{seed}-{number}") for number in range(CLIENTS)]
        work = [
            (modern_client if number % 2 else handshake_client)(stage, chance, f"c{number}")
            for number, chance in enumerate(chances)
        ]
        async with asyncio.timeout(60):
            await asyncio.gather(*work)

        kernel, slots = stage.gateway.kernel, stage.gateway.supervisor._slots
        gauges = [*kernel._gauges.values(), *(slot.allowance.calls for slot in slots.values())]
        await until(lambda: all(gauge.held == 0 for gauge in gauges))
        await until(lambda: len(kernel.rounds.parked) == 0)
        lanes = [*slots["s"]._lanes._lanes.values(), *slots["s"]._lanes._retired]
        assert all(lane.origin.session is None for lane in lanes)
        for lane in lanes:
            assert lane.connection is not None
            assert not lane.connection.pending
            assert not lane.connection._questions._open  # type: ignore[attr-defined]
        assert len(copies.stopped) == len(copies.servers) - len(lanes)
