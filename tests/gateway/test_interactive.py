"""Servers that ask back: who is asked, who may answer, and what happens when nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.stage import FakeServer, LegacySession, Stage, project, running, until
from mcpcompose.engine.base import Endpoint, StreamEndpoint

ELICITATION = {"elicitation": {"form": {}, "url": {}}}
FORM = {"mode": "form", "message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}
CAN = {"_meta": {"io.modelcontextprotocol/clientCapabilities": ELICITATION}}


def asks_first(method: str = "elicitation/create", params: dict[str, Any] | None = None) -> Any:
    """A handshake server's tool that asks before it answers with what it was told."""

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        server.send({"jsonrpc": "2.0", "id": "ask", "method": method, "params": params or FORM})

    return call


def answers_with_what_it_was_told(server: FakeServer, message: dict[str, Any]) -> None:
    """The server gets the answer to its question: the call that waits ends with it."""
    told = json.dumps(message.get("result", message.get("error")))
    if server.calls:
        server.result(server.calls[-1], {"content": [{"type": "text", "text": told}]})


class Copies:
    """Instances on request, each a server in memory that asks back."""

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}
        self.stopped: list[str] = []
        self.make: Callable[[], FakeServer] = lambda: FakeServer(
            answers={"tools/call": asks_first(), None: answers_with_what_it_was_told}
        )

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        copy = f"{server}-{len(self.servers) + 2}"
        made = self.make()
        self.servers[copy] = made
        return copy, StreamEndpoint(made)

    async def stop_copy(self, server: str, copy: str) -> None:
        assert copy.startswith(server)
        self.stopped.append(copy)

    async def wake(self, server: str) -> None: ...

    async def rest(self, server: str) -> None: ...


@pytest.fixture
def copies() -> Copies:
    return Copies()


@pytest.fixture
async def own(tmp_path: Path, copies: Copies) -> AsyncIterator[Stage]:
    """A handshake server of which every client has an instance of its own."""
    async with running(tmp_path, instances=copies) as stage:
        await stage.serve(
            project(servers={"s": {"scope": "session"}}, clients={"other": "default"}), {"s": FakeServer()}
        )
        yield stage


