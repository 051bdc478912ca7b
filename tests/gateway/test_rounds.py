"""Calls of several rounds: what belongs to the round, what ends with it, and that nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import MODERN, FakeServer, LegacySession, Stage, project, running, until
from gateway.test_interactive import (
    CAN,
    ELICITATION,
    FORM,
    Copies,
    Events,
    answer_to,
    answers_with_what_it_was_told,
    asks_first,
    call,
    needs_input,
    respond,
    streamed,
)
from gateway.test_stdio import Line
from mcpcompose.upstream import wishes

URL = {"mode": "url", "message": "Log in", "url": "https://example.com/login", "elicitationId": "e-1"}


@pytest.fixture
def copies() -> Copies:
    return Copies()


@pytest.fixture
async def own(tmp_path: Path, copies: Copies) -> AsyncIterator[Stage]:
    """A handshake server of which every client has an instance of its own."""
    async with running(tmp_path, instances=copies) as stage:
        await stage.serve(project(servers={"s": {"scope": "session"}}), {"s": FakeServer()})
        yield stage


def tells_progress_and_log_then_answers(server: FakeServer, _message: dict[str, Any]) -> None:
    """What a handshake server does once its question is answered."""
    asked = server.calls[-1]
    token = asked["params"].get("_meta", {}).get("progressToken")
    progress = {"progressToken": token, "progress": 1}
    server.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
    server.send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}})
    server.result(asked, {"content": []})


def messages(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def meta(**keys: Any) -> dict[str, Any]:
    return {"_meta": {**CAN["_meta"], **keys}}


async def test_progress_and_log_messages_after_a_question_are_for_the_request_that_answered_it(
    own: Stage, copies: Copies
) -> None:
    copies.make = lambda: FakeServer(answers={"tools/call": asks_first(), None: tells_progress_and_log_then_answers})
    level = {"io.modelcontextprotocol/logLevel": "info"}
    asked = (await call(own, meta(progressToken="first", **level)))["result"]

    params = {"name": "s__echo", "arguments": {}, **meta(progressToken="second"), **answer_to(asked)}
    told = messages((await own.post("tools/call", params)).text)

    assert [one.get("method") for one in told] == ["notifications/progress", None]
    assert told[0]["params"]["progressToken"] == "second"


async def test_what_a_server_said_while_people_answered_is_told_with_the_token_of_the_next_request(
    own: Stage, copies: Copies
) -> None:
    asked = (await call(own, meta(progressToken="first")))["result"]
    [server] = copies.servers.values()
    token = server.calls[-1]["params"]["_meta"]["progressToken"]
    for number in (1, 2):
        params = {"progressToken": token, "progress": number}
        server.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    params = {"name": "s__echo", "arguments": {}, **meta(progressToken=7), **answer_to(asked)}
    told = messages((await own.post("tools/call", params)).text)

    assert [one["params"]["progressToken"] for one in told[:-1]] == [7, 7]


async def test_what_the_next_request_does_not_say_it_can_do_is_not_asked_of_it(own: Stage, copies: Copies) -> None:
    def asks_again(server: FakeServer, message: dict[str, Any]) -> None:
        if "result" in message:
            server.send({"jsonrpc": "2.0", "id": "again", "method": "elicitation/create", "params": FORM})
        else:
            answers_with_what_it_was_told(server, message)

    copies.make = lambda: FakeServer(answers={"tools/call": asks_first(), None: asks_again})
    asked = (await call(own))["result"]

    response = await own.post("tools/call", {"name": "s__echo", "arguments": {}, **answer_to(asked)})

    assert json.loads(response.json()["result"]["content"][0]["text"])["code"] == -32601


async def test_a_question_that_is_put_again_names_its_server_once(tmp_path: Path, copies: Copies) -> None:
    async with running(tmp_path, instances=copies) as stage:
        servers = {"s": {"scope": "session"}, "t": {}}
        await stage.serve(project(servers=servers), {"s": FakeServer(), "t": FakeServer()})
        first = (await call(stage))["result"]
        again = (await call(stage, {"requestState": first["requestState"]}))["result"]

    [request] = again["inputRequests"].values()
    assert request["params"]["message"] == "[s] Your name?"


async def test_a_client_that_knows_forms_only_is_not_asked_to_open_an_address(own: Stage, copies: Copies) -> None:
    copies.make = lambda: FakeServer(
        answers={"tools/call": asks_first(params=URL), None: answers_with_what_it_was_told}
    )
    forms = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}}
    session = await own.session(capabilities={"elicitation": {}}, version="2025-06-18")

    modern = json.loads((await call(own, forms))["result"]["content"][0]["text"])
    handshake = (await session.post("tools/call", {"name": "s__echo"})).text

    assert modern["code"] == -32602
    assert "-32602" in handshake


async def test_a_client_that_opens_addresses_is_asked_to(own: Stage, copies: Copies) -> None:
    copies.make = lambda: FakeServer(
        answers={"tools/call": asks_first(params=URL), None: answers_with_what_it_was_told}
    )
    [request] = (await call(own))["result"]["inputRequests"].values()

    assert request["params"] == {key: value for key, value in URL.items() if key != "elicitationId"}


def url_needed(server: FakeServer, message: dict[str, Any]) -> None:
    error = {"code": -32042, "message": "log in first", "data": {"elicitations": [URL]}}
    server.send({"jsonrpc": "2.0", "id": message["id"], "error": error})


async def test_addresses_that_have_to_be_opened_first_are_asked_for_of_those_who_can(stage: Stage) -> None:
    servers = {"s": FakeServer(answers={"tools/call": url_needed}), "t": FakeServer()}
    await stage.serve(project(servers={"s": {}, "t": {}}), servers)

    [request] = (await call(stage))["result"]["inputRequests"].values()
    unable = await stage.post("tools/call", {"name": "s__echo", "arguments": {}})

    assert request["params"]["message"] == "[s] Log in"
    assert unable.status_code == 400
    error = unable.json()["error"]
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"elicitation": {"url": {}}}})


async def test_progress_after_a_question_that_a_client_cannot_be_asked_is_not_lost(own: Stage, copies: Copies) -> None:
    copies.make = lambda: FakeServer(answers={"tools/call": asks_first(), None: tells_progress_and_log_then_answers})
    params = {"name": "s__echo", "arguments": {}, "_meta": {"progressToken": "p"}}

    told = messages((await own.post("tools/call", params)).text)

    assert [one.get("method") for one in told] == ["notifications/progress", None]


async def test_a_question_that_is_open_when_its_call_ends_is_taken_back(own: Stage, copies: Copies) -> None:
    session = await own.session(capabilities=ELICITATION)
    stream, events = await streamed(own, session)
    asked = await events.next()
    [server] = copies.servers.values()

    server.result(server.calls[-1], {"content": []})

    taken_back, done = await events.next(), await events.next()
    await stream.__aexit__(None, None, None)
    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"]["requestId"] == asked["id"]
    assert done["id"] == 7


async def test_a_question_outside_of_calls_names_its_server(tmp_path: Path, copies: Copies) -> None:
    copies.make = FakeServer
    async with running(tmp_path, instances=copies) as stage:
        servers = {"s": {"scope": "session"}, "t": {}}
        await stage.serve(project(servers=servers), {"s": FakeServer(), "t": FakeServer()})
        session = await stage.session(capabilities=ELICITATION)
        await session.post("tools/call", {"name": "s__echo"})
        listening = stage.http.stream("GET", stage.url, headers=session.headers)
        events = Events(await listening.__aenter__())
        [server] = copies.servers.values()
        server.send({"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": FORM})

        asked = await events.next()

        await listening.__aexit__(None, None, None)
    assert asked["params"]["message"] == "[s] Your name?"


async def test_a_question_belongs_to_the_clients_call_though_a_request_of_ours_came_later(
    own: Stage, copies: Copies
) -> None:
    capabilities: dict[str, Any] = {"tools": {}, "logging": {}}
    made = {"tools/call": None, "logging/setLevel": None, None: answers_with_what_it_was_told}
    copies.make = lambda: FakeServer(capabilities=capabilities, answers=made)  # type: ignore[arg-type]
    own.gateway.supervisor._slots["s"].offering.lists = None
    await own.attach("s", FakeServer(capabilities=capabilities))
    assert await own.gateway.settled(10)
    own.gateway._swap_now()
    session = await own.session(capabilities=ELICITATION)
    stream = asyncio.create_task(session.post("tools/call", {"name": "s__echo"}, id_=7))
    await until(lambda: any(m.get("method") == "tools/call" for s in copies.servers.values() for m in s.seen))
    [server] = copies.servers.values()
    level = asyncio.create_task(session.post("logging/setLevel", {"level": "info"}, id_=8))
    await until(lambda: server.seen[-1].get("method") == "logging/setLevel")

    server.calls.append(next(m for m in server.seen if m.get("method") == "tools/call"))
    server.send({"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": FORM})
    await until(lambda: bool(session_asks(own)))
    await respond(own, session, "gw-ask-1", {"action": "decline"})
    server.result(server.seen[-2] if server.seen[-1].get("id") == "ask" else server.seen[-1], {})

    assert "decline" in (await stream).text
    level.cancel()


def session_asks(stage: Stage) -> dict[str, Any]:
    [session] = stage.gateway._front._legacy.sessions._sessions.values()
    return dict(session.asks._open)


async def test_a_server_that_never_answers_about_levels_keeps_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "_SECONDS", 0.1)
    server = FakeServer(capabilities={"tools": {}, "logging": {}}, answers={"logging/setLevel": None})
    await stage.serve(project(servers={"s": {}}), {"s": server})
    session = await stage.session()

    async with asyncio.timeout(5):
        answer = await session.post("logging/setLevel", {"level": "info"})

    assert answer.json()["result"] == {}


async def batch(stage: Stage, session: LegacySession) -> Any:
    ask = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "s__echo", "arguments": {}}}
    return await stage.http.post(stage.url, content=json.dumps([ask]).encode(), headers=session.headers)


async def test_a_call_of_a_batch_can_be_cancelled_and_ends_with_its_session(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"s": {}}), {"s": server})
    for ends in ("cancel", "delete"):
        session = await stage.session("2025-03-26")
        waiting = asyncio.create_task(batch(stage, session))
        before = len(server.seen)
        await until(lambda before=before: len(server.seen) > before)  # type: ignore[misc]
        if ends == "cancel":
            await session.post("notifications/cancelled", {"requestId": 7}, id_=None)
        else:
            await stage.http.delete(stage.url, headers=session.headers)
        async with asyncio.timeout(5):
            [answer] = (await waiting).json()
        assert answer["error"]["code"] == -32800


def is_a_task(status: str, **more: Any) -> Any:
    """A modern server's tool that becomes a task in this state."""

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        task = {"resultType": "task", "taskId": "t-1", "status": "working", "pollIntervalMs": 50, "ttlMs": None}
        if message["method"] == "tasks/get":
            task |= {"status": status, **more}
        server.result(message, {**task, "resultType": "task" if message["method"] == "tools/call" else "complete"})

    return call


