from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

from gateway.stage import MODERN, FakeServer, Stage, project, until
from mcpcompose.upstream.call import Call

META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


def request(stage: Stage, verb: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {
        "host": "localhost",
        "authorization": f"Bearer {stage.token()}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "content-length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return (
        f"{verb} /mcp HTTP/1.1\r\n{''.join(f'{k}: {v}{chr(13)}{chr(10)}' for k, v in fields.items())}\r\n".encode()
        + body
    )


async def dropped(stage: Stage, content: bytes, *, after_answer: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.port)
    writer.write(content)
    await writer.drain()
    if after_answer:
        await reader.read(100)
    writer.close()


async def test_streams_subscriptions_and_calls_that_are_dropped_leave_nothing(stage: Stage) -> None:
    server = FakeServer(answers={"tools/call": None})
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()
    assert session.id is not None
    await stage.http.aclose()
    await asyncio.sleep(0)
    listen: Any = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
    listen["params"] = {"_meta": META, "notifications": {"toolsListChanged": True}}
    call: Any = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a__echo", "_meta": META}}
    modern = {"mcp_protocol_version": MODERN}
    requests = [
        (request(stage, "GET", mcp_session_id=session.id), True),
        (request(stage, "POST", json.dumps(listen).encode(), mcp_method="subscriptions/listen", **modern), True),
        (
            request(stage, "POST", json.dumps(call).encode(), mcp_method="tools/call", mcp_name="a__echo", **modern),
            False,
        ),
        (request(stage, "POST", b'{"jsonrpc"', content_length="1000"), False),
    ]
    tasks = len(asyncio.all_tasks())

    for _ in range(25):
        await asyncio.gather(*(dropped(stage, content, after_answer=wait) for content, wait in requests for _ in "ab"))

    slot = stage.gateway.supervisor._slots["a"]
    await until(lambda: len(stage.gateway.listeners) == 0)
    await until(lambda: slot.in_flight == 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert stage.gateway._front.sessions == 1


async def test_a_thousand_sessions_opened_and_dropped_leave_the_bound(stage: Stage) -> None:
    await stage.serve(project(servers={}), {})

    for _ in range(25):
        await asyncio.gather(*(stage.session() for _ in range(50)))

    assert stage.gateway._front.sessions <= 1000


async def test_a_large_result_is_gone_once_it_is_delivered_without_a_collection(stage: Stage) -> None:
    """The connection stays open: what it served last must not keep the answer until the next request."""
    server = FakeServer()
    await stage.serve(project(servers={"a": {}}), {"a": server})
    session = await stage.session()
    text = {"name": "a__echo", "arguments": {"text": "x" * 300_000}}
    gc.collect()
    gc.disable()
    try:
        await session.post("tools/call", text)
        await stage.post("tools/call", text)
        await asyncio.sleep(0)
        kept = [one for one in gc.get_objects() if isinstance(one, Call) and one.reply is not None]
        assert [call.method for call in kept if call.method == "tools/call"] == []
    finally:
        gc.enable()
