"""What an interceptor asks the person: when nobody needs the answer any more, the question is taken back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, running
from gateway.test_interactive import CAN, ELICITATION, FORM, Copies, respond, streamed
from gateway.test_pipeline import Probe, everything, govern, now
from mcpcompose.interceptors.base import AskPerson, Exchange
from mcpcompose.spec.interceptor import Interceptor


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(tmp_path) as made:
        yield made


@pytest.fixture
def copies() -> Copies:
    return Copies()


@pytest.fixture
async def own(tmp_path: Path, copies: Copies) -> AsyncIterator[Stage]:
    """A handshake server that asks the client in each call."""
    async with running(tmp_path, instances=copies) as made:
        await made.serve(project(servers={"s": {"scope": "session"}}), {"s": FakeServer()})
        yield made


def approving(stage: Stage, **keys: Any) -> None:
    """`approve` around every request, as the file says it."""
    declared = stage.gateway._project
    assert declared is not None
    spec = Interceptor.model_validate({"use": "approve", **keys})
    stage.gateway.declare(declared.model_copy(update={"interceptors": (spec,)}), {})


def asks_about(method: str) -> Any:
    """Asks the person about requests of *method*."""

    def before(exchange: Exchange) -> AskPerson | None:
        return AskPerson("Really?", "The person said no.") if exchange.method == method else None

    return before


async def test_a_call_that_is_cancelled_takes_its_question_to_the_person_back(stage: Stage) -> None:
    server = everything()
    await stage.serve(project(servers={"s": {}}), {"s": server})
    outer = Probe()
    govern(stage, outer, Probe(on_before=now(AskPerson("Really?", "The person said no."))))
    session = await stage.session(capabilities=ELICITATION)
    stream, events = await streamed(stage, session)
    asked = await events.next()

    await session.post("notifications/cancelled", {"requestId": 7}, id_=None)

    withdrawn, ended = await events.next(), await events.next()
    await stream.__aexit__(None, None, None)
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == asked["id"]
    assert ended["error"]["code"] == -32800
    assert [phase for phase, _, _ in outer.seen] == ["before"]
    assert not server.calls


async def test_a_server_that_withdraws_its_question_takes_ours_about_it_back(own: Stage, copies: Copies) -> None:
    govern(own, Probe(on_before=asks_about("elicitation/create")))
    session = await own.session(capabilities=ELICITATION)
    stream, events = await streamed(own, session)
    asked = await events.next()
    assert "Really?" in asked["params"]["message"]
    (server,) = copies.servers.values()

    server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "ask"}})

    withdrawn = await events.next()
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == asked["id"]
    await respond(own, session, asked["id"], {"action": "accept", "content": {"allow": True}})
    server.result(server.calls[-1], {"content": []})
    ended = await events.next()
    await stream.__aexit__(None, None, None)
    assert ended["id"] == 7
    assert not [message for message in server.seen if message.get("id") == "ask"]


@pytest.mark.parametrize("allow", [True, False])
async def test_approve_asks_before_a_servers_question_that_match_names(own: Stage, allow: bool) -> None:
    approving(own, match={"methods": ["elicitation/create"]})
    session = await own.session(capabilities=ELICITATION)
    stream, events = await streamed(own, session)

    first = await events.next()
    assert "May the server `s` ask you" in first["params"]["message"]
    assert FORM["message"] in first["params"]["message"]
    await respond(own, session, first["id"], {"action": "accept", "content": {"allow": allow}})
    if allow:
        second = await events.next()
        assert second["params"]["message"].endswith(FORM["message"])
        await respond(own, session, second["id"], {"action": "accept", "content": {"name": "Ada"}})

    ended = await events.next()
    await stream.__aexit__(None, None, None)
    told = json.loads(ended["result"]["content"][0]["text"])
    assert told == ({"action": "accept", "content": {"name": "Ada"}} if allow else told)
    assert allow or told["code"] == -32001


async def test_approve_refuses_a_servers_question_where_nobody_can_be_asked(own: Stage) -> None:
    approving(own, match={"methods": ["sampling/*", "elicitation/*"]})

    result = (await own.post("tools/call", {"name": "s__echo", "arguments": {}})).json()["result"]

    assert "the person did not allow" in result["content"][0]["text"]


async def test_approve_without_methods_lets_servers_ask(own: Stage) -> None:
    approving(own)

    asked = (await own.post("tools/call", {"name": "s__echo", "arguments": {}, **CAN})).json()["result"]

    ((_, question),) = asked["inputRequests"].items()
    assert "May `s/echo` be used?" in question["params"]["message"]
