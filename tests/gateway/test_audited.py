"""What each way through the gateway leaves in the audit log, and what becomes of a request that cannot be written."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, Stage, project, running, tool, until
from mcpcompose.audit.entries import Filter, entries
from mcpcompose.audit.verify import verify
from mcpcompose.engine.base import StreamEndpoint
from mcpcompose.gateway.gateway import Governed
from mcpcompose.interceptors.base import Exchange
from mcpcompose.interceptors.sessions import GovernedSessions
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Audit
from mcpcompose.upstream.batch import batch_is_over
from mcpcompose.upstream.call import Call, Origin, Reply

ERAS = ["modern", "legacy"]
REQUESTS: dict[str, dict[str, Any]] = {
    "tools/call": {"name": "a__echo", "arguments": {"text": "grüße"}},
    "prompts/get": {"name": "a__hello", "arguments": {"text": "1"}},
    "resources/read": {"uri": "note://one"},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "a__hello"},
        "argument": {"name": "x", "value": "1"},
    },
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    governed = Governed(
        sessions=tmp_path / "sessions.json", audit=tmp_path / "audit", redactor=Redactor(), environ=dict
    )
    async with running(tmp_path, governed=governed) as made:
        yield made


def written(stage: Stage) -> list[dict[str, Any]]:
    return list(entries(stage.folder / "audit", Filter()))


async def serve(stage: Stage, **answers: Any) -> FakeServer:
    server = FakeServer(
        tools=[tool("echo")],
        prompts=[{"name": "hello"}],
        resources=[{"uri": "note://one", "name": "one"}],
        capabilities={"tools": {}, "prompts": {}, "resources": {}, "completions": {}},
        answers={
            "completion/complete": lambda one, message: one.result(message, {"completion": {"values": ["x"]}}),
            **{method.replace("_", "/"): answer for method, answer in answers.items()},
        },
    )
    await stage.serve(project(servers={"a": {}}, clients={"cursor": "default"}), {"a": server})
    return server


async def ask(stage: Stage, method: str, era: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    params = REQUESTS[method] if params is None else params
    if era == "modern":
        return dict((await stage.post(method, params, client="cursor")).json())
    session = await stage.session(client="cursor")
    return dict((await session.post(method, params)).json())


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", REQUESTS)
async def test_every_request_to_a_server_is_written_down_with_who_and_what(stage: Stage, method: str, era: str) -> None:
    await serve(stage)
    await ask(stage, method, era)

    (entry,) = written(stage)
    assert (entry["client"], entry["server"], entry["method"], entry["outcome"]) == ("cursor", "a", method, "ok")
    assert entry.get("name") == {"tools/call": "echo", "prompts/get": "hello", "resources/read": "note://one"}.get(
        method
    )
    assert entry.get("modern", False) is (era == "modern")
    assert entry["bytes"] > 0
    assert len(entry["session"]) == 16


@pytest.mark.parametrize("era", ERAS)
async def test_the_record_is_there_before_the_server_sees_the_request(stage: Stage, era: str) -> None:
    seen: list[str] = []

    def look(server: FakeServer, message: dict[str, Any]) -> None:
        seen.extend(entry["outcome"] for entry in written(stage))
        server.result(message, {"content": []})

    await serve(stage, tools_call=look)
    await ask(stage, "tools/call", era)
    assert seen == ["under way"]


@pytest.mark.parametrize("era", ERAS)
async def test_errors_of_a_server_are_told_as_such(stage: Stage, era: str) -> None:
    def fail(server: FakeServer, message: dict[str, Any]) -> None:
        server.send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -1, "message": "out of order"}})

    await serve(stage, tools_call=fail)
    await ask(stage, "tools/call", era)
    (entry,) = written(stage)
    assert (entry["outcome"], entry["error"]) == ("error", "out of order")


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_does_not_exist_leaves_a_trace(stage: Stage, era: str) -> None:
    await serve(stage)
    await ask(stage, "tools/call", era, {"name": "a__rm", "arguments": {}})
    (entry,) = written(stage)
    assert (entry["client"], entry["outcome"], entry["name"]) == ("cursor", "refused", "a__rm")


async def test_a_call_that_the_client_gives_up_is_cancelled(stage: Stage) -> None:
    server = await serve(stage, tools_call=lambda _server, _message: None)
    session = await stage.session(client="cursor")
    waiting = asyncio.create_task(session.post("tools/call", REQUESTS["tools/call"], id_=7))
    await until(lambda: any(one.get("method") == "tools/call" for one in server.seen))
    await session.post("notifications/cancelled", {"requestId": 7}, id_=None)
    await until(lambda: [entry["outcome"] for entry in written(stage)] == ["cancelled"])
    waiting.cancel()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", REQUESTS)
async def test_what_cannot_be_written_down_never_reaches_the_server_and_goes_on_later(
    stage: Stage, method: str, era: str
) -> None:
    server = await serve(stage)
    folder = stage.folder / "audit"
    folder.write_text("in the way")

    refused = await ask(stage, method, era)

    assert refused["error"]["code"] == -32603
    assert refused["error"]["data"]["retryable"] is True
    assert not [one for one in server.seen if one.get("method") == method]
    assert "cannot be written" in stage.gateway.governance.problems()[0]["problem"]

    folder.unlink()
    for _ in range(100):
        answered = await ask(stage, method, era)
        if "result" in answered:
            break
        await asyncio.sleep(0.02)
    assert "result" in answered
    assert stage.gateway.governance.problems() == []


@pytest.mark.parametrize("era", ERAS)
async def test_an_answer_that_cannot_be_written_down_does_not_leave(stage: Stage, era: str) -> None:
    folder = stage.folder / "audit"

    def take_it_away(server: FakeServer, message: dict[str, Any]) -> None:
        governance = stage.gateway.governance
        assert governance.audit is not None
        governance.audit.close()
        shutil.rmtree(folder)
        folder.write_text("in the way")
        server.result(message, {"content": [{"type": "text", "text": "private"}]})

    await serve(stage, tools_call=take_it_away)
    answered = await ask(stage, "tools/call", era)
    assert "private" not in json.dumps(answered)
    assert answered["error"]["code"] == -32603


async def test_turned_off_nothing_is_written_and_the_log_says_so(stage: Stage) -> None:
    await serve(stage)
    await ask(stage, "tools/call", "modern")
    off = project(servers={"a": {}}, clients={"cursor": "default"}, audit=Audit(enabled=False))
    stage.gateway.declare(off, {})
    assert "result" in await ask(stage, "tools/call", "modern")
    assert len(written(stage)) == 1
    (path,) = (stage.folder / "audit").glob("*.jsonl")
    assert json.loads(path.read_bytes().splitlines()[-1])["event"] == "off"
    assert verify(stage.folder / "audit").problems == []


async def test_what_began_while_it_was_on_ends_in_the_log_after_it_was_turned_off(stage: Stage) -> None:
    def turn_it_off(server: FakeServer, message: dict[str, Any]) -> None:
        off = project(servers={"a": {}}, clients={"cursor": "default"}, audit=Audit(enabled=False))
        stage.gateway.declare(off, {})
        server.result(message, {"content": []})

    await serve(stage, tools_call=turn_it_off)
    await ask(stage, "tools/call", "modern")
    assert [entry["outcome"] for entry in written(stage)] == ["ok"]


class Turn:
    """Some requests that come in one turn of the event loop; *submitted* are those that went on."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.submitted: list[Call] = []
        self.written: list[int] = []
        self.calls = [Call("tools/call", {"name": "echo", "arguments": {"n": at}}) for at in range(number)]
        self._begin = stage.gateway.governance.begin
        real = os.write

        def write(descriptor: int, data: bytes) -> int:
            self.written.append(data.count(b'"event":"begin"') + data.count(b'"event":"end"'))
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", write)

    def begin(self) -> None:
        for call in self.calls:
            self._begin(call, call.method, Origin("cursor"), "default", "a", "a__echo", self.submitted.append)