TASKS: dict[str, Any] = {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}


async def test_a_task_whose_question_nobody_answers_ends_and_is_cancelled(stage: Stage) -> None:
    asks = {"q": {"method": "elicitation/create", "params": FORM}}
    takes = is_a_task("input_required", inputRequests=asks)
    server = FakeServer(modern=True, capabilities=TASKS, answers={"tools/call": takes, "tasks/get": takes})
    await stage.serve(project(servers={"s": {"timeouts": {"parked": "100ms"}}}), {"s": server})
    session = await stage.session(capabilities=ELICITATION)

    async with asyncio.timeout(5):
        answer = (await session.post("tools/call", {"name": "s__echo"})).text

    assert "did not answer in time" in answer
    await until(lambda: any(message["method"] == "tasks/cancel" for message in server.seen))


async def test_a_task_is_cancelled_even_while_it_is_being_looked_at(stage: Stage) -> None:
    answers: Any = {"tools/call": is_a_task("working"), "tasks/get": None}
    server = FakeServer(modern=True, capabilities=TASKS, answers=answers)
    await stage.serve(project(servers={"s": {}}), {"s": server})
    session = await stage.session()
    waiting = asyncio.create_task(session.post("tools/call", {"name": "s__echo"}, id_=7))
    await until(lambda: server.seen[-1].get("method") == "tasks/get")

    await session.post("notifications/cancelled", {"requestId": 7}, id_=None)

    await until(lambda: any(message["method"] == "tasks/cancel" for message in server.seen))
    assert "-32800" in (await waiting).text


