"""Calls that wait for their server to start or to be replaced: bounded in number and in time."""

from __future__ import annotations

from typing import Final

from mcpcompose.upstream.call import Call, Reply, unavailable
from mcpcompose.upstream.connection import Connection

_MOST: Final = 1000


class Parking:
    """The waiting calls of one server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._calls: list[tuple[Call, float]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def park(self, call: Call, until: float) -> None:
        """Let *call* wait until then at most."""
        if len(self._calls) >= _MOST:
            call.finish(unavailable(self._server, f"too many calls wait for server `{self._server}` to start"))
        else:
            self._calls.append((call, until))

    def release(self, connection: Connection) -> None:
        """The server is there; calls that were given up meanwhile are not sent."""
        calls, self._calls = self._calls, []
        for call, _ in calls:
            if call.reply is None:
                connection.begin(call)

    def refuse(self, reply: Reply) -> None:
        """The server does not come."""
        calls, self._calls = self._calls, []
        for call, _ in calls:
            call.finish(reply)

    def sweep(self, now: float) -> None:
        """Answer those that waited too long."""
        if not self._calls:
            return
        late = [call for call, until in self._calls if until <= now]
        self._calls = [entry for entry in self._calls if entry[1] > now and entry[0].reply is None]
        for call in late:
            call.finish(unavailable(self._server, f"server `{self._server}` did not start in time", reason="timeout"))
