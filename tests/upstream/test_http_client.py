from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from harness.wait import until_async
from mcpcompose.gateway.serve import bind, listen
from mcpcompose.upstream.http_client import HttpClient, http_client


class Place:
    """A server that answers when it may; *connections* counts how often it was connected to."""

    def __init__(self) -> None:
        self.connections = 0
        self.asked = 0
        self.headers: dict[str, str] = {}
        self.may = asyncio.Event()
        self.may.set()
        self.url: httpx2.URL

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        self.asked += 1
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await self.may.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def traced(self, event: str, _details: object) -> None:
        self.connections += event == "connection.connect_tcp.started"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    bound = bind("127.0.0.1", None)
    listening = await listen(made, bound)
    made.url = httpx2.URL(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp")
    try:
        yield made
    finally:
        made.may.set()
        await listening.stop(0)


async def post(client: HttpClient, place: Place) -> bytes:
    response = await client.exchange(place.url, {"x-own": "1"}, b"[1]", {"trace": place.traced})
    try:
        return b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()


async def test_one_connection_serves_one_exchange_after_the_other(place: Place) -> None:
    async with http_client({"x-team": "a"}, connect=5.0, remote=False) as client:
        for _ in range(3):
            assert await post(client, place) == b"{}"

    assert place.connections == 1
    assert (place.headers["x-team"], place.headers["x-own"], place.headers["content-length"]) == ("a", "1", "3")
    assert place.headers["host"] == f"127.0.0.1:{place.url.port}"


async def test_no_more_connections_are_open_than_may_be(place: Place) -> None:
    place.may.clear()
    async with http_client({}, connect=5.0, remote=False, most=2) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(client, place)) for _ in range(5)]
        await until_async(lambda: place.asked == 2, "two are asked")
        place.may.set()
        await asyncio.wait(tasks)

    assert (place.asked, place.connections) == (5, 2)


async def test_an_exchange_that_is_given_up_leaves_room_for_the_next(place: Place) -> None:
    place.may.clear()
    async with http_client({}, connect=5.0, remote=False, most=1) as client:
        task = asyncio.create_task(post(client, place))
        await until_async(lambda: place.asked == 1, "it is asked")
        task.cancel()
        await asyncio.wait({task})
        place.may.set()
        async with asyncio.timeout(5):
            assert await post(client, place) == b"{}"

    assert place.connections == 2


async def test_an_answer_nobody_reads_leaves_room_for_the_next(place: Place) -> None:
    async with http_client({}, connect=5.0, remote=False, most=1) as client, asyncio.timeout(5):
        await (await client.exchange(place.url, {}, b"1")).aclose()
        assert await post(client, place) == b"{}"


async def test_a_proxy_of_the_environment_is_for_remote_servers_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async with http_client({}, connect=5.0, remote=False) as client:
        assert await post(client, place) == b"{}"
    async with http_client({}, connect=5.0, remote=True) as client:
        with pytest.raises(httpx2.ConnectError):
            await post(client, place)