async def test_a_task_on_an_instance_of_ones_own_is_cancelled_there(tmp_path: Path, copies: Copies) -> None:
    answers = {"tools/call": is_a_task("working"), "tasks/get": is_a_task("working")}
    copies.make = lambda: FakeServer(modern=True, capabilities=TASKS, answers=answers)
    async with running(tmp_path, instances=copies) as stage:
        primary = FakeServer(modern=True, capabilities=TASKS)
        await stage.serve(project(servers={"s": {"scope": "session"}}), {"s": primary})
        session = await stage.session()
        waiting = asyncio.create_task(session.post("tools/call", {"name": "s__echo"}, id_=7))
        await until(lambda: any(m.get("method") == "tasks/get" for s in copies.servers.values() for m in s.seen))

        await session.post("notifications/cancelled", {"requestId": 7}, id_=None)

        [server] = copies.servers.values()
        await until(lambda: any(message["method"] == "tasks/cancel" for message in server.seen))
        assert not any(message["method"] == "tasks/cancel" for message in primary.seen)
        await waiting


async def test_the_time_for_people_is_part_of_the_time_of_the_whole_call(stage: Stage) -> None:
    server = FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create")})
    await stage.serve(project(servers={"s": {"timeouts": {"total": "300ms", "call": "100ms"}}}), {"s": server})
    session = await stage.session(capabilities=ELICITATION)

    async with asyncio.timeout(5):
        answer = (await session.post("tools/call", {"name": "s__echo"})).text

    assert "did not answer in time" in answer


