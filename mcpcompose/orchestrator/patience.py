"""How long to leave a server alone whose part of a round failed, unless somebody asks or its definition changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from mcpcompose.orchestrator.desired import Desired
from mcpcompose.spec.identity import HASH_LABEL

FIRST: Final = 5.0
LONGEST: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Failure:
    config_hash: str
    attempts: int
    not_before: float


class Patience:
    """Failed servers and when each may be tried again: 5 s, 10 s, 20 s … 5 min."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, _Failure] = {}
        self._due: set[str] = set()
        """Those that a round was told to leave alone no more; whatever it did about them, none has to come back."""

    def note(self, desired: Desired, tried: Collection[str], failed: Collection[str]) -> None:
        """Of the servers *tried*, these *failed*."""
        hashes = _hashes(desired)
        for server in tried:
            before = self._failures.pop(server, None)
            self._due.discard(server)
            if server in failed and server in hashes:
                attempts = before.attempts + 1 if before and before.config_hash == hashes[server] else 1
                pause = min(FIRST * 2 ** (attempts - 1), LONGEST)
                self._failures[server] = _Failure(hashes[server], attempts, self._clock() + pause)

    def waiting(self, desired: Desired) -> frozenset[str]:
        """The servers to leave alone now."""
        hashes, now = _hashes(desired), self._clock()
        waiting = frozenset(
            server
            for server, failure in self._failures.items()
            if failure.not_before > now and hashes.get(server) == failure.config_hash
        )
        self._due = set(self._failures) - waiting
        return waiting

    def forget(self, servers: Iterable[str]) -> None:
        """Try *servers* at once."""
        for server in servers:
            self._failures.pop(server, None)
            self._due.discard(server)

    def next_try(self) -> float:
        """Seconds until the first of them may be tried; infinite when none waits."""
        times = [failure.not_before for server, failure in self._failures.items() if server not in self._due]
        return max(0.05, min(times) - self._clock()) if times else float("inf")


def _hashes(desired: Desired) -> dict[str, str]:
    return {spec.server: dict(spec.labels)[HASH_LABEL] for spec in desired.instances}
