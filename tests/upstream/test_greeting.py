from __future__ import annotations

import pytest

from mcpcompose.errors import UpstreamError
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call, failure, unavailable
from mcpcompose.upstream.handshake import greet


class ComesUpInBetween:
    """An HTTP server that starts to listen after the first request was refused."""

    def __init__(self) -> None:
        self.era, self.version = Era.LEGACY, ""
        self.pending: dict[str, Call] = {}
        self.unreachable: str | None = None
        self.asked: list[str] = []

    def begin(self, call: Call) -> None:
        self.asked.append(call.method)
        if len(self.asked) == 1:
            self.unreachable = "cannot be reached: connection refused"
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
