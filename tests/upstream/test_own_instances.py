"""A slot whose server rests when nobody uses it, and whose clients have instances of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, project, until
from mcpcompose.engine.base import Endpoint, StreamEndpoint
from mcpcompose.errors import EngineError
from mcpcompose.upstream.base import State
from mcpcompose.upstream.call import Call, Origin
from mcpcompose.upstream.supervisor import Supervisor


class Place:
    """A supervisor of one server `a` whose instances are fake servers, by name; time goes on as the test says."""

    def __init__(self, cache: Path) -> None:
        self.servers: dict[str, FakeServer] = {}
        self.story: list[str] = []
        self.rest_error: EngineError | None = None
        self.resting = asyncio.Event()
        self.resting.set()
        self.supervisor = Supervisor(cache=cache, restart=self.restart, changed=lambda: None, instances=self)

    async def restart(self, server: str) -> Endpoint:
        self.story.append(f"start {server}")
        return self._started("a-1")

    async def rest(self, server: str) -> None:
        self.story.append(f"rest {server}")
        await self.resting.wait()
        if self.rest_error is not None:
            raise self.rest_error

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        name = f"{server}-{len(self.servers) + 1}"
        return name, self._started(name)

    async def stop_copy(self, server: str, copy: str) -> None:
        self.story.append(f"stop {copy}")
        self.servers[copy].die()

    def _started(self, name: str) -> StreamEndpoint:
        self.servers[name] = FakeServer()
        return StreamEndpoint(self.servers[name])

    async def serve(self, **server: Any) -> None:
        self.declare(**server)
        await self.supervisor.attach("a", self._started("a-1"))
        await self.until(State.READY)

    def declare(self, **server: Any) -> None:
        self.supervisor.declare(project(servers={"a": server}), {"a": "1"})

    def call(self, session: str | None = None, client: str = "default") -> Call:
        call = Call("tools/call", {"name": "echo", "arguments": {}}, origin=Origin(client, session))
        self.supervisor.submit("a", call)
        return call

    async def answered(self, session: str | None = None, client: str = "default") -> str:
        """The name of the instance that got a call of *session*."""
        before = {name: len(server.calls) for name, server in self.servers.items()}
        async with asyncio.timeout(5):
            reply = await self.call(session, client).answer()
        assert reply.result is not None, reply
        (name,) = [name for name, server in self.servers.items() if len(server.calls) > before.get(name, 0)]
        return name

    async def until(self, state: State) -> None:
        await until(lambda: self.supervisor.status()[0].state is state)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "lists")
    yield made
    await made.supervisor.close()


IDLE: dict[str, Any] = {"idle_timeout": "10ms"}


async def test_a_server_that_nobody_uses_rests_keeps_its_lists_and_is_started_by_a_call(place: Place) -> None:
    await place.serve(**IDLE)

    await place.until(State.IDLE)
    await until(lambda: place.story == ["rest a"])
    assert [one["name"] for one in place.supervisor.lists()["a"].tools] == ["echo"]
    assert await place.supervisor.settled(1)

    place.declare()  # so that it does not rest again at once
    assert await place.answered() == "a-1"
    assert place.story == ["rest a", "start a"]
    assert place.supervisor.status()[0].restarts == 0


async def test_a_call_that_comes_while_the_server_is_being_stopped_waits_for_its_start(place: Place) -> None:
    place.resting.clear()
    await place.serve(**IDLE)
    await until(lambda: place.story == ["rest a"])
    place.declare()

    answering = asyncio.ensure_future(place.answered())
    await asyncio.sleep(0)
    place.resting.set()

    assert await answering == "a-1"
    assert place.story == ["rest a", "start a"]


async def test_a_server_with_a_call_in_flight_does_not_rest(place: Place) -> None:
    await place.serve(**IDLE)
    place.servers["a-1"].answers["tools/call"] = None
    hanging = place.call()

    for _ in range(4):
        place.supervisor._slots["a"].sweep(time.monotonic() + 5)
        await asyncio.sleep(0)
    assert place.story == []

    hanging.cancel()
    await place.until(State.IDLE)


async def test_a_server_that_cannot_be_stopped_is_started_again(place: Place) -> None:
    place.rest_error = EngineError("the engine does not answer")
    await place.serve(**IDLE)

    await until(lambda: place.story[:2] == ["rest a", "start a"])
    place.declare()
    await place.until(State.READY)


async def test_a_server_that_is_attached_while_it_rests_serves_from_there(place: Place) -> None:
    await place.serve(**IDLE)
    await place.until(State.IDLE)
    place.declare()

    await place.supervisor.attach("a", place._started("a-1"))

    await place.until(State.READY)
    assert "start a" not in place.story


async def test_each_session_has_an_instance_and_its_end_is_the_instances(place: Place) -> None:
    await place.serve(scope="session")

    assert [await place.answered(session) for session in ("one", "two", "one")] == ["a-2", "a-3", "a-2"]
    place.supervisor.session_ended("one")

    await until(lambda: place.story == ["stop a-2"])
    assert await place.answered("two") == "a-3"


async def test_the_instances_of_sessions_outlive_the_shared_one(place: Place) -> None:
    await place.serve(scope="session")
    assert await place.answered("one") == "a-2"

    place.servers["a-1"].die()

    assert await place.answered("one") == "a-2"
    await until(lambda: place.story == ["start a"])
    await place.until(State.READY)
    assert await place.answered("one") == "a-2"


async def test_an_instance_that_dies_fails_its_calls_and_the_next_call_has_a_new_one(place: Place) -> None:
    await place.serve(scope="session")
    await place.answered("one")
    place.servers["a-2"].answers["tools/call"] = None
    hanging = [place.call("one") for _ in range(3)]
    await until(lambda: sum(one.get("method") == "tools/call" for one in place.servers["a-2"].seen) == 4)

    place.servers["a-2"].die()

    for call in hanging:
        assert b'"retryable":true' in ((await call.answer()).error or b"")
    assert await place.answered("one") == "a-3"
    assert await place.answered("two") == "a-4"


async def test_each_call_has_an_instance_that_is_gone_after_it(place: Place) -> None:
    await place.serve(scope="call")

    assert [await place.answered("one"), await place.answered("one")] == ["a-2", "a-3"]

    await until(lambda: set(place.story) == {"stop a-2", "stop a-3"})


async def test_a_clients_sessions_share_an_instance(place: Place) -> None:
    await place.serve(scope="client")

    assert [await place.answered("one"), await place.answered("two")] == ["a-2", "a-2"]
    assert await place.answered("three", client="other") == "a-3"


async def test_a_server_that_goes_takes_all_instances_along(place: Place) -> None:
    await place.serve(scope="session", instances={"warm": 1})
    await place.answered("one")
    await until(lambda: len(place.servers) == 3)

    await place.supervisor.detach("a")

    assert set(place.story) == {"stop a-2", "stop a-3"}


async def test_an_instance_that_its_session_does_not_use_goes_when_the_server_is_idle(place: Place) -> None:
    await place.serve(scope="session", **IDLE)
    assert await place.answered("one") == "a-2"

    await place.until(State.IDLE)
    await until(lambda: set(place.story) == {"stop a-2", "rest a"})

    assert await place.answered("one") not in {"a-1", "a-2"}


async def test_another_scope_takes_effect_without_a_new_instance(place: Place) -> None:
    await place.serve()
    assert await place.answered("one") == "a-1"

    place.declare(scope="session")
    assert await place.answered("one") == "a-2"

    place.declare()
    assert await place.answered("one") == "a-1"
    await until(lambda: place.story == ["stop a-2"])
