from __future__ import annotations

import asyncio
import json
from typing import Any

from gateway.stage import FakeServer, Stage, project, tool, until
from mcpcompose.engine.base import StreamEndpoint


async def test_a_thousand_calls_survive_twenty_changes_of_another_server(stage: Stage) -> None:
    a, b = FakeServer(), FakeServer()
    two = {"a": {}, "b": {}}
    await stage.serve(project(servers=two), {"a": a, "b": b})
    answers: list[Any] = []

    async def call(worker: int) -> None:
        for number in range(50):
            name = "ab"[number % 2] + "__echo"
            response = await stage.post("tools/call", {"name": name, "arguments": {"n": f"{worker}.{number}"}})
            answers.append(json.loads(response.json()["result"]["content"][0]["text"])["n"])

    async def change() -> None:
        for number in range(20):
            stage.gateway.declare(project(servers={**two, "c": {"title": str(number)}}), {})
            await stage.attach("c", FakeServer(tools=[tool(f"t{number}")]))
            await asyncio.sleep(0.01)
            await stage.gateway.detach("c")
            stage.gateway.declare(project(servers=two), {})

    await asyncio.gather(change(), *(call(worker) for worker in range(20)))

    assert len(answers) == len(set(answers)) == 1000
    assert len(a.calls) + len(b.calls) == 1000


async def test_calls_that_come_while_a_server_is_replaced_wait_for_the_new_one(stage: Stage) -> None:
    old, new = FakeServer(), FakeServer()
    what = project(servers={"a": {}})
    await stage.serve(what, {"a": old})

    await stage.gateway.detach("a")
    waiting = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: len(slot._parked) == 1)
    stage.gateway.starting("a")
    await stage.attach("a", new)

    assert "result" in (await waiting).json()
    assert not old.calls
    assert len(new.calls) == 1


async def test_a_call_in_flight_ends_before_its_server_is_let_go(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    calling = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    detaching = asyncio.create_task(stage.gateway.detach("a"))
    await asyncio.sleep(0.05)
    still_there = not server.closed
    server.result(server.seen[-1], {"content": []})
    await detaching

    assert still_there
    assert server.closed
    assert "result" in (await calling).json()


async def test_a_call_that_does_not_end_is_cut_off_after_the_grace_period(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {"stop_grace_period": 0.1}}), {"a": server})
    calling = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    await stage.gateway.detach("a")

    error = (await calling).json()["error"]
    assert error["code"] == -32603
    assert error["data"] == {"server": "a", "retryable": True}


