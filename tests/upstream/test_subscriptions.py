from __future__ import annotations

import asyncio
import json
from typing import Any

from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Reply, failure
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.stream import StreamConnection
from mcpcompose.upstream.subscriptions import ACKNOWLEDGED, Subscriptions, prefixes
from upstream.test_stream import Stream


class Talk:
    """A conversation with a server, and what a client is told."""

    def __init__(self, era: Era = Era.LEGACY) -> None:
        self.told: list[tuple[str, Reply]] = []
        self.now = 0.0
        self.subscriptions = Subscriptions("s", lambda: self.now)
        self.era = era
        self.open()

    def open(self) -> None:
        self.stream = Stream()
        watcher = Watcher(self.heard, lambda _reason: None)
        self.connection = StreamConnection("s", self.stream, watcher)
        self.connection.greeted(self.era, "2026-07-28" if self.era is Era.MODERN else "2025-11-25")

    def heard(self, method: str, params: bytes) -> None:
        if method == ACKNOWLEDGED:
            self.subscriptions.acknowledged(params)

    def begin(self) -> None:
        self.subscriptions.begin(self.connection, self.era)

    def hold(self, uri: str) -> Any:
        return self.subscriptions.subscribe(uri, lambda reply: self.told.append((uri, reply)))

    async def sent(self) -> list[dict[str, Any]]:
        """What the server was sent since the last look."""
        for _ in range(4):
            await asyncio.sleep(0)
        written, self.stream.written[:] = list(self.stream.written), []
        return written

    def answer(self, message: dict[str, Any], **fields: Any) -> None:
        self.stream.say(id=message["id"], **(fields or {"result": {}}))

    def acknowledge(self, message: dict[str, Any], uris: list[str]) -> None:
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        self.stream.say(method=ACKNOWLEDGED, params={"_meta": meta, "notifications": {"resourceSubscriptions": uris}})


def methods(messages: list[dict[str, Any]]) -> list[str]:
    return [f"{m['method']} {m.get('params', {}).get('uri', '')}".strip() for m in messages]


def wanted(message: dict[str, Any]) -> list[str]:
    found: list[str] = message["params"]["notifications"]["resourceSubscriptions"]
    return found


async def test_a_server_is_asked_once_for_all_and_told_when_the_last_one_lets_go() -> None:
    talk = Talk()
    talk.begin()
    first, second = talk.hold("file:///a"), talk.hold("file:///a")
    (asked,) = await talk.sent()
    talk.answer(asked)
    third = talk.hold("file:///a")

    assert methods([asked]) == ["resources/subscribe file:///a"]
    assert talk.told == [("file:///a", Reply(result=b"{}"))] * 3
    first()
    first()
    second()
    assert await talk.sent() == []
    third()
    assert methods(await talk.sent()) == ["resources/unsubscribe file:///a"]


async def test_an_error_of_the_server_goes_to_those_who_asked_and_the_next_one_asks_again() -> None:
    talk = Talk()
    talk.begin()
    talk.hold("x:1")
    (asked,) = await talk.sent()
    talk.answer(asked, error={"code": -32602, "message": "never"})

    assert json.loads(talk.told[0][1].error or b"")["message"] == "never"
    assert talk.subscriptions.uris == ()
    talk.hold("x:1")
    assert methods(await talk.sent()) == ["resources/subscribe x:1"]


async def test_what_is_wanted_is_said_again_to_the_next_instance() -> None:
    talk = Talk()
    talk.begin()
    talk.hold("x:1")
    gone = talk.hold("x:2")
    for message in await talk.sent():
        talk.answer(message)
    talk.stream.receiver.stream_ended("crashed")
    talk.subscriptions.end()
    gone()
    talk.open()
    talk.begin()

    assert methods(await talk.sent()) == ["resources/subscribe x:1"]


async def test_letting_go_and_holding_again_is_said_in_that_order() -> None:
    talk = Talk()
    talk.begin()
    held = talk.hold("x:1")
    (asked,) = await talk.sent()
    held()
    talk.hold("x:1")
    assert await talk.sent() == []
    talk.answer(asked)

    assert await talk.sent() == []
    assert [reply.error for _, reply in talk.told] == [None]


