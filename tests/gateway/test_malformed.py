"""Malformed traffic over HTTP and stdio, in both eras: answered or cut off, never a crash, and the next call works."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.json_cases import EITHER, READ, REFUSED
from gateway.rawhttp import CLOSED, ENVELOPE, Answered, Wire, call_bytes, head_of, once
from gateway.stage import FakeServer, Stage, project, running, until
from gateway.test_json_reading import mutated
from mcpcompose.spec.project import Gateway

MUTATIONS = 4000
TOGETHER = 20
GROWTH = 48 << 20
"""Bytes by which the process may be larger afterwards; the interpreter's own arenas are most of it."""


@pytest.fixture
async def open_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """A gateway with one server, whose clients have little time; nothing may be left of a test, and nothing broken."""
    caplog.set_level(logging.ERROR)
    quick = Gateway.model_validate({"timeouts": {"receive": "250ms"}, "limits": {"body": "1MiB"}})
    async with running(tmp_path) as stage:
        await stage.serve(project(servers={"a": {}}, gateway=quick), {"a": FakeServer()})
        tasks = len(asyncio.all_tasks())
        yield stage
        slot = stage.gateway.supervisor._slots["a"]
        await until(lambda: slot.in_flight == 0 and slot.allowance.calls.held == 0)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 2)
    assert [record.getMessage() for record in caplog.records] == []


def checked(answered: Answered) -> Answered:
    """What every answer must be: no breakdown, and JSON that says what it is."""
    assert answered.status != 500, answered
    if answered is not CLOSED and answered.status not in {202, 204}:
        for message in answered.messages():
            assert "error" in message or message.get("jsonrpc") == "2.0" or "status" in message, answered
        assert answered.status < 400 or answered.messages(), answered
    return answered


async def works(stage: Stage, wire: Wire | None = None) -> None:
    """A call that is right, in both eras."""
    wire = wire or Wire(stage.gateway.port)
    session = (await stage.session()).id
    for modern in (True, False):
        body = call_bytes(b'"fine"', modern=modern)
        answered = await wire.send(head_of(stage, body, modern=modern, session=session or "") + body)
        (message,) = answered.messages()
        assert json.loads(message["result"]["content"][0]["text"]) == {"value": "fine"}
    await wire.close()


# --- JSON -------------------------------------------------------------------------------------------------------------


