"""Rounds: the same load on each gateway in turn, several times, so that a busy machine is unfair to all alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop
from contenders import Contender

from harness.load import BadAnswerError, Figures, measure

_PATIENCE = 60.0
"""Seconds beyond a measurement's own after which a gateway counts as one that cannot do it."""
_ROUNDS_OF_OTHERS = 2
"""What is many times slower than a bound needs no more to be told from it, but longer ones."""
_LONGER = 4
_LARGE_SECONDS = 2.0


@dataclass(frozen=True)
class Cell:
    """One load: *sessions* callers of an era, results of *size* bytes."""

    sessions: int
    modern: bool
    size: int

    @property
    def era(self) -> str:
        """`legacy` or `modern`."""
        return "modern" if self.modern else "legacy"

    def __str__(self) -> str:
        callers = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        return f"{callers}, {self.era}, {size_text(self.size)}"


@dataclass
class Taken:
    """What a gateway showed in one cell: its best round, and its cheapest."""

    figures: Figures
    cpu: float | None
    """Milliseconds of CPU per call."""
    memory: float
    spread: float
    """p99 as a multiple of p50, in the round where that was least."""


def size_text(size: int) -> str:
    """100 B, 10 KiB, 1 MiB."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def play(contenders: Sequence[Contender], cell: Cell, *, seconds: float, rounds: int) -> dict[str, Taken | str]:
    """What each of *contenders* showed in *cell*, or why it could not; one that failed is not asked again."""
    found: dict[str, Taken | str] = {}
    for number in range(rounds):
        for contender in contenders:
            before = found.get(contender.name)
            if isinstance(before, str) or (contender.is_other and number >= _ROUNDS_OF_OTHERS):
                continue
            took = seconds * _LONGER if contender.is_other else seconds
            took = max(took, _LARGE_SECONDS) if cell.size >= 1 << 20 else took
            found[contender.name] = _better(before, _once(contender, cell, took))
    return found


def _once(contender: Contender, cell: Cell, seconds: float) -> Taken | str:
    if cell.era not in contender.eras:
        return "does not speak it"
    began, cpu = time.perf_counter(), contender.cpu()
    load = measure(contender.target, sessions=cell.sessions, modern=cell.modern, size=cell.size, seconds=seconds)
    try:
        figures = uvloop.run(asyncio.wait_for(load, seconds + _PATIENCE))
    except TimeoutError:
        return f"no end after {time.perf_counter() - began:.0f} s"
    except (BadAnswerError, OSError) as error:
        return f"failed: {' '.join(str(error).split())[:160]}"
    spent = (contender.cpu() - cpu) * 1000 / (figures.calls + cell.sessions)
    cost = spent if contender.process is not None else None
    return Taken(figures, cost, contender.memory(), figures.percentile(0.99) / figures.percentile(0.5))


def _better(before: Taken | None, now: Taken | str) -> Taken | str:
    """The round with the most calls counts, and the least CPU of all of them: what others did to the machine goes."""
    if before is None or isinstance(now, str):
        return now
    best = now if now.figures.rate > before.figures.rate else before
    cpus = [taken.cpu for taken in (before, now) if taken.cpu is not None]
    spread = min(before.spread, now.spread)
    return Taken(best.figures, min(cpus) if cpus else None, now.memory, spread)