async def test_a_removed_server_ends_its_calls_and_is_then_unknown(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    calling = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    await until(lambda: server.seen[-1]["method"] == "tools/call")

    stage.gateway.declare(project(servers={}), {})
    late = await stage.post("tools/call", {"name": "a__echo"})
    server.result(server.seen[-1], {"content": []})
    await stage.gateway.detach("a")

    assert late.json()["error"]["code"] == -32602
    assert "result" in (await calling).json()
    assert server.closed


async def test_only_those_whose_list_changed_hear_of_it(stage: Stage) -> None:
    a, b = FakeServer(), FakeServer()
    servers = {"a": {}, "b": {}}
    profiles = {"only-b": {"servers": ("b",)}}
    what = project(servers=servers, profiles=profiles, clients={"other": "only-b"})
    await stage.serve(what, {"a": a, "b": b})
    first, second = await stage.session(), await stage.session(client="other")
    heard: dict[str, list[str]] = {"first": [], "second": []}

    async def listen(name: str, session: Any) -> None:
        async with stage.http.stream("GET", stage.url, headers=session.headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    heard[name].append(json.loads(line[5:])["method"])

    tasks = [asyncio.create_task(listen("first", first)), asyncio.create_task(listen("second", second))]
    await until(lambda: len(stage.gateway.listeners) == 2)

    a.tools.append(tool("more"))
    for _ in range(5):
        a.changed()
    await until(lambda: bool(heard["first"]))
    b.tools.append(tool("more"))
    b.changed()
    await until(lambda: bool(heard["second"]))
    stage.gateway.declare(what, {})

    assert heard == {
        "first": ["notifications/tools/list_changed"] * 2,
        "second": ["notifications/tools/list_changed"],
    }
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: len(stage.gateway.listeners) == 0)


async def test_cached_lists_are_served_before_any_server_runs(stage: Stage) -> None:
    what, prints = project(servers={"a": {}}), {"a": "fingerprint"}
    await stage.serve(what, {"a": FakeServer(tools=[tool("echo", x_vendor={"k": 1})])}, prints)
    stage.gateway.declare(project(servers={}), {})
    await stage.gateway.detach("a")

    stage.gateway.declare(what, prints)
    listed = (await stage.post("tools/list")).json()["result"]["tools"]
    waiting = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    await until(lambda: len(stage.gateway.supervisor._slots["a"]._parked) == 1)
    await stage.attach("a", FakeServer())

    assert listed == [tool("a__echo", x_vendor={"k": 1})]
    assert "result" in (await waiting).json()
    files = list((stage.folder / "lists").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]


async def test_a_server_that_never_comes_costs_only_its_own_calls(stage: Stage) -> None:
    what = project(servers={"a": {"timeouts": {"start": 0.2}}, "b": {}})
    silent = FakeServer(answers={"initialize": None})
    await stage.serve(what, {"a": silent, "b": FakeServer()})

    status = {s.server: s for s in stage.gateway.status()}

    assert status["a"].state == "failed"
    assert "did not answer its handshake within 0.2 s" in (status["a"].reason or "")
    assert "result" in (await stage.post("tools/call", {"name": "b__echo"})).json()
    assert [t["name"] for t in (await stage.post("tools/list")).json()["result"]["tools"]] == ["b__echo"]


async def test_a_server_that_dies_is_started_again_and_its_tools_stay_listed(stage: Stage) -> None:
    first, second = FakeServer(answers={"tools/call": None}), FakeServer()

    async def again(_server: str) -> StreamEndpoint:
        return StreamEndpoint(second)

    stage.next_endpoint = again
    await stage.serve(project(servers={"a": {}}), {"a": first})
    calling = asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}))
    await until(lambda: first.seen[-1]["method"] == "tools/call")

    first.die("exited with code 137")
    error = (await calling).json()["error"]
    listed = (await stage.post("tools/list")).json()["result"]["tools"]
    next_call = await stage.post("tools/call", {"name": "a__echo"})

    assert error["code"] == -32603
    assert error["data"] == {"server": "a", "retryable": True}
    assert "exited with code 137" in error["message"]
    assert [t["name"] for t in listed] == ["a__echo"]
    assert "result" in next_call.json()
    assert stage.restarts == ["a"]
    assert stage.gateway.status()[0].restarts == 1


async def test_a_server_that_must_not_restart_is_dropped(stage: Stage) -> None:
    server = FakeServer()
    await stage.serve(project(servers={"a": {"restart": "no"}}), {"a": server})

    server.die("exited with code 0")
    await until(lambda: stage.gateway.status()[0].state == "failed")
    stage.gateway._swap_now()

    assert stage.gateway.status()[0].reason == "exited with code 0"
    assert (await stage.post("tools/list")).json()["result"]["tools"] == []
    assert stage.restarts == []


async def test_a_tool_of_a_server_that_does_not_serve_is_not_unknown(stage: Stage) -> None:
    silent = FakeServer(answers={"initialize": None})
    servers = {"exits": {"timeouts": {"start": 0.1}, "restart": "no"}, "b": {}}
    await stage.serve(project(servers=servers), {"exits": silent, "b": FakeServer()})

    error = (await stage.post("tools/call", {"name": "exits__x"})).json()["error"]
    alone = (await stage.post("tools/call", {"name": "x"}, path="/servers/exits/mcp")).json()["error"]
    other = (await stage.post("tools/call", {"name": "b__x"})).json()["error"]
    stage.gateway.stopped("exits")
    stopped = (await stage.post("prompts/get", {"name": "exits__x"})).json()["error"]

    text = "server `exits` does not serve: did not answer its handshake within 0.1 s"
    assert error == alone == {"code": -32603, "message": text, "data": {"server": "exits", "retryable": True}}
    assert (other["code"], other["message"]) == (-32602, "unknown tool `b__x`")
    assert (stopped["code"], stopped["message"]) == (-32603, "server `exits` is stopped")
