"""Completion, resources to hear of, log levels, tasks, and what nobody knows: through the front door."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.stage import MODERN, FakeServer, LegacySession, Stage, project, running, tool, until
from gateway.test_interactive import Copies
from mcpcompose.spec.project import Gateway

ABLE = {
    "tools": {},
    "prompts": {},
    "resources": {"subscribe": True},
    "completions": {},
    "logging": {},
}
TASKS = "io.modelcontextprotocol/tasks"
CAN_TASKS = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}}


@pytest.fixture
def copies() -> Copies:
    return Copies()


def done(server: FakeServer, message: dict[str, Any]) -> None:
    server.calls.append(message)
    server.result(message, {"resultType": "complete"} if server.modern else {})


def able(*, modern: bool = False, uri: str = "file:///x", **answers: Any) -> FakeServer:
    """A server that can everything of this page."""
    handled = {
        "completion/complete": completed,
        "resources/subscribe": done,
        "resources/unsubscribe": done,
        "logging/setLevel": done,
        "subscriptions/listen": acknowledged,
    }
    return FakeServer(
        modern=modern,
        capabilities=ABLE,
        prompts=[{"name": "greet"}],
        resources=[{"uri": uri, "name": "x"}],
        templates=[{"uriTemplate": "db:///{t}", "name": "t"}],
        answers={**handled, **answers},
    )


def completed(server: FakeServer, message: dict[str, Any]) -> None:
    server.calls.append(message)
    server.result(message, {"completion": {"values": [json.dumps(message["params"]["ref"])]}})


def acknowledged(server: FakeServer, message: dict[str, Any]) -> None:
    server.calls.append(message)
    meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
    params = {"_meta": meta, "notifications": message["params"]["notifications"]}
    server.send({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params})


def updated(server: FakeServer, uri: str, **meta: Any) -> None:
    params: dict[str, Any] = {"uri": uri} | ({"_meta": meta} if meta else {})
    server.send({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params})


def asked(server: FakeServer, method: str) -> list[dict[str, Any]]:
    """The params of what the server was asked."""
    return [message["params"] for message in server.seen if message.get("method") == method]


async def read(response: httpx2.Response, into: list[dict[str, Any]]) -> None:
    async for line in response.aiter_lines():
        if line.startswith("data:") and line[5:].strip():
            into.append(json.loads(line[5:]))  # noqa: PERF401  seen as it comes


@contextlib.asynccontextmanager
async def hearing(session: LegacySession) -> AsyncIterator[list[dict[str, Any]]]:
    """What comes on the session's own stream."""
    heard: list[dict[str, Any]] = []
    async with session.stage.http.stream("GET", session.stage.base + session.path, headers=session.headers) as response:
        assert response.status_code == 200
        task = asyncio.create_task(read(response, heard))
        yield heard
        task.cancel()
        await asyncio.wait({task})


@contextlib.asynccontextmanager
async def listening(stage: Stage, wanted: dict[str, Any], path: str = "/mcp", **meta: Any) -> AsyncIterator[list[Any]]:
    """What comes on a modern client's subscription."""
    heard: list[dict[str, Any]] = []
    envelope = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"_meta": envelope | meta, "notifications": wanted}
    body = {"jsonrpc": "2.0", "id": "mine", "method": "subscriptions/listen", "params": params}
    headers = {
        "authorization": f"Bearer {stage.token()}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "subscriptions/listen",
    }
    content = json.dumps(body).encode()
    async with stage.http.stream("POST", stage.base + path, content=content, headers=headers) as response:
        assert response.status_code == 200
        task = asyncio.create_task(read(response, heard))
        await until(lambda: bool(heard))
        yield heard
        task.cancel()
        await asyncio.wait({task})


# --- capabilities and lists -----------------------------------------------------------------------------------------


