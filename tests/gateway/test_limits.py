"""Every limit has its key, holds from the moment the file says so, and is named by the error at its edge."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.rawhttp import Wire, call_bytes, head_of, once
from gateway.stage import FakeServer, Stage, project, until
from mcpcompose.config.shape import key_paths
from mcpcompose.spec.project import Gateway, Project
from mcpcompose.spec.server import Server

LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"


def limited(server: dict[str, Any] | None = None, **gateway: Any) -> Project:
    return project(servers={"a": server or {}}, gateway=Gateway.model_validate(gateway))


def slow() -> FakeServer:
    return FakeServer(answers={"tools/call": None})


async def calls_under_way(stage: Stage, count: int, client: str = "default") -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(stage.post("tools/call", {"name": "a__echo"}, client=client)) for _ in range(count)]
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot.allowance.calls.held >= count)
    return tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def error_of(stage: Stage, **keys: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await stage.post("tools/call", {"name": "a__echo"}, **keys)).json()["error"]
    return found


def test_every_key_of_limits_and_timeouts_is_in_the_page() -> None:
    page = LIMITS.read_text()
    keys = {".".join(path) for path in key_paths()}
    of_gateway = {key for key in keys if re.fullmatch(r"gateway\.(limits|timeouts)\.\w+", key)}
    of_servers = {
        key.removeprefix("servers.*.") for key in keys if re.fullmatch(r"servers\.\*\.(limits|timeouts)\.\w+", key)
    }

    assert {key for key in of_gateway | of_servers if f"`{key}`" not in page} == set()
    assert set(re.findall(r"`(gateway\.(?:limits|timeouts)\.\w+)`", page)) == of_gateway
    assert set(re.findall(r"`((?:limits|timeouts)\.\w+)`", page)) == of_servers


@pytest.mark.parametrize("wrong", [{"limits": {"calls": 0}}, {"limits": {"body": 0}}, {"timeouts": {"receive": 0}}])
def test_a_limit_that_would_let_nothing_through_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Gateway.model_validate(wrong)


async def test_calls_of_one_client_are_bounded_and_others_still_get_through(stage: Stage) -> None:
    what = limited(limits={"calls": 3})
    what = what.model_copy(update={"clients": project(servers={}, clients={"other": "default"}).clients})
    await stage.serve(what, {"a": slow()})
    tasks = await calls_under_way(stage, 3)

    error = await error_of(stage)

    assert error["message"] == "this client has too many calls under way: at most 3 (`gateway.limits.calls`)"
    assert error["data"] == {"retryable": True}
    tasks += await calls_under_way(stage, 1, client="other")
    await ended(tasks)
    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: slot.allowance.calls.held == 0)
    assert all(gauge.held == 0 for gauge in stage.gateway.kernel._gauges.values())


async def test_calls_of_one_server_are_bounded_and_a_change_of_the_file_holds_at_once(stage: Stage) -> None:
    await stage.serve(limited({"limits": {"calls": 2}}), {"a": slow()})
    tasks = await calls_under_way(stage, 2)

    error = await error_of(stage)
    stage.gateway.declare(limited({"limits": {"calls": 3}}), {})
    tasks += await calls_under_way(stage, 1)

    text = "server `a` has too many calls to answer: at most 2 (`servers.a.limits.calls`)"
    assert error == {"code": -32603, "message": text, "data": {"server": "a", "retryable": True}}
    await ended(tasks)


async def test_calls_that_wait_for_a_start_are_bounded(stage: Stage) -> None:
    stage.gateway.declare(limited({"limits": {"waiting": 1}}), {})
    call = {"name": "a__echo"}
    stage.gateway.supervisor.starting("a")
    slot = stage.gateway.supervisor._slots["a"]
    slot.offering.lists = None
    await stage.serve(limited({"limits": {"waiting": 1}}), {"a": FakeServer()})
    stage.gateway.supervisor._slots["a"]._live = False
    slot.state = type(slot.state).STARTING
    first = asyncio.create_task(stage.post("tools/call", call))
    await until(lambda: len(slot._parked) == 1)

    error = await error_of(stage)

    assert error["message"].endswith("to start: at most 1 (`servers.a.limits.waiting`)")
    await ended([first])


async def test_a_request_that_is_too_large_for_one_server_is_refused(stage: Stage) -> None:
    server = FakeServer()
    await stage.serve(limited({"limits": {"body": "2KiB"}}), {"a": server})

    response = await stage.post("tools/call", {"name": "a__echo", "arguments": {"x": "y" * 3000}})

    text = "the request is too large: at most 2 KiB (`servers.a.limits.body`)"
    assert response.json()["error"] == {"code": -32602, "message": text}
    assert server.calls == []


async def test_a_result_that_is_too_large_names_the_key_and_a_larger_limit_holds_at_once(stage: Stage) -> None:
    big = {"content": [{"type": "text", "text": "x" * 30_000}]}

    def serving() -> FakeServer:
        return FakeServer(answers={"tools/call": lambda server, message: server.result(message, big)})

    await stage.serve(limited({"restart": "no", "limits": {"result": "20KiB"}}), {"a": serving()})
    error = await error_of(stage)
    await stage.serve(limited({"limits": {"result": "20KiB"}}), {"a": serving()})
    stage.gateway.declare(limited({"limits": {"result": "40KiB"}}), {})
    response = await stage.post("tools/call", {"name": "a__echo"})

    assert "a line of more than 20480 bytes (`servers.a.limits.result`)" in error["message"]
    assert response.json()["result"]["content"] == big["content"]


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"items": 2}, "at most 2 (`servers.a.limits.items`)"),
        ({"lists": 50}, "at most 50 bytes (`servers.a.limits.lists`)"),
    ],
)
async def test_a_list_that_is_too_long_is_the_reason_in_ps(stage: Stage, limits: dict[str, int], text: str) -> None:
    tools = [{"name": f"t{n}", "inputSchema": {}} for n in range(3)]

    await stage.serve(limited({"restart": "no", "limits": limits}), {"a": FakeServer(tools=tools)})

    (status,) = stage.gateway.status()
    assert text in (status.reason or "")


async def test_headers_are_bounded_by_the_file(stage: Stage) -> None:
    await stage.serve(limited(limits={"head": "2KiB", "headers": 20}), {"a": FakeServer()})
    body = call_bytes(b"1", modern=True)
    port = stage.gateway.port

    large = await once(port, head_of(stage, body, modern=True, big="x" * 3000) + body)
    many = await once(port, head_of(stage, body, modern=True, **{f"h{n}": "x" for n in range(20)}) + body)
    stage.gateway.declare(limited(), {})
    fine = await once(port, head_of(stage, body, modern=True, big="x" * 3000) + body)

    assert (large.status, many.status, fine.status) == (431, 431, 200)
    assert b"at most 2 KiB (`gateway.limits.head`)" in large.body
    assert b"at most 20 (`gateway.limits.headers`)" in many.body


async def test_connections_are_bounded_by_the_file_and_the_refusal_says_so(stage: Stage) -> None:
    await stage.serve(limited(limits={"connections": 2}), {"a": FakeServer()})
    body = call_bytes(b"1", modern=True)
    content = head_of(stage, body, modern=True) + body
    await stage.http.aclose()
    kept = [Wire(stage.gateway.port) for _ in range(2)]
    assert [(await wire.send(content)).status for wire in kept] == [200, 200]

    refused = await once(stage.gateway.port, b"")

    assert refused.status == 503
    assert refused.messages() == [{"error": "too many connections are open: at most 2 (`gateway.limits.connections`)"}]
    for wire in kept:
        await wire.close()


async def test_sessions_and_streams_are_bounded_by_the_file(stage: Stage) -> None:
    await stage.serve(limited(limits={"sessions": 2, "streams": 1}), {"a": FakeServer()})
    sessions = [await stage.session() for _ in range(3)]
    assert stage.gateway._front.sessions == 2
    assert (await sessions[0].post("tools/list")).status_code == 404

    async with stage.http.stream("GET", stage.url, headers=sessions[2].headers) as stream:
        assert stream.status_code == 200
        second = await stage.http.get(stage.url, headers=sessions[1].headers)

    assert (second.status_code, second.json()["error"]) == (
        503,
        "too many streams are open: at most 1 (`gateway.limits.streams`)",
    )


async def test_an_idle_session_ends_when_the_file_says(stage: Stage) -> None:
    await stage.serve(limited(timeouts={"session": "50ms"}), {"a": FakeServer()})
    session = await stage.session()

    sessions = stage.gateway._front._legacy.sessions
    sessions._clock = lambda: time.monotonic() + 0.1

    assert (await session.post("tools/list")).status_code == 404


async def test_an_idle_connection_is_closed_when_the_file_says(stage: Stage) -> None:
    await stage.serve(limited(timeouts={"keep_alive": "100ms"}), {"a": FakeServer()})
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(), 5)

    assert b'{"status":"ok"}' in answer
    writer.close()


async def test_a_client_on_the_socket_that_does_not_read_is_cut_off(stage: Stage) -> None:
    big = {"content": [{"type": "text", "text": "x" * 4_000_000}]}
    server = FakeServer(answers={"tools/call": lambda s, m: s.result(m, big)})
    await stage.serve(limited(timeouts={"stalled": "100ms"}), {"a": server})
    _, writer = await asyncio.open_unix_connection(str(stage.folder / "stdio.sock"), limit=1000)
    writer.write(b'{"profile":"default"}\n' + call_bytes(b"1", modern=True) + b"\n")

    front = stage.gateway._stdio
    await until(lambda: len(front._connections) == 1)
    await until(lambda: len(front._connections) == 0)
    writer.close()


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("gateway.test", None, 200),
        ("GATEWAY.test:8080", None, 200),
        ("other.test", None, 421),
        ("only.test:99", None, 200),
        ("only.test:98", None, 421),
        ("gateway.test:x", None, 421),
        ("localhost", "https://app.test", 200),
        ("localhost", "HTTPS://app.test", 200),
        ("localhost", "https://app.test:8443", 403),
        ("localhost", "http://app.test", 403),
        ("localhost", "https://evil.test", 403),
        ("localhost", "http://localhost:3000", 200),
    ],
)
async def test_only_hosts_and_origins_that_the_file_allows_are_served(
    stage: Stage, host: str, origin: str | None, status: int
) -> None:
    hosts = ["gateway.test", "only.test:99"]
    await stage.serve(limited(allowed_hosts=hosts, allowed_origins=["https://app.test"]), {"a": FakeServer()})
    body = call_bytes(b"1", modern=True)

    answered = await once(stage.gateway.port, head_of(stage, body, modern=True, host=host, origin=origin) + body)

    assert answered.status == status
    if status != 200:
        assert json.loads(answered.body)["error"].endswith("`)")


def test_the_limits_of_a_server_are_read_as_the_specification_writes_sizes() -> None:
    server = Server.model_validate({"process": ["x"], "limits": {"result": "1g"}, "timeouts": {"parked": "2m30s"}})

    assert (server.limits.result, server.timeouts.parked) == (1 << 30, 150.0)