def is_read(case: bytes) -> bool:
    return case in READ and b"[" * 40 not in case and b'{"a":' * 40 not in case


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_every_case_over_http_is_echoed_or_answered_with_an_error(open_gateway: Stage, modern: bool) -> None:
    session = (await open_gateway.session()).id or ""
    wire = Wire(open_gateway.gateway.port)

    for case in [*READ, *REFUSED, *EITHER]:
        body = call_bytes(case, modern=modern)
        if len(body) > 1_000_000:
            continue
        answered = checked(await wire.send(head_of(open_gateway, body, modern=modern, session=session) + body))
        (message,) = answered.messages()
        if is_read(case):
            echoed = json.loads(message["result"]["content"][0]["text"])
            assert repr(echoed) == repr({"value": json.loads(case)}), case[:50]
        elif case in REFUSED:
            assert (answered.status, message["error"]["code"]) == (400, -32700), case[:50]

    await works(open_gateway, wire)


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_every_case_over_stdio_is_echoed_or_answered_with_an_error(open_gateway: Stage, modern: bool) -> None:
    reader, writer = await asyncio.open_unix_connection(str(open_gateway.folder / "stdio.sock"), limit=4 << 20)
    writer.write(b'{"profile":"default"}\n')
    if not modern:
        writer.write(b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n')
        await asyncio.wait_for(reader.readline(), 10)

    for case in [*READ, *REFUSED, *EITHER]:
        body = call_bytes(case, modern=modern)
        if b"\n" in case or len(body) > 1_000_000:
            continue
        writer.write(body + b"\n")
        message = json.loads(await asyncio.wait_for(reader.readline(), 10))
        if is_read(case):
            echoed = json.loads(message["result"]["content"][0]["text"])
            assert repr(echoed) == repr({"value": json.loads(case)}), case[:50]
        elif case in REFUSED:
            assert message["error"]["code"] == -32700, case[:50]
    writer.close()

    await works(open_gateway)


NO_MESSAGES: list[Any] = [
    [], {}, 1, "x", None, True, [1], [[]], [{}], {"jsonrpc": "2.0"}, {"jsonrpc": "1.0", "id": 1, "method": "ping"},
    {"jsonrpc": 2.0, "id": 1, "method": "ping"}, {"id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 1},
    {"jsonrpc": "2.0", "id": 1, "method": 5}, {"jsonrpc": "2.0", "id": 1, "method": None},
    {"jsonrpc": "2.0", "id": 1, "method": ["ping"]}, {"jsonrpc": "2.0", "id": None, "method": "ping"},
    {"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, {"jsonrpc": "2.0", "id": True, "method": "ping"},
    {"jsonrpc": "2.0", "id": {}, "method": "ping"}, {"jsonrpc": "2.0", "id": [1], "method": "ping"},
    {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
    {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": 1},
    {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None},
    {"jsonrpc": "2.0", "id": 1, "method": "x" * 100_000},
    {"jsonrpc": "2.0", "id": 1, "method": ""}, {"jsonrpc": "2.0", "id": "x" * 100_000, "method": "nope"},
    {"jsonrpc": "2.0", "id": 10**40, "method": "nope"}, {"jsonrpc": "2.0", "id": -1, "method": "tools/call"},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 1}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": 5}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": {"progressToken": {}}}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "requestState": 7}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "inputResponses": []}},
    {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": {}}},
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": [], "capabilities": 1}},
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {"roots": 5, "elicitation": []}}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {"a": 1}}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": []}},
    {"jsonrpc": "2.0", "method": "nope", "params": {}}, {"jsonrpc": "2.0", "id": 1, "result": 5},
    {"jsonrpc": "2.0", "id": "unknown", "error": {"code": "x"}}, {"jsonrpc": "2.0", "id": [], "result": {}},
    {"jsonrpc": "2.0", "result": {}, "error": {}}, {"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}},
    {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": []}},
    {"jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": {"ref": 1, "argument": []}},
    {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": None}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": {}}},
    {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": 5}},
]  # fmt: skip


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_json_that_is_no_message_is_answered(open_gateway: Stage, modern: bool) -> None:
    session = (await open_gateway.session()).id or ""
    wire = Wire(open_gateway.gateway.port)

    for value in NO_MESSAGES:
        body = json.dumps(value).encode()
        checked(await wire.send(head_of(open_gateway, body, modern=modern, session=session) + body))
        method = value.get("method") if isinstance(value, dict) else None
        if modern and isinstance(method, str) and len(method) < 100:
            params = value.get("params", {})
            whole = {**value, "params": {**params, "_meta": ENVELOPE}} if isinstance(params, dict) else value
            body = json.dumps(whole).encode()
            changes = {"mcp_method": method, "mcp_name": None}
            checked(await wire.send(head_of(open_gateway, body, modern=True, **changes) + body))

    await works(open_gateway, wire)


async def test_json_that_is_no_message_costs_a_line_on_stdio_and_no_more(open_gateway: Stage) -> None:
    reader, writer = await asyncio.open_unix_connection(str(open_gateway.folder / "stdio.sock"), limit=4 << 20)
    writer.write(b'{"profile":"default"}\n')
    ping = json.dumps({"jsonrpc": "2.0", "id": "mark", "method": "tools/list", "params": {"_meta": ENVELOPE}}).encode()

    for value in NO_MESSAGES:
        writer.write(json.dumps(value).encode() + b"\n" + ping + b"\n")
        async with asyncio.timeout(10):
            while (answer := json.loads(await reader.readline())).get("id") != "mark":
                assert answer["jsonrpc"] == "2.0"
    writer.close()

    await works(open_gateway)


# --- HTTP -------------------------------------------------------------------------------------------------------------

TOKEN = b"@TOKEN@"
HEADS: list[tuple[bytes, set[int]]] = [
    (b"GARBAGE\r\n\r\n", {400}),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400}),
    (b"GET /mcp\r\n\r\n", {400, 421}),
    (b"GET /mcp HTTP/9.9\r\n\r\n", {400}),
    (b"GET mcp HTTP/1.1\r\nhost: localhost\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\n\r\n", {421}),
    (b"POST /mcp HTTP/1.1\r\nhost: evil.example\r\n\r\n", {421}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\r\n", {403}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\norigin: null\r\n\r\n", {403}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n", {401}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer nope\r\n\r\n", {401}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic @TOKEN@\r\n\r\n", {401}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer \xff\xfe\r\n\r\n", {401}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {415}),
    (b"PUT /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {405}),
    (b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", {400, 401, 404, 405}),
    (b"TRACE /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n", {401, 405}),
    (b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n", {400, 401, 404, 405}),
    (b"GET http://localhost/mcp HTTP/1.1\r\nhost: evil.example\r\n\r\n", {421}),
    (b"GET //evil/mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {404}),
    (b"GET /%00 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {404}),
    (b"GET /%ff%fe HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {404}),
    (b"GET /mcp/../mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer @TOKEN@\r\n\r\n", {404}),
    (b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n", {400}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na b: c\r\n\r\n", {400}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n: c\r\n\r\n", {400}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na: b\x00c\r\n\r\n", {400}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na: b\r\n c\r\n\r\n", {400}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\na: b\rc\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: +5\r\n\r\nhello", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0x5\r\n\r\nhello", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n", {400}),
    (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", {401}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", {401}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(300)) + b"\r\n", {431}),
    (b"GET /mcp HTTP/1.1\r\nhost: localhost\r\nbig: " + b"x" * 70_000 + b"\r\n\r\n", {431}),
    (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", {431}),
]  # fmt: skip


async def test_heads_that_are_wrong_get_their_status_and_the_gateway_goes_on(open_gateway: Stage) -> None:
    token = open_gateway.token().encode()
    wrong = []
    for content, wanted in HEADS:
        answered = checked(await once(open_gateway.gateway.port, content.replace(TOKEN, token)))
        if answered.status not in wanted:
            wrong.append((content[:80], answered))

    assert wrong == []
    await works(open_gateway)


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_truncated_requests_are_answered_in_time_or_cut_off(open_gateway: Stage, modern: bool) -> None:
    session = (await open_gateway.session()).id or ""
    body = call_bytes(b'"x"', modern=modern)
    whole = head_of(open_gateway, body, modern=modern, session=session) + body
    cuts = range(0, len(whole) - 1, max(1, len(whole) // 60))

    answers = await asyncio.gather(*(once(open_gateway.gateway.port, whole[:cut]) for cut in cuts))

    assert {answered.status for answered in answers} <= {0, 408}
    assert any(b"gateway.timeouts.receive" in answered.body for answered in answers)
    await works(open_gateway)


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_chunks_that_are_wrong_are_refused(open_gateway: Stage, modern: bool) -> None:
    session = (await open_gateway.session()).id or ""
    body = call_bytes(b'"x"', modern=modern)
    changes: dict[str, Any] = {"content_length": None, "transfer_encoding": "chunked"}
    head = head_of(open_gateway, b"", modern=modern, session=session, **changes)
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    for chunks in (
        b"zz\r\n", b"-1\r\n", b"\r\n\r\n", b"ffffffffffffffffffff\r\n", b"5\r\nhelloXX", b"1\r\n\r\n\r\n", b"0\r\nbad",
        b"5;" + b"x" * 300_000, b"0\r\n" + b"t: x\r\n" * 20_000, b"1\r\nx\r\n" * 50 + b"nope\r\n",
    ):  # fmt: skip
        answered = await once(open_gateway.gateway.port, head + chunks)
        assert answered.status in {0, 400, 408, 431}, (chunks[:30], answered)
    trailed = await once(open_gateway.gateway.port, head + whole[:-2] + b"host: evil.example\r\n\r\n")

    assert "result" in trailed.messages()[0]
    await works(open_gateway)


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_bodies_over_the_limit_are_refused_by_its_name(open_gateway: Stage, modern: bool) -> None:
    session = (await open_gateway.session()).id or ""
    big = call_bytes(b'"' + b"x" * (1 << 20) + b'"', modern=modern)
    declared = head_of(open_gateway, big, modern=modern, session=session)
    changes: dict[str, Any] = {"content_length": None, "transfer_encoding": "chunked"}
    chunked = head_of(open_gateway, b"", modern=modern, session=session, **changes)

    first = await once(open_gateway.gateway.port, declared)
    second = await once(open_gateway.gateway.port, chunked + b"%x\r\n%b\r\n" % (len(big), big))

    for answered in (first, second):
        assert answered.status == 413
        assert answered.messages() == [{"error": "the body is too large: at most 1 MiB (`gateway.limits.body`)"}]
    await works(open_gateway)


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once(open_gateway: Stage) -> None:
    body = call_bytes(b'"x"', modern=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", open_gateway.gateway.port)
    writer.write(head_of(open_gateway, body, modern=True, expect="100-Continue"))

    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body[:20])
    await asyncio.sleep(0)
    writer.write(body[20:])

    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_an_id_that_is_in_use_is_refused_and_the_first_call_is_answered(open_gateway: Stage) -> None:
    await open_gateway.serve(project(servers={"a": {}, "slow": {}}), {"slow": FakeServer(answers={"tools/call": None})})
    session = await open_gateway.session()
    first = asyncio.create_task(session.post("tools/call", {"name": "slow__echo"}, id_="same"))
    slot = open_gateway.gateway.supervisor._slots["slow"]
    await until(lambda: slot.in_flight == 1)

    again = await session.post("tools/call", {"name": "slow__echo"}, id_="same")
    await session.post("notifications/cancelled", {"requestId": "same"}, id_=None)

    assert again.json()["error"] == {"code": -32600, "message": "its id is in use"}
    assert (await first).json()["id"] == "same"
    await works(open_gateway)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"mcp_protocol_version": "2031-01-01"}, 400, -32022),
        ({"mcp_protocol_version": "garbage"}, 400, None),
        ({"mcp_method": "tools/list"}, 400, -32020),
        ({"mcp_method": None}, 400, -32020),
        ({"mcp_name": "other"}, 400, -32020),
        ({"mcp_name": None}, 400, -32020),
        ({"content_type": "text/plain"}, 415, None),
        ({"content_type": None}, 415, None),
        ({"accept": "text/html"}, 406, None),
    ],
)
async def test_headers_that_do_not_fit_the_body_are_refused(
    open_gateway: Stage, changes: dict[str, Any], status: int, code: int | None
) -> None:
    body = call_bytes(b"1", modern=True)

    answered = await once(open_gateway.gateway.port, head_of(open_gateway, body, modern=True, **changes) + body)

    assert answered.status == status
    if code is not None and "version" not in str(changes):
        assert answered.messages()[0]["error"]["code"] == code
    await works(open_gateway)


# --- mutations --------------------------------------------------------------------------------------------------------


def valid_bodies(modern: bool) -> list[tuple[bytes, str, str]]:
    """Messages that are right, with their method and name headers."""
    asked: list[tuple[str, dict[str, Any]]] = [
        ("tools/call", {"name": "a__echo", "arguments": {"text": "é\u2028 x", "n": 1.5, "deep": {"a": [None, True]}}}),
        ("tools/list", {}),
        ("tools/list", {"cursor": ""}),
        ("resources/read", {"uri": "memo://x"}),
        ("prompts/get", {"name": "a__p", "arguments": {}}),
        ("ping", {}),
        ("server/discover", {}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "a__p"}, "argument": {"name": "x", "value": ""}},
        ),
    ]
    found = []
    for number, (method, params) in enumerate(asked):
        sent = {**params, "_meta": {**ENVELOPE, "progressToken": number}} if modern else params
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": sent}
        found.append((json.dumps(message).encode(), method, str(params.get("name") or params.get("uri") or "")))
    if not modern:
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "x"}}
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}
        found += [(json.dumps(one).encode(), "", "") for one in (cancelled, answer)]
    return found