async def test_an_endpoint_says_what_its_servers_can(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}, "b": {}}), {"a": FakeServer(capabilities={"tools": {}}), "b": able()})

    alone, both = await stage.session(path="/servers/a/mcp"), await stage.session()
    modern = (await stage.post("server/discover")).json()["result"]["capabilities"]

    assert alone.initialized["capabilities"] == {"tools": {"listChanged": True}}
    assert both.initialized["capabilities"] == modern
    assert modern["resources"] == {"listChanged": True, "subscribe": True}
    assert modern["logging"] == modern["completions"] == {}


async def test_a_servers_hints_and_vendor_members_reach_modern_clients(stage: Stage) -> None:
    def listed(server: FakeServer, message: dict[str, Any]) -> None:
        beside = {"ttlMs": 1234, "cacheScope": "public", "vendor": [1], "resultType": "complete"}
        server.result(message, {"tools": [tool("t")], **beside})

    server = FakeServer(modern=True, answers={"tools/list": listed})
    await stage.serve(project(servers={"a": {}}, gateway=Gateway(auth="none")), {"a": server})

    own = (await stage.post("tools/list", path="/servers/a/mcp")).json()["result"]
    all_ = (await stage.post("tools/list")).json()["result"]

    assert (own["ttlMs"], own["cacheScope"], own["vendor"]) == (1234, "public", [1])
    assert (all_["ttlMs"], all_["cacheScope"], "vendor" in all_) == (1234, "public", False)


async def test_where_tokens_say_who_gets_what_no_list_is_public_and_none_is_kept_for_long(stage: Stage) -> None:
    def listed(server: FakeServer, message: dict[str, Any]) -> None:
        beside = {"ttlMs": 2_592_000_000, "cacheScope": "public", "resultType": "complete"}
        server.result(message, {"tools": [tool("t")], **beside})

    server = FakeServer(modern=True, answers={"tools/list": listed})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    for path in ("/servers/a/mcp", "/mcp"):
        said = (await stage.post("tools/list", path=path)).json()["result"]
        assert (said["ttlMs"], said["cacheScope"]) == (3_600_000, "private")


async def test_lists_are_paged_when_the_file_says_so(stage: Stage) -> None:
    what = project(servers={"a": {}})
    limits = what.gateway.limits.model_copy(update={"page": 2})
    what = what.model_copy(update={"gateway": what.gateway.model_copy(update={"limits": limits})})
    await stage.serve(what, {"a": FakeServer(tools=[tool(f"t{n}") for n in range(3)])})

    first = (await stage.post("tools/list")).json()["result"]
    second = (await stage.post("tools/list", {"cursor": first["nextCursor"]})).json()["result"]
    bad = await stage.post("tools/list", {"cursor": "bad"})

    assert [one["name"] for one in first["tools"] + second["tools"]] == ["a__t0", "a__t1", "a__t2"]
    assert "nextCursor" not in second
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, -32602)


# --- completion, unknown methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "server", "own"),
    [
        ({"type": "ref/prompt", "name": "b__greet", "title": "T"}, "b", {"name": "greet", "title": "T"}),
        ({"type": "ref/resource", "uri": "db:///{t}"}, "a", {"uri": "db:///{t}"}),
        ({"type": "ref/resource", "uri": "b+db:///{t}"}, "b", {"uri": "db:///{t}"}),
        ({"type": "ref/resource", "uri": "file:///x"}, "a", {"uri": "file:///x"}),
    ],
)
async def test_completion_goes_to_whom_it_names(
    stage: Stage, ref: dict[str, Any], server: str, own: dict[str, Any]
) -> None:
    servers = {"a": able(), "b": able()}
    await stage.serve(project(servers={"a": {}, "b": {}}), servers)
    more = {"argument": {"name": "n", "value": "v"}, "context": {"arguments": {"x": "1"}}}

    answer = await stage.post("completion/complete", {"ref": ref, **more}, headers={"mcp-name": ""})

    assert json.loads(answer.json()["result"]["completion"]["values"][0]) == {"type": ref["type"], **own}
    sent = asked(servers[server], "completion/complete")[0]
    assert {key: sent[key] for key in more} == more


