from __future__ import annotations

from typing import Any

from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.freshness import SHORTEST, Freshness


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(**beside: Any) -> tuple[Freshness, Clock, ServerLists]:
    clock = Clock()
    freshness = Freshness(clock)
    freshness.read()
    said: dict[str, Any] = {"tools": {}, "prompts": {"listChanged": True}}
    return freshness, clock, ServerLists(capabilities=said, beside={"tools": beside})


def test_a_list_is_read_again_once_it_is_wanted_and_may_be_old() -> None:
    freshness, clock, lists = made()

    assert not freshness.is_over("tools", lists)
    clock.now = SHORTEST
    assert freshness.is_over("tools", lists)
    assert not freshness.is_over("tools", lists)


def test_the_time_that_the_server_gives_it_counts() -> None:
    freshness, clock, lists = made(ttlMs=60_000)

    clock.now = 59.0
    assert not freshness.is_over("tools", lists)
    clock.now = 60.0
    assert freshness.is_over("tools", lists)


def test_a_server_that_says_when_a_list_changes_or_has_none_is_not_asked() -> None:
    freshness, clock, lists = made()

    clock.now = 1000.0
    assert not freshness.is_over("prompts", lists)
    assert not freshness.is_over("templates", lists)
