from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mcpcompose.errors import UpstreamError
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.handshake import fetch_lists, greet
from mcpcompose.upstream.listcache import ListCache
from mcpcompose.upstream.stream import StreamConnection

Reply = Callable[[str, dict[str, Any]], dict[str, Any]]
NO = {"error": {"code": -32601, "message": "no"}}


class Scripted:
    """A byte stream whose server answers by a function."""

    write_backlog = 0

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.methods: list[str] = []
        self.receiver: Any = None

    def listen(self, receiver: Any) -> None:
        self.receiver = receiver

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        self.methods.append(message["method"])
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"]} | self.reply(message["method"], message["params"])
            asyncio.get_running_loop().call_soon(self.receiver.data_received, json.dumps(answer).encode() + b"\n")

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def close(self) -> None: ...


def connected(reply: Reply) -> tuple[StreamConnection, Scripted]:
    stream = Scripted(reply)
    return StreamConnection("s", stream, Watcher(lambda _method, _params: None, lambda _: None)), stream


def legacy(**members: Any) -> dict[str, Any]:
    return {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}} | members}


def modern(method: str, _params: dict[str, Any]) -> dict[str, Any]:
    if method == "server/discover":
        return {"result": {"supportedVersions": ["2026-07-28"], "capabilities": {}}}
    return {"error": {"code": -32022, "message": "no"}}


async def test_the_handshake_comes_first_and_is_completed() -> None:
    connection, stream = connected(lambda _method, _params: legacy())

    greeting = await greet(connection, "auto")

    assert (greeting.era, greeting.version) == (Era.LEGACY, "2025-06-18")
    await asyncio.sleep(0)  # what is sent in one turn of the loop goes out at its end
    assert stream.methods == ["initialize", "notifications/initialized"]


async def test_a_modern_only_server_is_found_and_remembered() -> None:
    connection, stream = connected(modern)
    assert (await greet(connection, "auto")).era is Era.MODERN
    assert stream.methods == ["initialize", "server/discover"]

    connection, stream = connected(modern)
    assert (await greet(connection, "auto", Era.MODERN)).era is Era.MODERN
    assert stream.methods == ["server/discover"]


async def test_an_era_that_is_given_is_the_only_one_tried() -> None:
    connection, stream = connected(modern)

    with pytest.raises(UpstreamError, match="refused `initialize`: no"):
        await greet(connection, "legacy")

    assert stream.methods == ["initialize"]


@pytest.mark.parametrize("answer", [legacy(protocolVersion="1999-01-01"), {"result": []}, {"result": {}}])
async def test_a_handshake_that_makes_no_sense_is_refused(answer: dict[str, Any]) -> None:
    connection, _ = connected(lambda _method, _params: answer)

    with pytest.raises(UpstreamError):
        await greet(connection, "auto")


async def test_all_pages_are_read_and_an_empty_cursor_is_one() -> None:
    pages = {None: (["a"], ""), "": (["b"], "x"), "x": (["c"], None)}

    def reply(method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method != "tools/list":
            return legacy() if method == "initialize" else NO
        names, following = pages[params.get("cursor")]
        page: dict[str, Any] = {"tools": [{"name": name} for name in names] + [None, 1]}
        return {"result": page if following is None else page | {"nextCursor": following}}

    connection, _ = connected(reply)

    lists = await fetch_lists(connection, await greet(connection, "auto"))

    assert [tool["name"] for tool in lists.tools] == ["a", "b", "c"]


@pytest.mark.parametrize("endless", [lambda _n: "same", str])
async def test_a_list_without_end_is_given_up(endless: Callable[[int], str]) -> None:
    number = 0

    def reply(method: str, _params: dict[str, Any]) -> dict[str, Any]:
        nonlocal number
        number += 1
        return legacy() if method == "initialize" else {"result": {"tools": [], "nextCursor": endless(number)}}

    connection, _ = connected(reply)

    with pytest.raises(UpstreamError, match="does not end"):
        await fetch_lists(connection, await greet(connection, "auto"))


def test_a_cached_list_comes_back_whole_and_a_broken_one_not_at_all(tmp_path: Any) -> None:
    cache = ListCache(tmp_path / "lists")
    lists = ServerLists(tools=({"name": "a", "x": [1, None, {"é": 1.5}]},), info={"name": "s"}, capabilities={})

    cache.store("print", lists, Era.MODERN, "2026-07-28")
    loaded = cache.load("print")
    other = cache.load("other")
    for file in (tmp_path / "lists").iterdir():
        file.write_bytes(b'{"format": 1')

    assert loaded == (replace(lists, is_remembered=True), Era.MODERN)
    assert other is None
    assert cache.load("print") is None


async def test_a_server_that_refuses_a_version_and_offers_the_same_is_asked_again() -> None:
    asked: list[str] = []

    def refuses_once(method: str, params: dict[str, Any]) -> dict[str, Any]:
        asked.append(method)
        if len(asked) == 1:
            data = {"supported": ["2026-07-28"], "requested": "2026-07-28"}
            return {"error": {"code": -32022, "message": "Unsupported protocol version", "data": data}}
        return modern(method, params)

    connection, _ = connected(refuses_once)

    assert (await greet(connection, "auto", Era.MODERN)).era is Era.MODERN
    assert asked == ["server/discover", "server/discover"]
