"""Calls that wait for their server to start or to be replaced: bounded in number and in time."""

from __future__ import annotations

from collections.abc import Callable

from mcpcompose.spec.limits import exceeded
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.call import Call, Reply, moved, unavailable


class Parking:
    """The waiting calls of one server."""

    def __init__(self, server: str, allowance: Allowance) -> None:
        self._server = server
        self._allowance = allowance
        self._calls: list[tuple[Call, float]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def park(self, call: Call, until: float) -> None:
        """Let *call* wait until then at most."""
        most = self._allowance.limits.waiting
        if len(self._calls) >= most:
            what = f"too many calls wait for server `{self._server}` to start"
            call.finish(unavailable(self._server, exceeded(what, most, self._allowance.key("waiting"))))
        else:
            self._calls.append((call, until))

    def release(self, send: Callable[[Call], None], admits: Callable[[str, Call], bool] | None = None) -> None:
        """
        The server is there; calls that were given up meanwhile are not sent.

        Nor are those that it *admits* no more: they were let in by what was known of it before.
        """
        for call in self.taken_back():
            if admits is None or call.origin is None or admits(self._server, call):
                send(call)
            else:
                call.finish(moved(self._server))

    def taken_back(self) -> list[Call]:
        """The calls that still wait; they wait here no more."""
        calls, self._calls = self._calls, []
        return [call for call, _ in calls if call.reply is None]

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
        for call, _ in self._calls:
            call.nudge(now)
        for call in late:
            call.finish(unavailable(self._server, f"server `{self._server}` did not start in time", reason="timeout"))