async def test_the_requests_of_one_turn_are_written_in_one_go_and_none_goes_on_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    await ask(stage, "tools/call", "modern")
    turn = Turn(stage, monkeypatch, 5)

    turn.begin()
    assert (turn.submitted, turn.written) == ([], [])
    await asyncio.sleep(0)
    assert turn.submitted == turn.calls

    for call in turn.calls:
        call.finish(Reply(result=b"{}"))
    assert [call.reply for call in turn.calls] == [None] * 5
    await asyncio.sleep(0)
    assert [call.reply for call in turn.calls] == [Reply(result=b"{}")] * 5
    assert [number for number in turn.written if number] == [5, 5]
    assert verify(stage.folder / "audit").problems == []


async def test_what_one_piece_of_output_answers_leaves_as_soon_as_all_of_it_is_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    turn = Turn(stage, monkeypatch, 2)
    turn.begin()
    await asyncio.sleep(0)
    for call in turn.calls:
        call.finish(Reply(result=b"{}"))
    batch_is_over()
    assert [call.reply for call in turn.calls] == [Reply(result=b"{}")] * 2
    await asyncio.sleep(0)
    assert [number for number in turn.written if number] == [2, 2]


async def test_of_what_cannot_be_written_in_one_go_nothing_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    (stage.folder / "audit").write_text("in the way")
    turn = Turn(stage, monkeypatch, 3)
    turn.begin()
    await asyncio.sleep(0)
    assert turn.submitted == []
    assert [b"audit log" in ((call.reply and call.reply.error) or b"") for call in turn.calls] == [True] * 3