async def test_the_next_round_of_a_waiting_call_belongs_to_the_endpoint_it_began_at(own: Stage, copies: Copies) -> None:
    copies.make = lambda: FakeServer(
        resources=[{"uri": "memo://a", "name": "a"}],
        answers={"resources/read": asks_first(), None: answers_with_what_it_was_told},
    )
    await own.attach("s", FakeServer(resources=[{"uri": "memo://a", "name": "a"}]))
    assert await own.gateway.settled(10)
    own.gateway._swap_now()
    asked = (await own.post("resources/read", {"uri": "memo://a", **CAN})).json()["result"]

    again = {"uri": "memo://a", **CAN, **answer_to(asked)}
    elsewhere = (await own.post("resources/read", again, path="/servers/s/mcp")).json()
    here = (await own.post("resources/read", again)).json()

    assert elsewhere["error"]["data"] == {"reason": "invalid_request_state"}
    assert here["result"]["resultType"] == "complete"


async def test_a_state_of_a_modern_server_outlives_the_gateway(tmp_path: Path) -> None:
    key = b"k" * 32
    async with running(tmp_path, key=key) as stage:
        server = FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create")})
        await stage.serve(project(servers={"s": {}}), {"s": server})
        asked = (await call(stage))["result"]
    async with running(tmp_path, key=key) as stage:
        server = FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create")})
        await stage.serve(project(servers={"s": {}}), {"s": server})
        assert (await call(stage, answer_to(asked)))["result"]["resultType"] == "complete"


