"""What one server may send, hold and take, as the file says now; every conversation with it looks here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcpcompose.spec.limits import ServerLimits, Timeouts, exceeded

if TYPE_CHECKING:
    from mcpcompose.upstream.call import Call


class Gauge:
    """How many calls are under way, of a server or of a client; each is counted once, until it is answered."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, call: Call) -> bool:
        """Count *call*; False when there are too many."""
        if self in call.gauges:
            return True
        if self.held >= self.most:
            return False
        self.held += 1
        call.gauges = (*call.gauges, self)
        return True


class Allowance:
    """The limits of one server; changed in place when the file changes."""

    __slots__ = ("calls", "limits", "parked", "result", "server")

    def __init__(self, server: str, limits: ServerLimits, timeouts: Timeouts, result: int) -> None:
        self.server = server
        self.calls = Gauge(limits.calls)
        self.follow(limits, timeouts, result)

    def follow(self, limits: ServerLimits, timeouts: Timeouts, result: int) -> None:
        """What the file says, from now on; *result* is what it says of servers that say nothing of their own."""
        self.limits = limits
        self.parked = timeouts.parked
        self.result = limits.result or result
        self.calls.most = limits.calls

    def refusal(self, call: Call) -> str | None:
        """Count *call*, once, however often it is sent; says why not when the server has too many already."""
        call.allowance = self
        if self.calls.take(call):
            return None
        return exceeded(f"server `{self.server}` has too many calls to answer", self.limits.calls, self.key("calls"))

    def key(self, name: str) -> str:
        """Where a limit of this server stands in the file."""
        return f"servers.{self.server}.limits.{name}"

    @property
    def result_key(self) -> str:
        """Where the size of its messages is limited."""
        return "gateway.limits.result" if self.limits.result is None else self.key("result")


def default_allowance(server: str, result: int = 64 << 20) -> Allowance:
    """What a server may when the file says nothing."""
    return Allowance(server, ServerLimits(), Timeouts(), result)


UNSAID: Final = default_allowance("?")
"""For calls that no server has taken yet, and where no file says anything."""