async def test_completion_of_what_nobody_has_is_refused(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}, "b": {}}), {"a": able(), "b": able()})

    for ref in ({"type": "ref/prompt", "name": "x"}, {"type": "ref/resource", "uri": "no:1"}, {"type": "y"}, None):
        assert (await stage.post("completion/complete", {"ref": ref})).json()["error"]["code"] == -32602


async def test_unknown_methods_go_to_the_server_on_its_own_endpoint_only(stage: Stage) -> None:
    server = able(**{"vendor/do": done})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session(path="/servers/a/mcp")

    assert (await session.post("vendor/do", {"x": 1})).json()["result"] == {}
    assert (await stage.post("vendor/do", path="/servers/a/mcp")).json()["result"]["resultType"] == "complete"
    assert (await stage.post("vendor/do")).json()["error"]["code"] == -32601
    await session.post("notifications/vendor", {"x": 2}, id_=None)
    await until(lambda: {"x": 2} in asked(server, "notifications/vendor"))
    assert asked(server, "vendor/do")[0] == {"x": 1}


# --- resources to hear of -------------------------------------------------------------------------------------------


async def test_a_session_hears_of_the_resources_it_subscribed_to(stage: Stage) -> None:
    servers = {"a": able(), "b": able()}
    await stage.serve(project(servers={"a": {}, "b": {}}), servers)
    session, other = await stage.session(), await stage.session()
    async with hearing(session) as heard, hearing(other) as unheard:
        assert (await session.post("resources/subscribe", {"uri": "b+file:///x"})).json()["result"] == {}
        updated(servers["a"], "file:///x")
        updated(servers["b"], "file:///x/part")
        await until(lambda: bool(heard))

        assert heard == [
            {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "b+file:///x/part"}}
        ]
        assert unheard == []
        await session.post("resources/unsubscribe", {"uri": "b+file:///x"})
        await until(lambda: bool(asked(servers["b"], "resources/unsubscribe")))
    assert asked(servers["b"], "resources/subscribe") == [{"uri": "file:///x"}]
    assert asked(servers["a"], "resources/subscribe") == []


async def test_a_servers_refusal_reaches_the_first_subscriber(stage: Stage) -> None:
    def refused(server: FakeServer, message: dict[str, Any]) -> None:
        server.send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32002, "message": "gone"}})

    await stage.serve(project(servers={"a": {}}), {"a": able(**{"resources/subscribe": refused})})
    session = await stage.session()

    answer = (await session.post("resources/subscribe", {"uri": "file:///x"})).json()

    assert answer["error"] == {"code": -32002, "message": "gone"}


async def test_subscriptions_end_with_their_session_and_come_back_with_their_server(stage: Stage) -> None:
    server, again = able(), able()
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()
    await session.post("resources/subscribe", {"uri": "file:///x"})
    await stage.attach("a", again)
    await until(lambda: asked(again, "resources/subscribe") == [{"uri": "file:///x"}])

    await stage.http.delete(stage.url, headers=session.headers)

    await until(lambda: asked(again, "resources/unsubscribe") == [{"uri": "file:///x"}])


@pytest.mark.parametrize("modern", [True, False])
async def test_a_modern_client_hears_of_resources_of_servers_of_either_era(stage: Stage, modern: bool) -> None:
    servers = {"a": able(), "b": able(modern=modern)}
    await stage.serve(project(servers={"a": {}, "b": {}}), servers)
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["b+file:///x", "no:1"], "unheard": True}
    async with listening(stage, wanted) as heard:
        mine = {"io.modelcontextprotocol/subscriptionId": "mine"}
        honoured = {"toolsListChanged": True, "resourceSubscriptions": ["b+file:///x"]}
        assert heard[0]["params"] == {"_meta": mine, "notifications": honoured}
        updated(servers["b"], "file:///x", **{"io.modelcontextprotocol/subscriptionId": "theirs", "v/k": 1})
        await until(lambda: len(heard) > 1)

        assert heard[1]["params"] == {"uri": "b+file:///x", "_meta": {"v/k": 1, **mine}}
    end = "notifications/cancelled" if modern else "resources/unsubscribe"
    await until(lambda: bool(asked(servers["b"], end)))