async def flood(stage: Stage, wire: Wire, chance: random.Random, session: str, count: int) -> None:
    """Mutated bodies under heads that fit them."""
    for _ in range(count):
        modern = chance.random() < 0.5
        body, method, name = chance.choice(valid_bodies(modern))
        body = mutated(body, chance, chance.randint(1, 3))
        changes: dict[str, str | None] = {"mcp_method": method, "mcp_name": name or None} if modern else {}
        await survives(wire, head_of(stage, body, modern=modern, session=session, **changes) + body)


async def survives(wire: Wire, content: bytes) -> None:
    """Whatever it is, it is answered in time or cut off; what broke something is named."""
    try:
        checked(await wire.send(content))
    except (AssertionError, TimeoutError, ValueError) as error:
        raise AssertionError(f"after {content!r}") from error


async def flood_heads(stage: Stage, chance: random.Random, session: str) -> None:
    """One request that is mutated anywhere."""
    modern = chance.random() < 0.5
    body = call_bytes(b'"x"', modern=modern)
    content = mutated(head_of(stage, body, modern=modern, session=session) + body, chance, chance.randint(1, 3))
    wire = Wire(stage.gateway.port)
    await survives(wire, content)
    await wire.close()


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", [20261122])
async def test_mutations_of_valid_requests_break_nothing(open_gateway: Stage, scale: int, seed: int) -> None:
    session = (await open_gateway.session()).id or ""
    wires = [Wire(open_gateway.gateway.port) for _ in range(TOGETHER)]
    chances = [random.Random(f"{seed} {number}") for number in range(TOGETHER)]
    process = psutil.Process()
    await asyncio.gather(*(flood(open_gateway, w, c, session, 10) for w, c in zip(wires, chances, strict=True)))
    before = process.memory_info().rss

    share = MUTATIONS * scale // TOGETHER
    await asyncio.gather(*(flood(open_gateway, w, c, session, share) for w, c in zip(wires, chances, strict=True)))
    for _ in range(MUTATIONS * scale // TOGETHER // 10):
        await asyncio.gather(*(flood_heads(open_gateway, chance, session) for chance in chances))

    assert process.memory_info().rss - before < GROWTH
    for wire in wires:
        await wire.close()
    await works(open_gateway)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_mutations_of_valid_lines_break_nothing(open_gateway: Stage, scale: int, modern: bool) -> None:
    chance = random.Random(f"lines {modern}")
    reader, writer = await asyncio.open_unix_connection(str(open_gateway.folder / "stdio.sock"), limit=4 << 20)
    writer.write(b'{"profile":"default"}\n')
    if not modern:
        writer.write(b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n')
    process = psutil.Process()
    before = process.memory_info().rss
    bodies = [body for body, _, _ in valid_bodies(modern)]

    for number in range(MUTATIONS * scale // 10):
        lines = [mutated(chance.choice(bodies), chance, chance.randint(1, 3)) for _ in range(10)]
        mark = {"jsonrpc": "2.0", "id": f"mark {number}", "method": "tools/list", "params": {"_meta": ENVELOPE}}
        writer.write(b"\n".join([*lines, json.dumps(mark).encode(), b""]))
        async with asyncio.timeout(10):
            while (answer := json.loads(await reader.readline())).get("id") != f"mark {number}":
                assert answer["jsonrpc"] == "2.0"
                assert "Traceback" not in str(answer)

    assert process.memory_info().rss - before < GROWTH
    writer.close()
    await works(open_gateway)