async def test_who_gives_up_before_it_is_written_sends_nothing_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    turn = Turn(stage, monkeypatch, 2)
    turn.begin()
    turn.calls[0].cancel()
    await asyncio.sleep(0)
    assert turn.submitted == turn.calls[1:]
    assert sorted(entry["outcome"] for entry in written(stage)) == ["cancelled", "under way"]


@contextmanager
def suppress_in_loop(told: list[object]) -> Iterator[None]:
    """What the loop would report is told instead."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    try:
        yield
    finally:
        loop.set_exception_handler(before)


async def test_one_that_fails_when_it_goes_on_holds_up_no_other_of_its_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    ledger, turn = stage.gateway.governance.ledger, Turn(stage, monkeypatch, 2)
    exchange = Exchange("x-1", "ping", "a", None, None, {}, "cursor", "default", GovernedSessions().of("cursor"))
    told: list[object] = []

    def fail(_refused: Reply | None) -> None:
        raise ValueError("out of order")

    with suppress_in_loop(told):
        ledger.began(exchange, fail)
        turn.begin()
        await until(lambda: turn.submitted == turn.calls)
    assert len(told) == 1


async def test_what_cannot_be_made_into_a_record_is_refused_and_not_written_with_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    turn = Turn(stage, monkeypatch, 2)
    turn.calls[1].params["arguments"] = {1: "no name"}
    turn.begin()
    await asyncio.sleep(0)
    assert turn.submitted == []
    assert [call.reply is not None and call.reply.error is not None for call in turn.calls] == [True, True]

    await ask(stage, "tools/call", "modern")
    assert [entry["outcome"] for entry in written(stage)] == ["ok"]


async def test_what_begins_in_the_turn_in_which_the_gateway_ends_goes_no_further(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(stage)
    turn = Turn(stage, monkeypatch, 2)
    turn.begin()
    await stage.gateway.governance.close()
    await asyncio.sleep(0)
    assert turn.submitted == []
    assert [call.reply is not None for call in turn.calls] == [True, True]
    (path,) = (stage.folder / "audit").glob("*.jsonl")
    assert json.loads(path.read_bytes().splitlines()[-1])["event"] == "stop"


class Copies:
    """Instances on request, as a server that asks needs."""

    def __init__(self, make: Callable[[], FakeServer]) -> None:
        self._make = make

    async def start_copy(self, server: str) -> tuple[str, Any]:
        return f"{server}-2", StreamEndpoint(self._make())

    async def stop_copy(self, server: str, copy: str) -> None: ...

    async def rest(self, server: str) -> None: ...


def asking() -> FakeServer:
    calls: list[dict[str, Any]] = []

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        calls.append(message)
        form = {"mode": "form", "message": "Name?", "requestedSchema": {"type": "object", "properties": {}}}
        server.send({"jsonrpc": "2.0", "id": "ask", "method": "elicitation/create", "params": form})

    def told(server: FakeServer, message: dict[str, Any]) -> None:
        server.result(calls[-1], {"content": []})

    return FakeServer(tools=[tool("echo")], answers={"tools/call": call, None: told})


async def test_a_server_s_question_and_its_answer_are_written_down_as_such(tmp_path: Path) -> None:
    governed = Governed(
        sessions=tmp_path / "sessions.json", audit=tmp_path / "audit", redactor=Redactor(), environ=dict
    )
    async with running(tmp_path, governed=governed, instances=Copies(asking)) as stage:
        declared = project(servers={"a": {"scope": "client"}}, clients={"cursor": "default"})
        await stage.serve(declared, {"a": asking()})
        can = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}}
        call = {"name": "a__echo", "arguments": {}, **can}
        first = (await stage.post("tools/call", call, client="cursor")).json()["result"]
        [key] = first["inputRequests"]
        answer = {"inputResponses": {key: {"action": "decline"}}, "requestState": first["requestState"]}
        await stage.post("tools/call", {**call, **answer}, client="cursor")

        (question,) = [entry for entry in written(stage) if entry["method"] == "elicitation/create"]
        assert (question["direction"], question["client"], question["server"]) == ("to_client", "cursor", "a")
        assert question["outcome"] == "ok"
        assert {entry["outcome"] for entry in written(stage)} == {"ok"}