async def test_a_handshake_client_hears_of_a_modern_servers_resources(stage: Stage) -> None:
    server = able(modern=True)
    await stage.serve(project(servers={"a": {"era": "modern"}}), {"a": server})
    session = await stage.session()
    async with hearing(session) as heard:
        assert (await session.post("resources/subscribe", {"uri": "file:///x"})).json()["result"] == {}
        updated(server, "file:///x", **{"io.modelcontextprotocol/subscriptionId": "theirs"})
        await until(lambda: bool(heard))

        assert heard[0]["params"] == {"uri": "file:///x"}


async def test_reading_goes_to_the_server_whose_uri_it_is(stage: Stage) -> None:
    servers = {"a": able(), "b": able()}
    await stage.serve(project(servers={"a": {}, "b": {}}), servers)

    read_ = (await stage.post("resources/read", {"uri": "b+file:///x"})).json()["result"]

    assert read_["contents"][0]["uri"] == "b+file:///x"
    assert servers["b"].calls[-1]["params"]["uri"] == "file:///x"


async def test_a_resource_that_a_result_linked_to_is_read_from_there(stage: Stage) -> None:
    def links(server: FakeServer, message: dict[str, Any]) -> None:
        server.result(message, {"content": [{"type": "resource_link", "uri": "made:up", "name": "n"}]})

    servers = {"a": able(), "b": able(uri="b:1", **{"tools/call": links})}
    servers["b"].templates = []
    await stage.serve(project(servers={"a": {}, "b": {}}), servers)

    assert "error" in (await stage.post("resources/read", {"uri": "made:up"})).json()
    await stage.post("tools/call", {"name": "b__echo"})
    assert "result" in (await stage.post("resources/read", {"uri": "made:up"})).json()
    assert servers["b"].calls[-1]["params"]["uri"] == "made:up"


async def test_an_instance_of_its_own_tells_only_its_session_of_resources(tmp_path: Path, copies: Copies) -> None:
    copies.make = able
    async with running(tmp_path, instances=copies) as stage:
        await stage.serve(project(servers={"s": {"scope": "session"}}), {"s": able()})
        first, second = await stage.session(), await stage.session()
        async with hearing(first) as heard, hearing(second) as unheard:
            for session in (first, second):
                assert (await session.post("resources/subscribe", {"uri": "file:///x"})).json()["result"] == {}
            mine, other = copies.servers.values()
            updated(mine, "file:///x")
            await until(lambda: bool(heard))
            updated(other, "file:///x")
            await until(lambda: bool(unheard))

            assert heard == unheard
            assert len(heard) == 1
        await first.post("resources/unsubscribe", {"uri": "file:///x"})
        assert asked(mine, "resources/unsubscribe") == [{"uri": "file:///x"}]


async def test_a_subscription_to_more_than_one_may_have_is_acknowledged_for_what_it_has(stage: Stage) -> None:
    what = project(servers={"a": {}})
    limits = what.gateway.limits.model_copy(update={"subscriptions": 2})
    what = what.model_copy(update={"gateway": what.gateway.model_copy(update={"limits": limits})})
    await stage.serve(what, {"a": able()})
    async with listening(stage, {"resourceSubscriptions": [f"file:///{n}" for n in range(4)]}) as heard:
        assert heard[0]["params"]["notifications"] == {"resourceSubscriptions": ["file:///0", "file:///1"]}
    session = await stage.session()

    answers = [(await session.post("resources/subscribe", {"uri": f"file:///{n}"})).json() for n in range(3)]

    assert ["error" in answer for answer in answers] == [False, False, True]
    assert "gateway.limits.subscriptions" in answers[2]["error"]["message"]


# --- log levels -----------------------------------------------------------------------------------------------------


