from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.stage import FakeServer, project, until
from mcpcompose.engine.base import Endpoint, HttpEndpoint, StreamEndpoint
from mcpcompose.upstream.base import State, Status
from mcpcompose.upstream.supervisor import Supervisor


class Place:
    """A supervisor of one server `a`."""

    def __init__(self, cache: Path) -> None:
        self.again: Callable[[], Awaitable[Endpoint]] | None = None
        self.cache = cache
        self.supervisor = Supervisor(cache=cache, restart=self._restart, changed=lambda: None)

    async def _restart(self, _server: str) -> Endpoint:
        assert self.again is not None
        return await self.again()

    async def serve(self, endpoint: Endpoint, **server: Any) -> None:
        self.supervisor.declare(project(servers={"a": server}), {})
        await self.supervisor.attach("a", endpoint)

    @property
    def status(self) -> Status:
        return self.supervisor.status()[0]

    async def until(self, state: State) -> None:
        await until(lambda: self.status.state is state)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "lists")
    yield made
    await made.supervisor.close()


REMOTE: dict[str, Any] = {"process": None, "url": "http://127.0.0.1:9/mcp"}


async def test_a_header_that_cannot_be_sent_is_a_failure_with_its_reason(place: Place) -> None:
    await place.serve(HttpEndpoint("http://127.0.0.1:9/mcp", {"x-key": "schlüssel"}), restart="no")

    await place.until(State.FAILED)

    assert "cannot be spoken to" in (place.status.reason or "")
    assert "schlüssel" not in (place.status.reason or "")


async def test_a_restart_that_the_system_refuses_is_tried_again(place: Place) -> None:
    tried: list[int] = []
    second = FakeServer()

    async def again() -> Endpoint:
        tried.append(1)
        if len(tried) == 1:
            raise OSError(24, "Too many open files")
        return StreamEndpoint(second)

    place.again = again
    first = FakeServer()
    await place.serve(StreamEndpoint(first))
    await place.until(State.READY)
    first.die()

    await until(lambda: place.status.state is State.FAILED and "Too many open files" in (place.status.reason or ""))
    await place.until(State.READY)
    assert len(tried) == 2


async def test_an_error_of_our_own_marks_the_server_failed_and_is_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def again() -> Endpoint:
        await asyncio.sleep(0)
        raise LookupError("a mistake")

    place.again = again
    first = FakeServer()
    await place.serve(StreamEndpoint(first))
    await place.until(State.READY)
    first.die()

    await until(lambda: place.status.reason == "internal error: a mistake")
    assert place.status.state is State.FAILED
    assert "the task of server `a` ended by an error" in caplog.text

    await place.supervisor.attach("a", StreamEndpoint(FakeServer()))  # the old error is not raised again
    await place.until(State.READY)


async def test_all_servers_are_let_go_of_whatever_one_of_them_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(FakeServer):
        async def close(self) -> None:
            raise LookupError("a mistake")

    servers = {"a": Stubborn(), "b": FakeServer()}
    place = Place(tmp_path / "lists")
    place.supervisor.declare(project(servers={name: {} for name in servers}), {})
    for name, server in servers.items():
        await place.supervisor.attach(name, StreamEndpoint(server))
    assert await place.supervisor.settled(10)

    await place.supervisor.close()

    assert servers["b"].closed
    assert "a mistake" in caplog.text


async def test_a_remote_server_that_takes_no_connection_fails_at_once_and_says_so(place: Place) -> None:
    place.again = lambda: asyncio.sleep(0, HttpEndpoint("http://127.0.0.1:9/mcp"))
    await place.serve(HttpEndpoint("http://127.0.0.1:9/mcp"), **REMOTE)

    await place.until(State.FAILED)

    assert (place.status.reason or "").startswith("cannot be reached")


async def test_an_instance_that_never_listens_is_reported_as_such(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    await place.serve(HttpEndpoint(url), restart="no", timeouts={"start": 0.5})

    await place.until(State.FAILED)

    assert (place.status.reason or "").startswith("cannot be reached")


async def test_an_instance_that_listens_late_and_then_says_nothing_is_not_called_unreachable(place: Place) -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        await place.serve(
            HttpEndpoint(f"http://127.0.0.1:{late.getsockname()[1]}/mcp"), restart="no", timeouts={"start": 1}
        )
        await asyncio.sleep(0.2)  # refused until now
        late.listen()

        await place.until(State.FAILED)

    assert (place.status.reason or "").startswith("did not answer its handshake within 1 s")


async def test_lists_of_an_identity_that_was_only_believed_go_when_it_turns_out_to_be_another(place: Place) -> None:
    what = project(servers={"a": {}})
    place.supervisor.declare(what, {"a": "one"})
    await place.supervisor.attach("a", StreamEndpoint(FakeServer()))
    await place.until(State.READY)
    later = Supervisor(cache=place.cache, restart=place.supervisor._around.restart, changed=lambda: None)
    try:
        later.declare(what, {"a": "one"})
        believed = set(later.lists())
        later.declare(what, {"a": "another"})
        corrected = set(later.lists())
    finally:
        await later.close()

    place.supervisor.declare(what, {"a": "another"})

    assert (believed, corrected) == ({"a"}, set())
    assert set(place.supervisor.lists()) == {"a"}, "what a server said itself stays until the next one speaks"
