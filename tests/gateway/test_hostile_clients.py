"""What a client, a web page or a server may try at the front door, and what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from typing import Any

import pytest

from gateway.stage import MODERN, FakeServer, Stage, project, until
from gateway.test_leaks import META, request
from mcpcompose.auth.tokens import Tokens
from mcpcompose.gateway.bridge import answer
from mcpcompose.gateway.compiler import compile_table
from mcpcompose.gateway.envelope import Result
from mcpcompose.gateway.listeners import Listener, Listeners
from mcpcompose.gateway.sessions import Sessions
from mcpcompose.spec.project import Gateway
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Reply

NARROW: dict[str, Any] = {"servers": ["a"], "tools": {"a": ["echo"]}}


async def raw(stage: Stage, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(content)
    await writer.drain()
    return reader, writer


async def test_a_second_request_before_the_answer_to_the_first_leaves_no_stream_behind(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    listen: Any = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
    listen["params"] = {"_meta": META, "notifications": {"toolsListChanged": True}}
    first = request(
        stage,
        "POST",
        json.dumps(listen).encode(),
        mcp_method="subscriptions/listen",
        mcp_protocol_version=MODERN,
    )

    for _ in range(5):
        reader, writer = await raw(stage, first)
        await reader.read(10)
        writer.write(first)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()

    await until(lambda: len(stage.gateway.listeners) == 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GET /mcp HTTP/1.1\r\nhost: lo",
        b"\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    ],
)
async def test_who_sends_no_whole_request_is_cut_off(stage: Stage, content: bytes) -> None:
    await stage.serve(project(servers={}, gateway=Gateway.model_validate({"timeouts": {"receive": 0.1}})), {})

    reader, writer = await raw(stage, content)

    async with asyncio.timeout(5):
        while await reader.read(100):
            pass
    writer.close()


async def test_a_head_that_comes_a_byte_at_a_time_is_cut_off_all_the_same(stage: Stage) -> None:
    await stage.serve(project(servers={}, gateway=Gateway.model_validate({"timeouts": {"receive": 0.2}})), {})
    reader, writer = await raw(stage, b"GET /mcp HTTP/1.1\r\n")

    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(5):
        while not ended.done():
            writer.write(b"a: b\r\n")
            await asyncio.wait({ended}, timeout=0.02)
    writer.close()


async def test_connections_are_bounded(stage: Stage) -> None:
    await stage.serve(project(servers={}, gateway=Gateway.model_validate({"limits": {"connections": 20}})), {})

    opened = [await raw(stage, b"") for _ in range(30)]
    ended = await asyncio.gather(
        *(asyncio.wait_for(reader.read(), 0.5) for reader, _ in opened), return_exceptions=True
    )

    assert sum(not isinstance(answer, TimeoutError) for answer in ended) == 10
    for _, writer in opened:
        writer.close()


async def test_a_client_that_does_not_read_its_answer_is_cut_off(stage: Stage) -> None:
    big = {"content": [{"type": "text", "text": "x" * 20_000_000}]}
    server = FakeServer(answers={"tools/call": lambda s, m: s.result(m, big)})
    quick = Gateway.model_validate({"timeouts": {"stalled": 0.1}})
    await stage.serve(project(servers={"a": {}}, gateway=quick), {"a": server})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": META}}
    tasks = len(asyncio.all_tasks())

    _, writer = await raw(
        stage,
        request(
            stage,
            "POST",
            json.dumps(call).encode(),
            mcp_method="tools/call",
            mcp_name="a__echo",
            mcp_protocol_version=MODERN,
        ),
    )
    listening = stage.gateway._listening
    assert listening is not None

    await until(lambda: len(listening.connections) == 1)
    await until(lambda: len(listening.connections) == 0)
    writer.close()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


@pytest.mark.parametrize(
    "content",
    [
        b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n" + b"a:\r\n" * 5000 + b"\r\n",
        b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na: " + b"x" * 300_000,
        b"GET /" + b"x" * 300_000,
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: " + b"x" * 300_000,
    ],
)
async def test_headers_and_trailers_beyond_the_bound_are_refused(stage: Stage, content: bytes) -> None:
    await stage.serve(project(servers={}), {})

    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(content)

    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    listening = stage.gateway._listening
    assert listening is not None
    await until(lambda: not listening.connections)


def test_a_flood_of_sessions_costs_only_the_client_that_floods() -> None:
    sessions = Sessions(most=10)
    mine = sessions.open("mine", "default", None, "2025-11-25")
    assert mine is not None

    for _ in range(50):
        assert sessions.open("flood", "default", None, "2025-11-25") is not None

    assert sessions.get(mine.id, "mine", "default", None) is mine
    assert len(sessions) == 10


def test_a_client_whose_every_session_is_busy_gets_no_more_and_others_still_do() -> None:
    sessions = Sessions(most=10)
    kept = [sessions.open("mine", "default", None, "2025-11-25") for _ in range(3)]
    while len(sessions) < 10:
        busy = sessions.open("flood", "default", None, "2025-11-25")
        assert busy is not None
        busy.listener = Listener("default", None)

    assert sessions.open("flood", "default", None, "2025-11-25") is None
    assert sessions.open("mine", "default", None, "2025-11-25") is not None
    assert kept[0] is not None


def test_streams_of_one_client_leave_room_for_others() -> None:
    listeners = Listeners()
    first = Listener("default", None, client="flood")
    assert listeners.add(first)
    while listeners.add(Listener("default", None, client="flood")):
        pass

    assert listeners.add(Listener("default", None, client="mine"))
    listeners.remove(first)
    listeners.remove(first)
    assert listeners.add(Listener("default", None, client="flood"))
    assert not listeners.add(Listener("default", None, client="flood"))


async def test_a_narrow_client_reaches_nothing_else_by_any_name_or_path(stage: Stage) -> None:
    secret = FakeServer(
        tools=[{"name": "steal", "inputSchema": {}}],
        prompts=[{"name": "p"}],
        resources=[{"uri": "file:///secret", "name": "s"}],
        templates=[{"uriTemplate": "vault://{x}", "name": "v"}],
    )
    own = FakeServer(tools=[{"name": "echo", "inputSchema": {}}, {"name": "drop", "inputSchema": {}}])
    clients = {"narrow": "narrow"}
    what = project(servers={"a": {}, "b": {}}, profiles={"narrow": NARROW}, clients=clients)
    await stage.serve(what, {"a": own, "b": secret})

    for name in ("b__steal", "steal", "a__drop", "drop"):
        response = await stage.post("tools/call", {"name": name}, client="narrow")
        assert response.json()["error"]["code"] == -32602, name
    for path in (
        "/servers/b/mcp",
        "/profiles/default/mcp",
        "/profiles/narrow/../default/mcp",
        "/servers/a%2f..%2fb/mcp",
    ):
        assert (await stage.post("tools/list", path=path, client="narrow")).status_code == 404, path
    assert "error" in (await stage.post("tools/call", {"name": "drop"}, path="/servers/a/mcp", client="narrow")).json()
    assert "error" in (await stage.post("prompts/get", {"name": "p"}, client="narrow")).json()
    assert "error" in (await stage.post("prompts/get", {"name": "b__p"}, client="narrow")).json()
    await stage.post("resources/read", {"uri": "file:///secret"}, client="narrow")
    await stage.post("resources/read", {"uri": "vault://x"}, client="narrow")
    session = await stage.session()
    session.client = "narrow"
    assert (await session.post("tools/list")).status_code == 404

    assert secret.calls == []
    assert {call["params"].get("name") for call in own.calls} <= {None}


async def test_an_empty_cursor_is_the_first_page_and_any_other_is_refused(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}}), {"a": FakeServer()})

    assert len((await stage.post("tools/list", {"cursor": ""})).json()["result"]["tools"]) == 1
    assert (await stage.post("tools/list", {"cursor": "x"})).json()["error"]["code"] == -32602
    assert (await stage.post("tools/list", {"cursor": 0})).json()["error"]["code"] == -32602


async def test_an_endless_uri_is_refused(stage: Stage) -> None:
    await stage.serve(
        project(servers={"a": {}}), {"a": FakeServer(templates=[{"uriTemplate": "x://{a}", "name": "x"}])}
    )

    session = await stage.session()
    response = await session.post("resources/read", {"uri": "x://" + "y" * 100_000})

    assert response.json()["error"]["code"] == -32602


@pytest.mark.parametrize("key", [r"result\u0054ype", r"_m\u0065ta"])
def test_members_that_a_server_writes_with_escapes_are_not_stamped_twice(key: str) -> None:
    reply = Reply(result=b'{"content":[],"%b":"input_required"}' % key.encode(), era=Era.LEGACY)

    shaped = answer(reply, "tools/call", modern=True, info=b"{}")

    assert isinstance(shaped, Result)
    pairs = json.loads(shaped.raw, object_pairs_hook=lambda found: [name for name, _ in found])
    assert len(set(pairs)) == len(pairs)


def test_a_server_without_prefix_cannot_take_the_name_of_another_servers_tool() -> None:
    def tool(name: str) -> ServerLists:
        return ServerLists(tools=({"name": name, "inputSchema": {}},))

    what = project(servers={"evil": {"prefix": ""}, "github": {}})
    table = compile_table(what, {"evil": tool("github__merge"), "github": tool("merge")}).endpoint("default")

    assert table is not None
    assert table.tool_routes["github__merge"].server == "github"
    assert "another server's" in table.collisions[0][1]


async def test_what_is_hidden_by_a_collision_is_logged_once_and_shown(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    same = [{"uri": "memo://one", "name": "one"}]
    await stage.serve(
        project(servers={"a": {}, "b": {}}), {"a": FakeServer(resources=same), "b": FakeServer(resources=same)}
    )

    with caplog.at_level(logging.WARNING):
        stage.gateway._report_hidden()
        stage.gateway._report_hidden()

    reasons = {line.server: line.reason for line in stage.gateway.status()}
    assert reasons["a"] is None
    assert "memo://one" in (reasons["b"] or "")
    assert sum("memo://one" in record.getMessage() for record in caplog.records) == 1


async def test_a_client_on_the_socket_that_is_bound_elsewhere_meanwhile_has_to_come_again(stage: Stage) -> None:
    servers: dict[str, Any] = {"a": {}, "b": {}}
    narrow = {"narrow": NARROW}
    await stage.serve(
        project(servers=servers, profiles=narrow, clients={"c": "default"}), {"a": FakeServer(), "b": FakeServer()}
    )
    reader, writer = await asyncio.open_unix_connection(str(stage.folder / "stdio.sock"))
    listing = (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode() + b"\n"
    )
    writer.write(json.dumps({"token": stage.token("c")}).encode() + b"\n" + listing)
    assert b"b__echo" in await asyncio.wait_for(reader.readline(), 5)

    stage.gateway.declare(project(servers=servers, profiles=narrow, clients={"c": "narrow"}), {})
    writer.write(listing)

    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_server_that_comes_back_while_it_retires_can_be_detached_again(stage: Stage) -> None:
    what = project(servers={"a": {"stop_grace_period": 0.3}})
    old, new = FakeServer(answers={"tools/call": None}), FakeServer()
    await stage.serve(what, {"a": old})
    waiting = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot.in_flight == 1)
    stage.gateway.declare(project(servers={}), {})
    stage.gateway.declare(what, {})
    await stage.attach("a", new)
    await until(lambda: len(new.seen) > 1)

    await stage.gateway.detach("a")

    assert old.closed
    assert new.closed
    assert "error" in (await waiting).json()


def test_a_token_of_a_client_says_whether_it_is_still_bound(tmp_path: Any) -> None:
    tokens = Tokens(tmp_path / "t.json")
    tokens.bind({"c": "narrow"})

    assert tokens.is_bound("c", "narrow")
    assert not tokens.is_bound("c", "default")
    assert not tokens.is_bound("gone", "default")


async def test_answers_are_sent_without_waiting_for_acknowledgements(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})
    _, writer = await raw(stage, b"GET /health HTTP/1.1\r\n")
    listening = stage.gateway._listening
    assert listening is not None
    await until(lambda: len(listening.connections) == 1)
    (connection,) = listening.connections

    accepted = connection.transport.get_extra_info("socket")

    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    writer.close()
