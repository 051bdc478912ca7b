from __future__ import annotations

import pytest

from mcpcompose.errors import UpstreamError
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call, Reply, failure, unavailable
from mcpcompose.upstream.handshake import greet


class ComesUpInBetween:
    """An HTTP server that starts to listen after the first request was refused."""

    def __init__(self) -> None:
        self.era, self.version = Era.LEGACY, ""
        self.pending: dict[str, Call] = {}
        self.unreachable: str | None = None
        self.is_away = False
        self.asked: list[str] = []

    def begin(self, call: Call) -> None:
        self.asked.append(call.method)
        if len(self.asked) == 1:
            self.unreachable, self.is_away = "cannot be reached: connection refused", True
            call.finish(unavailable("web", self.unreachable))
        else:
            self.unreachable = None
            call.finish(failure(-32601, "no such method"))

    def notify(self, method: str) -> None: ...

    def expire(self, call: Call) -> None: ...

    def greeted(self, era: Era, version: str) -> None: ...

    def learned(self, lists: ServerLists) -> None: ...

    async def close(self, reason: str) -> None: ...


async def test_a_server_that_does_not_listen_yet_is_not_taken_for_one_that_refuses_the_handshake() -> None:
    server = ComesUpInBetween()

    with pytest.raises(UpstreamError):
        await greet(server, "auto")

    assert server.asked == ["initialize"]
    assert server.unreachable is not None


class ResetsTheHandshake(ComesUpInBetween):
    """A modern-only HTTP server that breaks `initialize` off."""

    def begin(self, call: Call) -> None:
        self.asked.append(call.method)
        if call.method == "initialize":
            self.unreachable = "broke the exchange off"
            call.finish(unavailable("web", self.unreachable))
        else:
            call.finish(Reply(result=b'{"supportedVersions":["2026-07-28"],"capabilities":{}}', era=Era.MODERN))


async def test_a_modern_server_that_breaks_the_handshake_off_is_found_by_the_probe_over_http() -> None:
    server = ResetsTheHandshake()

    greeting = await greet(server, "auto", probe=True)

    assert greeting.era is Era.MODERN
    assert server.asked == ["server/discover"]


async def test_a_handshake_server_that_breaks_the_probe_off_is_asked_in_its_own_way_even_if_it_was_modern_before() -> (
    None
):
    class ResetsTheProbe(ResetsTheHandshake):
        def begin(self, call: Call) -> None:
            self.asked.append(call.method)
            if call.method == "server/discover":
                self.unreachable = "broke the exchange off"
                call.finish(unavailable("web", self.unreachable))
            else:
                call.finish(Reply(result=b'{"protocolVersion":"2025-06-18","capabilities":{}}', era=Era.LEGACY))

    for remembered in (None, Era.MODERN):
        greeting = await greet(ResetsTheProbe(), "auto", remembered, probe=True)
        assert greeting.era is Era.LEGACY


class AnswersAnything(ComesUpInBetween):
    """A handshake server that answers what it does not know with an empty result."""

    def begin(self, call: Call) -> None:
        self.asked.append(call.method)
        known = b'{"protocolVersion":"2025-11-25","capabilities":{}}'
        call.finish(Reply(result=known if call.method == "initialize" else b"{}", era=Era.LEGACY))


async def test_an_empty_answer_to_the_probe_is_no_modern_server() -> None:
    server = AnswersAnything()

    greeting = await greet(server, "auto", probe=True)

    assert (greeting.era, greeting.version) == (Era.LEGACY, "2025-11-25")
    assert server.asked == ["server/discover", "initialize"]


async def test_a_server_that_comes_up_between_both_kinds_of_request_is_asked_the_first_again() -> None:
    class ComesUpBehindAProxy(ComesUpInBetween):
        """A handshake server behind a port that the engine opens before anybody listens in the container."""

        def begin(self, call: Call) -> None:
            self.asked.append(call.method)
            if len(self.asked) == 1:
                self.unreachable = "broke the exchange off: server disconnected without a response"
                call.finish(unavailable("web", self.unreachable))
                return
            self.unreachable = None
            known = b'{"protocolVersion":"2025-11-25","capabilities":{}}'
            call.finish(Reply(result=known if call.method == "initialize" else b"{}", era=Era.LEGACY))

    server = ComesUpBehindAProxy()

    greeting = await greet(server, "auto")

    assert (greeting.era, greeting.version) == (Era.LEGACY, "2025-11-25")
    assert server.asked == ["initialize", "server/discover", "initialize"]


async def test_a_server_that_breaks_one_kind_of_request_off_and_refuses_the_other_is_asked_once_more() -> None:
    class TakesNeither(ComesUpInBetween):
        def begin(self, call: Call) -> None:
            self.asked.append(call.method)
            if call.method == "initialize":
                self.unreachable = "broke the exchange off"
                call.finish(unavailable("web", self.unreachable))
            else:
                self.unreachable = None
                call.finish(failure(-32601, "no such method"))

    server = TakesNeither()

    with pytest.raises(UpstreamError, match=r"refused `initialize`: broke the exchange off; refused `server/discover`"):
        await greet(server, "auto")

    assert server.asked == ["initialize", "server/discover", "initialize"]