def logs(*levels: str) -> Any:
    def call(server: FakeServer, message: dict[str, Any]) -> None:
        for level in levels:
            params = {"level": level, "logger": "l", "data": {"x": 1}}
            server.send({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        server.result(message, {"content": []})

    return call


def said(response: httpx2.Response) -> list[str]:
    """The levels of the log messages in the stream of a call."""
    lines = [
        json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()
    ]
    return [line["params"]["level"] for line in lines if line.get("method") == "notifications/message"]


async def test_a_session_gets_messages_of_its_level_on_the_calls_stream(stage: Stage) -> None:
    server = able(**{"tools/call": logs("debug", "warning", "error")})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session, louder = await stage.session(), await stage.session()

    assert said(await session.post("tools/call", {"name": "echo"})) == ["debug", "warning", "error"]
    assert (await session.post("logging/setLevel", {"level": "error"})).json()["result"] == {}
    assert said(await session.post("tools/call", {"name": "echo"})) == ["error"]
    await louder.post("logging/setLevel", {"level": "info"})
    await session.post("logging/setLevel", {"level": "critical"})

    assert [params["level"] for params in asked(server, "logging/setLevel")] == ["error", "info"]


async def test_a_level_that_is_none_is_refused_and_so_is_one_for_nobody(stage: Stage) -> None:
    await stage.serve(project(servers={"a": {}, "b": {}}), {"a": able(), "b": FakeServer()})
    session, silent = await stage.session(), await stage.session(path="/servers/b/mcp")

    assert (await session.post("logging/setLevel", {"level": "loud"})).json()["error"]["code"] == -32602
    assert (await silent.post("logging/setLevel", {"level": "info"})).json()["error"]["code"] == -32601


async def test_a_modern_client_gets_messages_only_when_it_asked_with_the_request(stage: Stage) -> None:
    server = able(**{"tools/call": logs("info", "error")})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    wants = {"_meta": {"io.modelcontextprotocol/logLevel": "warning"}}

    assert said(await stage.post("tools/call", {"name": "echo"})) == []
    assert said(await stage.post("tools/call", {"name": "echo", **wants})) == ["error"]
    assert asked(server, "logging/setLevel") == [{"level": "warning"}]


async def test_a_message_that_may_be_another_clients_reaches_nobody(stage: Stage) -> None:
    server = able(**{"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    first, second = await stage.session(), await stage.session()
    calls = [asyncio.create_task(one.post("tools/call", {"name": "echo"})) for one in (first, second)]
    await until(lambda: len(asked(server, "tools/call")) == 2)

    server.send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "secret"}})
    for message in [message for message in server.seen if message.get("method") == "tools/call"]:
        server.result(message, {"content": []})

    assert [said(await call) for call in calls] == [[], []]


# --- tasks ----------------------------------------------------------------------------------------------------------


def started(server: FakeServer, message: dict[str, Any]) -> None:
    """A tool that needs a task, and says so to clients that cannot have one."""
    server.calls.append(message)
    can = message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    if TASKS not in can.get("extensions", {}):
        data = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        error = {"code": -32021, "message": "tasks are needed", "data": data}
        server.send({"jsonrpc": "2.0", "id": message["id"], "error": error})
    else:
        task = {"taskId": "t1", "status": "working", "ttlMs": 1000, "pollIntervalMs": 10}
        server.result(message, {"resultType": "task", **task})


class Looks:
    """The states of a task, one with each look."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)

    def __call__(self, server: FakeServer, message: dict[str, Any]) -> None:
        server.calls.append(message)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        server.result(message, {"resultType": "complete", "taskId": "t1", "pollIntervalMs": 10, **state})


FINISHED = {"status": "completed", "result": {"content": [{"type": "text", "text": "at last"}]}}


def tasks(*states: dict[str, Any], **answers: Any) -> FakeServer:
    capabilities = {"tools": {}, "extensions": {TASKS: {}}}
    handled = {"tools/call": started, "tasks/get": Looks(*states), "tasks/update": done, "tasks/cancel": done}
    handled["subscriptions/listen"] = acknowledged
    return FakeServer(modern=True, capabilities=capabilities, answers={**handled, **answers})


async def test_a_task_of_one_of_several_servers_is_reached_by_its_id_by_its_client_alone(stage: Stage) -> None:
    server = tasks(FINISHED)
    keys = {"clients": {"other": "default"}}
    await stage.serve(project(servers={"a": {}, "b": {"era": "modern"}}, **keys), {"a": FakeServer(), "b": server})

    created = (await stage.post("tools/call", {"name": "b__echo", **CAN_TASKS})).json()["result"]
    id_ = created["taskId"]
    found = (await stage.post("tasks/get", {"taskId": id_, **CAN_TASKS})).json()["result"]
    cancelled = (await stage.post("tasks/cancel", {"taskId": id_, **CAN_TASKS})).json()
    stolen = (await stage.post("tasks/get", {"taskId": id_, **CAN_TASKS}, client="other")).json()

    assert id_.startswith("b.")
    assert created["resultType"] == "task"
    assert (found["taskId"], found["result"]) == (id_, FINISHED["result"])
    assert "result" in cancelled
    assert stolen["error"]["code"] == -32602
    assert asked(server, "tasks/cancel")[0]["taskId"] == "t1"


async def test_the_only_server_of_an_endpoint_has_such_ids_too(stage: Stage) -> None:
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": tasks(FINISHED)})

    id_ = (await stage.post("tools/call", {"name": "b__echo", **CAN_TASKS})).json()["result"]["taskId"]
    found = (await stage.post("tasks/get", {"taskId": id_, **CAN_TASKS})).json()["result"]

    assert id_.startswith("b.")
    assert (found["taskId"], found["status"]) == (id_, "completed")


async def test_tasks_of_the_handshake_revisions_are_between_a_client_and_the_servers_own_endpoint(stage: Stage) -> None:
    def called(server: FakeServer, message: dict[str, Any]) -> None:
        task = {"task": {"taskId": "t1", "status": "working"}}
        server.result(message, task if "task" in message["params"] else {"content": []})

    answers = {"tools/call": called, "tasks/result": done}
    listed = [tool("echo", execution={"taskSupport": "optional"})]
    server = FakeServer(tools=listed, capabilities={"tools": {}, "tasks": {"list": {}}}, answers=answers)
    await stage.serve(project(servers={"a": {}}), {"a": server})
    own, all_ = await stage.session(path="/servers/a/mcp"), await stage.session()
    asks = {"name": "echo", "task": {"ttl": 5}}

    assert own.initialized["capabilities"]["tasks"] == {"list": {}}
    assert (await own.post("tools/list")).json()["result"]["tools"] == listed
    assert (await own.post("tools/call", asks)).json()["result"]["task"]["taskId"] == "t1"
    assert (await own.post("tasks/result", {"taskId": "t1"})).json()["result"] == {}
    assert "tasks" not in all_.initialized["capabilities"]
    assert (await all_.post("tools/call", asks)).json()["result"] == {"content": []}
    assert (await all_.post("tasks/result", {"taskId": "t1"})).json()["error"]["code"] == -32601


async def test_a_tasks_header_must_name_it(stage: Stage) -> None:
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": tasks(FINISHED)})

    raw = await stage.post("tasks/get", {"taskId": "t1", **CAN_TASKS}, path="/servers/b/mcp")
    wrong = await stage.post("tasks/get", {"taskId": "t1"}, path="/servers/b/mcp", headers={"mcp-name": "t2"})

    assert raw.json()["result"]["taskId"] == "t1"
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, -32020)


async def test_a_subscription_to_a_task_says_what_becomes_of_it(stage: Stage) -> None:
    server = tasks(FINISHED)
    await stage.serve(project(servers={"a": {}, "b": {"era": "modern"}}), {"a": FakeServer(), "b": server})
    id_ = (await stage.post("tools/call", {"name": "b__echo", **CAN_TASKS})).json()["result"]["taskId"]
    async with listening(stage, {"taskIds": [id_, "b.foreign"]}, **CAN_TASKS["_meta"]) as heard:
        assert heard[0]["params"]["notifications"] == {"taskIds": [id_]}
        await until(lambda: bool(asked(server, "subscriptions/listen")))
        (listen,) = asked(server, "subscriptions/listen")
        server.send(
            {"jsonrpc": "2.0", "method": "notifications/tasks", "params": {"taskId": "t1", "status": "working"}}
        )
        await until(lambda: len(heard) > 1)

        assert listen["notifications"] == {"taskIds": ["t1"]}
        mine = {"io.modelcontextprotocol/subscriptionId": "mine"}
        assert heard[1]["params"] == {"taskId": id_, "status": "working", "_meta": mine}
    await until(lambda: bool(asked(server, "notifications/cancelled")))


@pytest.mark.parametrize("path", ["/mcp", "/servers/b/mcp"])
async def test_a_handshake_client_gets_the_result_of_a_task_it_never_hears_of(stage: Stage, path: str) -> None:
    server = tasks({"status": "working"}, {"status": "working"}, FINISHED)
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": server})
    session = await stage.session(path=path)

    answer = (await session.post("tools/call", {"name": "echo"})).json()

    assert answer["result"] == FINISHED["result"]
    assert len(asked(server, "tasks/get")) == 3


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"status": "failed", "error": {"code": -32050, "message": "no"}}, -32050),
        ({"status": "cancelled", "statusMessage": "why"}, -32603),
    ],
)
async def test_a_task_that_fails_is_an_error_of_the_call(stage: Stage, state: dict[str, Any], code: int) -> None:
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": tasks(state)})
    session = await stage.session()

    assert (await session.post("tools/call", {"name": "echo"})).json()["error"]["code"] == code


async def test_what_a_task_asks_for_is_asked_of_the_handshake_client(stage: Stage) -> None:
    form = {"method": "elicitation/create", "params": {"mode": "form", "message": "?", "requestedSchema": {}}}
    needs = {"status": "input_required", "inputRequests": {"q": form}}
    server = tasks(needs, needs, FINISHED)
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": server})
    session = await stage.session(capabilities={"elicitation": {}})
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "echo"}}
    events: list[dict[str, Any]] = []
    async with stage.http.stream(
        "POST", stage.url, content=json.dumps(body).encode(), headers=session.headers
    ) as response:
        task = asyncio.create_task(read(response, events))
        await until(lambda: any(event.get("method") == "elicitation/create" for event in events))
        question = next(event for event in events if event.get("method") == "elicitation/create")
        answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
        await stage.http.post(stage.url, content=json.dumps(answer).encode(), headers=session.headers)
        await asyncio.wait_for(task, 10)

    assert events[-1]["result"] == FINISHED["result"]
    assert asked(server, "tasks/update")[0]["inputResponses"] == {"q": {"action": "decline"}}


async def test_a_handshake_client_that_gives_up_cancels_the_task(stage: Stage) -> None:
    server = tasks({"status": "working", "pollIntervalMs": 60_000})
    await stage.serve(project(servers={"b": {"era": "modern"}}), {"b": server})
    session = await stage.session()
    call = asyncio.create_task(session.post("tools/call", {"name": "echo"}, id_=9))
    await until(lambda: bool(asked(server, "tasks/get")))

    await session.post("notifications/cancelled", {"requestId": 9}, id_=None)

    await until(lambda: [params["taskId"] for params in asked(server, "tasks/cancel")] == ["t1"])
    await call


async def test_a_list_whose_changes_the_server_keeps_to_itself_is_read_again_when_it_is_wanted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpcompose.upstream.freshness.SHORTEST", 0.0)
    server = FakeServer(capabilities={"tools": {}})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    server.tools.append(tool("new"))

    before = (await stage.post("tools/list")).json()["result"]["tools"]
    await until(lambda: len(stage.gateway.tools()) > 1)

    assert [one["name"] for one in before] == ["a__echo"]
    assert [one["name"] for one in (await stage.post("tools/list")).json()["result"]["tools"]] == ["a__echo", "a__new"]
