"""What every slot of a supervisor shares, and when one of them counts as unused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mcpcompose.upstream.base import Restart
from mcpcompose.upstream.call import Ask, Call, Origin
from mcpcompose.upstream.copies import Copies
from mcpcompose.upstream.listcache import ListCache


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a slot is given."""

    cache: ListCache
    restart: Restart
    changed: Callable[[], None]
    redact: Callable[[str], str]
    copies: Copies | None = None
    heard: Callable[[str, Origin | None, str, bytes], None] = lambda _server, _origin, _method, _params: None
    """A server said something that concerns no call: to one client, or to whoever it concerns."""
    asked: Callable[[str, Origin, Ask], None] = lambda _server, _origin, ask: ask.abandon()
    """A server asks one client something outside of its calls."""
    listens: Callable[[Origin], bool] = lambda _origin: False
    """Whether that client hears anything outside of its calls."""
    admits: Callable[[str, Call], bool] = lambda _server, _call: True
    """Whether a server that has said what it offers may have a call that came before."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time


class Use:
    """Whether a server is used. *touched* is set with each call, and looked at now and then."""

    __slots__ = ("_last", "touched")

    def __init__(self) -> None:
        self.touched = True
        self._last = 0.0

    def is_over(self, now: float, *, busy: bool, after: float | None) -> bool:
        """Nobody has used it for *after* seconds."""
        if self.touched or busy:
            self.touched = False
            self._last = now
        return after is not None and now - self._last >= after