async def call(stage: Stage, params: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """A tool call of a modern client that can be asked; its result or error."""
    response = await stage.post("tools/call", {"name": "s__echo", "arguments": {}, **CAN, **(params or {})}, **keys)
    return dict(response.json())


def answer_to(result: dict[str, Any], **content: Any) -> dict[str, Any]:
    """The params of the next round, with *content* for every question."""
    told = {"action": "accept", "content": content}
    return {
        "inputResponses": dict.fromkeys(result["inputRequests"], told),
        "requestState": result["requestState"],
    }


async def test_a_modern_client_is_asked_by_a_handshake_server_and_comes_back_with_the_answer(own: Stage) -> None:
    asked = (await call(own))["result"]
    assert asked["resultType"] == "input_required"
    [request] = asked["inputRequests"].values()
    assert request == {"method": "elicitation/create", "params": FORM}

    done = (await call(own, answer_to(asked, name="Ada")))["result"]

    assert done["resultType"] == "complete"
    assert json.loads(done["content"][0]["text"]) == {"action": "accept", "content": {"name": "Ada"}}


async def test_a_handle_is_good_for_one_client_one_request_and_once(own: Stage, copies: Copies) -> None:
    asked = (await call(own))["result"]
    again = answer_to(asked, name="Eve")

    stolen = await call(own, again, client="other")
    changed = await call(own, {**again, "arguments": {"amount": 1_000_000}})
    for refused in (stolen, changed):
        assert refused["error"]["code"] == -32602
        assert refused["error"]["data"] == {"reason": "invalid_request_state"}
    assert (await call(own, again))["result"]["resultType"] == "complete"
    assert (await call(own, again))["error"]["data"] == {"reason": "invalid_request_state"}
    assert len(copies.servers) == 1


@pytest.mark.parametrize(
    "state", ["", "parked.", "parked.x", "sealed.x", "sealed.ffffffff.0.x", "x" * 10_000, "\u0000"]
)
async def test_a_made_up_state_is_refused_and_reaches_no_server(own: Stage, copies: Copies, state: str) -> None:
    refused = await call(own, {"requestState": state})

    assert refused["error"]["code"] == -32602
    assert not any(server.calls for server in copies.servers.values())


async def test_a_retry_without_the_answer_is_asked_again(own: Stage) -> None:
    asked = (await call(own))["result"]

    again = (await call(own, {"requestState": asked["requestState"]}))["result"]
    assert again["resultType"] == "input_required"
    assert again["requestState"] != asked["requestState"]
    assert (await call(own, answer_to(again)))["result"]["resultType"] == "complete"


async def test_a_client_that_cannot_be_asked_is_not_and_the_server_is_told(own: Stage) -> None:
    response = await own.post("tools/call", {"name": "s__echo", "arguments": {}})

    told = json.loads(response.json()["result"]["content"][0]["text"])
    assert told["code"] == -32601
    assert "elicitation" in told["message"]


async def test_the_server_gets_the_clients_own_capabilities(own: Stage, copies: Copies) -> None:
    await call(own)

    [server] = copies.servers.values()
    hello = next(message for message in server.seen if message.get("method") == "initialize")
    assert hello["params"]["capabilities"] == ELICITATION


async def test_nobody_comes_back_so_the_call_ends_and_the_server_is_told(own: Stage, copies: Copies) -> None:
    own.gateway.declare(project(servers={"s": {"scope": "session", "timeouts": {"parked": "50ms"}}}), {})
    asked = (await call(own))["result"]
    [server] = copies.servers.values()

    await until(lambda: any(message.get("method") == "notifications/cancelled" for message in server.seen))
    assert len(own.gateway.kernel.rounds.parked) == 0
    late = await call(own, answer_to(asked))
    assert late["error"]["data"] == {"reason": "invalid_request_state"}


@pytest.mark.parametrize(
    "narrowed", [{"tools": {"deny": ["echo"]}}, None], ids=["tool denied", "server out of profile"]
)
async def test_a_call_that_waits_is_not_gone_on_with_once_its_client_may_no_longer_make_it(
    own: Stage, copies: Copies, narrowed: dict[str, Any] | None
) -> None:
    asked = (await call(own))["result"]
    [server] = copies.servers.values()
    profiles = {} if narrowed else {"default": {"servers": []}}
    own.gateway.declare(project(servers={"s": {"scope": "session", **(narrowed or {})}}, profiles=profiles), {})

    refused = await call(own, answer_to(asked, name="Ada"))

    assert refused["error"]["code"] == -32602
    await until(lambda: any(message.get("method") == "notifications/cancelled" for message in server.seen))
    assert not any(message.get("id") == "ask" and "result" in message for message in server.seen)
    assert len(own.gateway.kernel.rounds.parked) == 0


async def test_one_client_cannot_park_calls_without_end(own: Stage) -> None:
    own.gateway.kernel.rounds.parked.most = 5
    for _ in range(5):
        assert (await call(own))["result"]["resultType"] == "input_required"

    assert "too many" in (await call(own))["error"]["message"]
    assert "result" in await call(own, client="other")


class Events:
    """A session's streamed call: its events as they come."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("data:") and line[5:].strip():
                    return dict(json.loads(line[5:]))
        raise AssertionError("the stream ended")


async def streamed(stage: Stage, session: LegacySession) -> tuple[Any, Events]:
    """A tool call whose answer is streamed."""
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "s__echo", "arguments": {}}}
    stream = stage.http.stream("POST", stage.url, content=json.dumps(body).encode(), headers=session.headers)
    return stream, Events(await stream.__aenter__())


async def respond(stage: Stage, session: LegacySession, id_: Any, result: Any) -> int:
    body = json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()
    return (await stage.http.post(stage.url, content=body, headers=session.headers)).status_code


async def test_a_handshake_client_is_asked_on_the_stream_of_its_call(own: Stage) -> None:
    session = await own.session(capabilities=ELICITATION)
    stream, events = await streamed(own, session)

    asked = await events.next()
    assert (asked["method"], asked["params"]) == ("elicitation/create", FORM)
    assert await respond(own, session, asked["id"], {"action": "decline"}) == 202

    done = await events.next()
    await stream.__aexit__(None, None, None)
    assert done["id"] == 7
    assert json.loads(done["result"]["content"][0]["text"]) == {"action": "decline"}


async def test_another_session_cannot_answer_a_question(own: Stage) -> None:
    session = await own.session(capabilities=ELICITATION)
    stranger = await own.session(capabilities=ELICITATION, client="other")
    stream, events = await streamed(own, session)
    asked = await events.next()

    await respond(own, stranger, asked["id"], {"action": "accept", "content": {"name": "Eve"}})
    await respond(own, session, asked["id"], {"action": "accept", "content": {"name": "Ada"}})

    done = await events.next()
    await stream.__aexit__(None, None, None)
    assert json.loads(done["result"]["content"][0]["text"])["content"] == {"name": "Ada"}


async def test_each_session_has_its_own_instance_and_leaves_none_behind(own: Stage, copies: Copies) -> None:
    sessions = [await own.session(capabilities=ELICITATION) for _ in range(3)]
    streams = [await streamed(own, session) for session in sessions]
    for (stream, events), session in zip(streams, sessions, strict=True):
        asked = await events.next()
        await respond(own, session, asked["id"], {"action": "cancel"})
        await events.next()
        await stream.__aexit__(None, None, None)
    assert len(copies.servers) == 3

    for session in sessions:
        await own.http.delete(own.url, headers=session.headers)
    await until(lambda: len(copies.stopped) == 3)


async def test_a_session_that_ends_while_its_server_asks_leaves_nothing(own: Stage, copies: Copies) -> None:
    session = await own.session(capabilities=ELICITATION)
    stream, events = await streamed(own, session)
    await events.next()

    await own.http.delete(own.url, headers=session.headers)

    ended = await events.next()
    while "method" in ended:  # the question is taken back first
        ended = await events.next()
    await stream.__aexit__(None, None, None)
    assert ended["error"]["code"] == -32800
    await until(lambda: len(copies.stopped) == 1)


def needs_input(*kinds: str) -> Any:
    """A modern server's tool that needs these, all at once, and then says what it was given."""

    def call(server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        given = message["params"].get("inputResponses")
        if given is None:
            requests = {kind: {"method": kind, "params": FORM if "elicit" in kind else {}} for kind in kinds}
            server.result(
                message, {"resultType": "input_required", "inputRequests": requests, "requestState": "state-1"}
            )
        else:
            text = json.dumps([given, message["params"].get("requestState")])
            server.result(message, {"resultType": "complete", "content": [{"type": "text", "text": text}]})

    return call


@pytest.fixture
async def modern(stage: Stage) -> tuple[Stage, FakeServer]:
    server = FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create", "roots/list")})
    await stage.serve(project(servers={"s": {}}, clients={"other": "default"}), {"s": server})
    return stage, server


async def test_the_rounds_of_a_modern_server_are_driven_for_a_handshake_client(
    modern: tuple[Stage, FakeServer],
) -> None:
    stage, server = modern
    session = await stage.session(capabilities={**ELICITATION, "roots": {"listChanged": True}})
    stream, events = await streamed(stage, session)

    for _ in range(2):
        asked = await events.next()
        told = {"action": "accept", "content": {}} if "elicit" in asked["method"] else {"roots": []}
        await respond(stage, session, asked["id"], told)

    done = await events.next()
    await stream.__aexit__(None, None, None)
    given, state = json.loads(done["result"]["content"][0]["text"])
    assert given == {"elicitation/create": {"action": "accept", "content": {}}, "roots/list": {"roots": []}}
    assert state == "state-1"
    meta = server.calls[0]["params"]["_meta"]
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {**ELICITATION, "roots": {}}
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "stage"


async def test_a_server_that_never_has_enough_is_given_up(stage: Stage) -> None:
    def more(server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        server.result(message, {"resultType": "input_required", "requestState": "again"})

    server = FakeServer(modern=True, answers={"tools/call": more})
    await stage.serve(project(servers={"s": {}}), {"s": server})
    session = await stage.session()

    answer = (await session.post("tools/call", {"name": "s__echo"})).text

    assert "more than 10 times" in answer
    assert len(server.calls) == 11


async def test_the_state_of_a_modern_server_is_bound_to_client_and_request(modern: tuple[Stage, FakeServer]) -> None:
    stage, server = modern
    asked = (await call(stage))["result"]
    assert asked["requestState"] != "state-1"
    again = {"inputResponses": {"elicitation/create": {"action": "cancel"}}, "requestState": asked["requestState"]}

    for refused in (
        await call(stage, again, client="other"),
        await call(stage, {**again, "arguments": {"x": 1}}),
        await call(stage, {**again, "requestState": asked["requestState"][:-1] + "2"}),
        await call(stage, {**again, "requestState": "state-1"}),
    ):
        assert refused["error"]["data"] == {"reason": "invalid_request_state"}
    assert len(server.calls) == 1
    done = (await call(stage, again))["result"]
    assert json.loads(done["content"][0]["text"])[1] == "state-1"


async def test_several_servers_are_told_apart_in_what_people_read(stage: Stage) -> None:
    server = FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create")})
    await stage.serve(project(servers={"s": {}, "t": {}}), {"s": server, "t": FakeServer()})

    [request] = (await call(stage))["result"]["inputRequests"].values()
    response = await stage.post("tools/call", {"name": "echo", "arguments": {}, **CAN}, path="/servers/s/mcp")
    [plain] = response.json()["result"]["inputRequests"].values()

    assert request["params"]["message"] == "[s] Your name?"
    assert plain["params"]["message"] == "Your name?"


async def test_a_question_on_a_shared_stdio_server_is_refused_for_nobody_knows_whose_it_is(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": asks_first(), None: answers_with_what_it_was_told})
    await stage.serve(project(servers={"s": {}}), {"s": server})

    told = json.loads((await call(stage))["result"]["content"][0]["text"])

    assert told["code"] == -32601
    assert "share" in told["message"]


async def test_an_instance_of_a_modern_clients_own_is_spoken_to_in_its_way_where_it_can_be(
    own: Stage, copies: Copies
) -> None:
    copies.make = lambda: FakeServer(modern=True, answers={"tools/call": needs_input("elicitation/create")})

    asked = (await call(own))["result"]

    [server] = copies.servers.values()
    assert [message["method"] for message in server.seen][:2] == ["server/discover", "tools/call"]
    assert list(asked["inputRequests"]) == ["elicitation/create"]


async def test_a_server_that_ends_at_the_probe_gets_the_handshake_in_a_fresh_instance_and_is_never_probed_again(
    own: Stage, copies: Copies
) -> None:
    def ends(server: FakeServer, _message: dict[str, Any]) -> None:
        server.die()

    first = FakeServer(answers={"server/discover": ends})
    second, third = FakeServer(answers={"server/discover": ends}), FakeServer(answers={"server/discover": ends})
    servers = iter([first, second, third])
    copies.make = lambda: next(servers)

    assert "result" in await call(own)
    assert "result" in await call(own, client="other")

    assert [message["method"] for message in first.seen] == ["server/discover"]
    for server in (second, third):
        assert server.seen[0]["method"] == "initialize"


async def test_calls_of_one_client_at_the_same_time_never_get_each_others_questions(own: Stage, copies: Copies) -> None:
    """On a stream nothing says which call a question is about, and every call may be another program's."""
    asked = [(await call(own, {"arguments": {"n": n}}))["result"] for n in range(3)]
    assert len(copies.servers) == 3

    for n in (1, 0, 2):
        done = await call(own, {"arguments": {"n": n}, **answer_to(asked[n], n=n)})
        assert json.loads(done["result"]["content"][0]["text"])["content"] == {"n": n}

    assert (await call(own))["result"]["resultType"] == "input_required"
    assert len(copies.servers) == 3