async def test_who_waits_for_a_server_that_is_not_there_is_told_after_a_while() -> None:
    talk = Talk()
    talk.hold("x:1")
    talk.now = 31.0
    talk.subscriptions.sweep(talk.now)
    talk.hold("x:2")
    talk.subscriptions.refuse(failure(-32603, "gone"))

    assert [uri for uri, reply in talk.told if reply.error is not None] == ["x:1", "x:2"]
    assert talk.subscriptions.uris == ()


async def test_a_modern_server_gets_one_stream_for_all_and_a_new_one_before_the_old_one_ends() -> None:
    talk = Talk(Era.MODERN)
    talk.begin()
    talk.hold("x:1")
    talk.hold("x:2")
    (first,) = await talk.sent()
    talk.acknowledge(first, ["x:1", "x:2"])
    talk.hold("x:3")
    (second,) = await talk.sent()

    assert (wanted(first), wanted(second)) == (["x:1", "x:2"], ["x:1", "x:2", "x:3"])
    assert len(talk.told) == 2
    talk.acknowledge(second, ["x:1", "x:2", "x:3"])
    (ended,) = await talk.sent()
    assert ended["method"] == "notifications/cancelled"
    assert ended["params"]["requestId"] == first["id"]
    assert [uri for uri, _ in talk.told] == ["x:1", "x:2", "x:3"]


async def test_what_a_modern_server_does_not_honour_is_refused() -> None:
    talk = Talk(Era.MODERN)
    talk.begin()
    talk.hold("x:1")
    talk.hold("x:2")
    (first,) = await talk.sent()
    talk.acknowledge(first, ["x:2"])

    assert {uri: reply.error is None for uri, reply in talk.told} == {"x:1": False, "x:2": True}
    assert talk.subscriptions.uris == ("x:2",)


async def test_what_is_wanted_while_a_stream_opens_comes_with_the_next() -> None:
    talk = Talk(Era.MODERN)
    talk.begin()
    held = talk.hold("x:1")
    (first,) = await talk.sent()
    talk.hold("x:2")
    held()
    assert await talk.sent() == []
    talk.acknowledge(first, ["x:1"])
    (second,) = await talk.sent()

    assert wanted(second) == ["x:2"]


async def test_without_anything_wanted_a_stream_is_closed() -> None:
    talk = Talk(Era.MODERN)
    talk.begin()
    held = talk.hold("x:1")
    (first,) = await talk.sent()
    talk.acknowledge(first, ["x:1"])
    held()

    assert [message["method"] for message in await talk.sent()] == ["notifications/cancelled"]
    assert talk.subscriptions.uris == ()


async def test_a_refused_stream_costs_only_who_asked_for_more() -> None:
    talk = Talk(Era.MODERN)
    talk.begin()
    talk.hold("x:1")
    (first,) = await talk.sent()
    talk.acknowledge(first, ["x:1"])
    talk.hold("x:2")
    (second,) = await talk.sent()
    talk.answer(second, error={"code": -32602, "message": "no"})

    assert {uri: reply.error is None for uri, reply in talk.told} == {"x:1": True, "x:2": False}
    assert talk.subscriptions.uris == ("x:1",)
    assert await talk.sent() == []


def test_a_part_of_a_resource_is_found_by_what_it_is_a_part_of() -> None:
    assert prefixes("file:///a/b?c#d") == [
        "file:///a/b?c#d",
        "file:///a/b?c#",
        "file:///a/b?c",
        "file:///a/b?",
        "file:///a/b",
        "file:///a/",
        "file:///a",
        "file:///",
        "file://",
        "file://",
        "file:/",
        "file:/",
        "file:",
    ]
    assert "file:///ab" not in prefixes("file:///abc")
    assert len(prefixes("/" * 8000)) < 500
    assert prefixes("x" * 10_000_000) == ["x" * 10_000_000]
