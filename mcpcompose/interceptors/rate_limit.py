"""
`use: rate-limit`: so many requests in so much time.

A sliding window in sixty parts, by a clock that nobody sets: never more than the limit in any window, at most one part
of a window later than exact. Kept in memory; what is refused does not count.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import Answer, Around, AskPerson, Exchange, Quiet, Refuse
from mcpcompose.spec.interceptor import Interceptor as Spec

_LIMIT: Final = re.compile(r"(\d{1,9})\s*/\s*(\d{1,6})?\s*(second|minute|hour|day)s?")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_PARTS: Final = 60
_MOST: Final = 10_000
"""Things that are counted apart; more are counted together."""
_NOTIFICATIONS: Final = "notifications/"


class RateLimit(Quiet):
    """Refuses what is too much, and says when it may come again."""

    def __init__(self, spec: Spec, _around: Around, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._seconds = parsed(spec.limit or "")
        self._said = spec.limit
        self._per = spec.per
        self._asks = spec.action == "ask"
        self._message = spec.message
        self._clock = clock
        self._windows: dict[str, Window] = {}

    def before(self, exchange: Exchange) -> Answer:
        """Count it, or refuse it. Notifications are not counted: nobody could be told."""
        if exchange.method.startswith(_NOTIFICATIONS):
            return None
        now, window = self._clock(), self._window(self._key(exchange))
        wait = window.take(now)
        if wait is None:
            return None
        again = "ask the person to raise it" if math.isinf(wait) else f"try again in {math.ceil(wait)} s"
        refusal = self._message or f"the limit of {self._said} (per {self._per}) is reached: {again}"
        if self._asks:
            question = f"The limit of {self._said} (per {self._per}) is reached. Allow one more request?"
            return AskPerson(question, refusal, "limit")
        return Refuse(refusal, "limit")

    def _key(self, exchange: Exchange) -> str:
        if self._per == "session":
            return exchange.session.client
        if self._per == "server":
            return exchange.server
        return f"{exchange.server}/{exchange.method}/{exchange.name}" if self._per == "tool" else ""

    def _window(self, key: str) -> Window:
        found = self._windows.get(key)
        if found is None:
            if len(self._windows) >= _MOST:
                now = self._clock()
                self._windows = {one: window for one, window in self._windows.items() if not window.is_empty(now)}
            key = key if len(self._windows) < _MOST else ""
            found = self._windows.setdefault(key, Window(self._limit, self._seconds))
        return found


class Window:
    """The last *seconds*, in which there may be *limit* requests."""

    __slots__ = ("_counts", "_limit", "_part", "_total")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._part = seconds / _PARTS
        self._counts: deque[list[int]] = deque()
        """Number of the part of time, and how many requests it had; oldest first."""
        self._total = 0

    def take(self, now: float) -> float | None:
        """Count one request; the seconds until there is room when there is none."""
        part = self._forget(now)
        if self._total >= self._limit:
            return (self._counts[0][0] + _PARTS + 1) * self._part - now if self._counts else math.inf
        if self._counts and self._counts[-1][0] == part:
            self._counts[-1][1] += 1
        else:
            self._counts.append([part, 1])
        self._total += 1
        return None

    def is_empty(self, now: float) -> bool:
        """Whether nothing counts any more."""
        self._forget(now)
        return not self._total

    def _forget(self, now: float) -> int:
        part = int(now / self._part)
        while self._counts and self._counts[0][0] < part - _PARTS:
            self._total -= self._counts.popleft()[1]
        return part


def parsed(text: str) -> tuple[int, float]:
    """How many, and in how many seconds. Raises `McpComposeError`."""
    found = _LIMIT.fullmatch(text.strip())
    count = int(found[2] or 1) if found is not None else 0
    if found is None or not count:
        raise McpComposeError(f"`limit` cannot be `{text[:40]}`", hint="such as `30/minute` or `5/10 seconds`")
    return int(found[1]), float(count * _SECONDS[found[3]])
