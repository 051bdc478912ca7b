"""One run of the data plane's benchmark: who takes part, for how long, what is shown of it and what must hold."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import contenders as stage
import others
import uvloop
from contenders import Contender
from rounds import Cell, Taken, play

from harness.load import Caller, Target

COLUMNS = ("gateway", "calls/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms/call", "MiB resident", "load's own CPU")
HEAD = f"| {' | '.join(COLUMNS)} |\n|---|{'--:|' * (len(COLUMNS) - 1)}"


@dataclass
class Bound:
    """One line of the last table."""

    what: str
    bound: str
    measured: str
    is_held: bool


@dataclass
class Bench:
    """One run: who takes part, for how long, and what came out."""

    seconds: float
    rounds: int
    urls: list[str]
    alone: bool
    stack: ExitStack
    text: list[str] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    _all: list[Contender] | None = None

    def say(self, line: str) -> None:
        """Keep a line for the page, and show it."""
        self.text.append(line)
        print(line, file=sys.stderr, flush=True)

    def everybody(self) -> list[Contender]:
        """The gateways in front of one container server, ours second; started once."""
        if self._all is None:
            enter = self.stack.enter_context
            ours, _ = enter(stage.ours())
            self._all = [enter(stage.forwarder()), ours, enter(stage.direct())]
            if not self.alone:
                self._all += [enter(others.fastmcp()), enter(others.mcp_proxy())]
            self._all += [with_tool(others.at_url(url)) for url in self.urls]
        return self._all

    def table(self, cell: Cell, among: list[Contender], rounds: int | None = None) -> dict[str, Taken | str]:
        """Play one cell and show its table."""
        found = play(among, cell, seconds=self.seconds, rounds=rounds or self.rounds)
        self.say(f"\n**{cell}**\n\n{HEAD}")
        for name, taken in found.items():
            self.say(_line(name, taken, cell.size))
        return found

    def hold(self, what: str, bound: str, measured: str, *, is_held: bool) -> None:
        """Note a bound."""
        self.bounds.append(Bound(what, bound, measured, is_held))


def _line(name: str, taken: Taken | str, size: int) -> str:
    if isinstance(taken, str):
        return f"| {name} | {taken} | | | | | | |"
    figures = taken.figures
    rate = f"{figures.rate:,.0f}" if figures.rate >= 20 else f"{figures.rate:.1f}"
    if size >= 1 << 20:
        rate += f" ({figures.rate * size / 2**20:,.0f} MiB/s)"
    times = " | ".join(f"{figures.percentile(share):.2f}" for share in (0.5, 0.95, 0.99))
    cpu = f"{taken.cpu:.3f}" if taken.cpu is not None else "-"
    memory = f"{taken.memory:.0f}" if taken.memory else "-"
    return f"| {name} | {rate} | {times} | {cpu} | {memory} | {figures.own_cpu / figures.seconds:.0%} |"


def with_tool(contender: Contender) -> Contender:
    """Find out what `echo` is called behind a URL."""
    _, tools = uvloop.run(list_tools(contender.target, modern=False))
    name = next((tool for tool in tools if tool.endswith("echo")), None)
    if name is None:
        raise AssertionError(f"{contender.name} offers no tool whose name ends in `echo`: {tools[:5]}")
    contender.target = Target(contender.target.url, contender.target.token, name)
    return contender


async def list_tools(target: Target, *, modern: bool, times: int = 1) -> tuple[float, list[str]]:
    """The median of milliseconds to the whole list, and its names."""
    caller = await Caller(target, modern=modern).open()
    took = []
    caller.prepare("tools/list", {})
    for _ in range(times):
        started = time.perf_counter()
        _, body = await caller.again()
        took.append((time.perf_counter() - started) * 1000)
    await caller.end()
    data = body[body.index(b"{") : body.rindex(b"}") + 1]
    return median(took), [tool["name"] for tool in json.loads(data)["result"]["tools"]]