async def test_a_server_that_takes_back_what_it_never_asked_tells_no_client(own: Stage, copies: Copies) -> None:
    copies.make = lambda: FakeServer(answers={"tools/call": None})
    session = await own.session(capabilities=ELICITATION)
    waiting = asyncio.create_task(session.post("tools/call", {"name": "s__echo"}))
    await until(lambda: any(m.get("method") == "tools/call" for s in copies.servers.values() for m in s.seen))
    listening = own.http.stream("GET", own.url, headers=session.headers)
    events = Events(await listening.__aenter__())
    [server] = copies.servers.values()

    server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "gw-ask-1"}})
    server.send({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {}})

    assert (await events.next())["method"] == "notifications/vendor"
    await listening.__aexit__(None, None, None)
    server.result(server.seen[-1], {"content": []})
    await waiting


async def test_progress_of_an_answer_is_told_to_the_server_that_asked_alone(tmp_path: Path, copies: Copies) -> None:
    asks = {**FORM, "_meta": {"progressToken": 1}}
    made = [
        FakeServer(answers={"tools/call": asks_first(params=asks), None: answers_with_what_it_was_told}),
        FakeServer(),
    ]
    remaining = iter(made)
    copies.make = lambda: next(remaining)
    async with running(tmp_path, instances=copies) as stage:
        servers = {"s": {"scope": "session"}, "t": {"scope": "session"}}
        await stage.serve(project(servers=servers), {"s": FakeServer(), "t": FakeServer()})
        session = await stage.session(capabilities=ELICITATION)
        stream, events = await streamed(stage, session)
        asked = await events.next()
        await session.post("tools/call", {"name": "t__echo"})

        for token in (1, 2):
            await session.post("notifications/progress", {"progressToken": token, "progress": 0.5}, id_=None)
        await session.post("notifications/roots/list_changed", id_=None)

        await until(lambda: all(s.seen[-1].get("method") == "notifications/roots/list_changed" for s in made))
        told = [[m["params"] for m in s.seen if m.get("method") == "notifications/progress"] for s in made]
        assert told == [[{"progressToken": 1, "progress": 0.5}], []]
        await respond(stage, session, asked["id"], {"action": "cancel"})
        await events.next()
        await stream.__aexit__(None, None, None)


async def test_a_capability_that_a_handshake_client_lacks_is_an_error_it_knows(stage: Stage) -> None:
    def refuses(server: FakeServer, message: dict[str, Any]) -> None:
        data = {"requiredCapabilities": {"elicitation": {}}}
        error = {"code": -32021, "message": "cannot be asked", "data": data}
        server.send({"jsonrpc": "2.0", "id": message["id"], "error": error})

    await stage.serve(project(servers={"s": {}}), {"s": FakeServer(modern=True, answers={"tools/call": refuses})})
    session = await stage.session()

    handshake = (await session.post("tools/call", {"name": "s__echo"})).json()["error"]
    modern = await stage.post("tools/call", {"name": "s__echo", "arguments": {}})

    assert (handshake["code"], handshake["message"]) == (-32603, "cannot be asked")
    assert modern.json()["error"]["code"] == -32021


async def test_a_call_that_waits_for_a_client_on_standard_streams_ends_when_that_goes(
    own: Stage, copies: Copies
) -> None:
    line = await Line.open(own, token=own.token())
    said = {"io.modelcontextprotocol/protocolVersion": MODERN, **CAN["_meta"]}
    asked = await line.ask("tools/call", {"name": "s__echo", "arguments": {}, "_meta": said})
    assert asked["result"]["resultType"] == "input_required"
    [server] = copies.servers.values()

    line.writer.close()

    await until(lambda: any(message.get("method") == "notifications/cancelled" for message in server.seen))
    assert len(own.gateway.kernel.rounds.parked) == 0


async def test_a_call_on_standard_streams_goes_on_with_the_answer(own: Stage) -> None:
    line = await Line.open(own, token=own.token())
    said = {"io.modelcontextprotocol/protocolVersion": MODERN, **CAN["_meta"]}
    params = {"name": "s__echo", "arguments": {}, "_meta": said}
    asked = (await line.ask("tools/call", params))["result"]

    done = await line.ask("tools/call", {**params, **answer_to(asked, name="Ada")}, id_=2)

    assert json.loads(done["result"]["content"][0]["text"])["content"] == {"name": "Ada"}
    line.writer.close()
