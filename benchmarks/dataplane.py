"""
Measure the data plane beside a bare forwarder and other gateways: `python benchmarks/dataplane.py [ROW…]`.

Everybody has the same stdio server in a container behind it; all figures of one run are taken in turn on the same
machine. Prints tables, then the bounds; exits 1 when one is not held.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import contenders as stage
import docker
import others
import psutil
import uvloop
from bench import Bench, list_tools
from contenders import Contender
from rounds import Cell, Taken, play

from harness.wait import until

SMALL, LARGE = 100, 10 << 20
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = ("<!-- measured: benchmarks/dataplane.py -->", "<!-- end of what was measured -->")


def calls(bench: Bench) -> None:
    """Small calls, 1, 16 and 64 sessions, both eras."""
    bench.say("\n### Small calls to a stdio server in a container")
    everybody = bench.everybody()
    for modern in (False, True):
        for sessions in (1, 16, 64):
            cell = Cell(sessions, modern, SMALL)
            found = bench.table(cell, everybody, rounds=bench.rounds if sessions > 1 else 4)
            _hold_calls(bench, cell, found)
    ours = everybody[1]
    bench.hold(
        "resident memory, one server, after all of this",
        "<= 70 MiB",
        f"{ours.memory():.0f} MiB",
        is_held=ours.memory() <= 70,
    )


def _hold_calls(bench: Bench, cell: Cell, found: dict[str, Taken | str]) -> None:
    bare, ours, fastmcp = (found.get(name) for name in ("bare forwarder", "mcp-compose", "FastMCP proxy"))
    if isinstance(bare, str) or isinstance(ours, str) or bare is None or ours is None:
        raise AssertionError(f"{cell}: {bare if isinstance(bare, str) else ours}")
    if cell.sessions == 16:
        share = ours.figures.rate / bare.figures.rate
        bench.hold(f"calls/s of the bare forwarder ({cell})", ">= 65 %", f"{share:.0%}", is_held=share >= 0.65)
        if isinstance(fastmcp, Taken):
            times = ours.figures.rate / fastmcp.figures.rate
            bench.hold(f"calls/s of FastMCP's proxy ({cell})", ">= 30 x", f"{times:.0f} x", is_held=times >= 30)
        cost = (ours.cpu or 0) / (bare.cpu or 1)
        bench.hold(f"CPU per call of the bare forwarder ({cell})", "<= 1.6 x", f"{cost:.2f} x", is_held=cost <= 1.6)
    if cell.sessions == 64:
        measured = f"{ours.spread:.1f} (bare forwarder: {bare.spread:.1f})"
        bench.hold(f"p99 / p50 ({cell})", "<= 4", measured, is_held=ours.spread <= 4)


def sizes(bench: Bench) -> None:
    """Larger results, up to 10 MiB, and the memory they leave behind."""
    bench.say("\n### Larger results")
    everybody = bench.everybody()
    ours = everybody[1]
    before = ours.memory()
    for size, sessions in ((10 << 10, 16), (1 << 20, 4), (LARGE, 1)):
        for modern in (False, True):
            cell = Cell(sessions, modern, size)
            found = bench.table(cell, everybody, rounds=4 if size == LARGE else 2)
            bare, mine = found["bare forwarder"], found["mcp-compose"]
            if size == LARGE and isinstance(bare, Taken) and isinstance(mine, Taken):
                share = mine.figures.rate / bare.figures.rate
                what = f"bytes/s of the bare forwarder ({cell})"
                bench.hold(what, ">= 60 %", f"{share:.0%}", is_held=share >= 0.6)
    after = _settled(ours, before)
    what = "resident memory after results of 10 MiB, and before"
    bench.hold(what, "<= 5 MiB more", f"{after:.0f} MiB, {before:.0f} MiB", is_held=after <= before + 5)


def _settled(contender: Contender, before: float) -> float:
    """Its memory as soon as it is what it was before, or after ten seconds."""
    with suppress(AssertionError):
        until(lambda: contender.memory() <= before + 5, "the memory is given back", 10)
    return contender.memory()


def guarded(bench: Bench) -> None:
    """Scanning and the audit log against neither, at two sizes."""
    bench.say("\n### `secret-scan` and the audit log, against the gateway with neither")
    scan = [{"use": "secret-scan"}]
    with (
        stage.ours(name="neither", audit={"enabled": False}) as (neither, _),
        stage.ours(name="audit") as (audited, _),
        stage.ours(name="secret-scan", audit={"enabled": False}, interceptors=scan) as (scanned, _),
        stage.ours(name="both", interceptors=scan) as (both, _),
    ):
        for size, least in ((200, 0.75), (10 << 10, 0.4)):
            for modern in (False, True):
                cell = Cell(16, modern, size)
                found = bench.table(cell, [neither, audited, scanned, both])
                without, guard = found["neither"], found["both"]
                if isinstance(without, str) or isinstance(guard, str):
                    raise AssertionError(f"{cell}: {without if isinstance(without, str) else guard}")  # noqa: TRY004
                share = guard.figures.rate / without.figures.rate
                what = f"calls/s with `secret-scan` and audit, of those with neither ({cell})"
                bench.hold(what, f">= {least:.0%}", f"{share:.0%}", is_held=share >= least)


def http(bench: Bench) -> None:
    """The same server over HTTP, directly and behind us."""
    bench.say("\n### Small calls to a server over HTTP")
    with stage.direct() as direct, stage.ours({"s": {"url": direct.target.url}}) as (ours, _):
        for modern in (False, True):
            for sessions in (1, 16, 64):
                bench.table(Cell(sessions, modern, SMALL), [direct, ours], rounds=2)


def servers(bench: Bench) -> None:
    """Memory and speed with 1, 20 and 100 container servers."""
    bench.say("\n### Memory by the number of container servers")
    bench.say(
        "\n| servers | MiB resident when all are ready | calls/s, 16 sessions | MiB afterwards |\n|--:|--:|--:|--:|"
    )
    ready: dict[int, float] = {}
    for number in (1, 20, 100):
        spec = stage.declared(mem_limit="64m", timeouts={"start": "300s"})
        with stage.ours({f"s{n}": spec for n in range(number)}, tool="s0__echo") as (ours, _):
            ready[number] = ours.memory()
            taken = play([ours], Cell(16, modern=False, size=SMALL), seconds=bench.seconds, rounds=1)["mcp-compose"]
            rate = f"{taken.figures.rate:,.0f}" if isinstance(taken, Taken) else taken
            bench.say(f"| {number} | {ready[number]:.1f} | {rate} | {ours.memory():.1f} |")
    each = (ready[100] - ready[1]) / 99
    bench.hold("resident memory, one server, idle", "<= 70 MiB", f"{ready[1]:.0f} MiB", is_held=ready[1] <= 70)
    bench.hold("resident memory per further container server", "<= 0.5 MiB", f"{each:.2f} MiB", is_held=each <= 0.5)


def tools(bench: Bench) -> None:
    """`tools/list` of 10,000 tools of 100 servers."""
    bench.say("\n### Lists: 100 servers with 100 tools each")
    bench.say("\n| era | `tools/list`, first ms | median of 20 ms | MiB resident |\n|---|--:|--:|--:|")
    with stage.direct(TOOLS="100") as web:
        entries = {f"s{n}": {"url": web.target.url, "timeouts": {"start": "120s"}} for n in range(100)}
        with stage.ours(entries, tool="s0__echo") as (ours, _):
            worst = 0.0
            for modern in (False, True):
                first, names = uvloop.run(list_tools(ours.target, modern=modern))
                again, _ = uvloop.run(list_tools(ours.target, modern=modern, times=20))
                worst = max(worst, first, again)
                era = "modern" if modern else "legacy"
                bench.say(f"| {era} | {first:.1f} | {again:.1f} | {ours.memory():.0f} |")
    what = f"`tools/list` of {len(names):,} tools from 100 servers"
    bench.hold(what, "< 100 ms", f"{worst:.0f} ms", is_held=worst < 100 and len(names) == 10_000)


ROWS: dict[str, Callable[[Bench], None]] = {
    "calls": calls,
    "sizes": sizes,
    "guarded": guarded,
    "http": http,
    "servers": servers,
    "tools": tools,
}


def _bounds(bench: Bench) -> Iterator[str]:
    yield "\n### Bounds\n\n| check | bound | measured |\n|---|---|---|"
    for bound in bench.bounds:
        yield f"| {bound.what} | {bound.bound} | {bound.measured}{'' if bound.is_held else ' **over**'} |"


def _machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    engine = docker.from_env().version()["Version"]
    cpus = psutil.cpu_count()
    pins = f"`{others.FASTMCP}`, `{others.MCP_PROXY}`"
    return (
        f"{time.strftime('%Y-%m-%d')}: {cpus} cores of {model.partition(':')[2].strip() or platform.machine()}, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}, engine {engine}; {pins}."
    )


def write(text: str) -> None:
    """Put *text* where the page keeps what was measured."""
    start, end = MARKS
    page = PAGE.read_text()
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}\n{text.strip()}\n\n{end}{after}")


def _chosen(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench dataplane", description=(__doc__ or "").partition("\n\n")[0].strip())
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all of them when none is named")
    add("--url", action="append", default=[], metavar="NAME=URL[,PID]", help="another gateway that runs")
    add("--seconds", type=float, default=0.6, help="of each round")
    add("--rounds", type=int, default=12, help="of each cell; the best of them counts")
    add("--alone", action="store_true", help="without FastMCP's proxy and mcp-proxy")
    add("--write", action="store_true", help=f"put the tables into docs/{PAGE.name}; only with all rows")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.rows if name not in ROWS]:
        parser.error(f"there is no row `{unknown[0]}`; rows: {', '.join(ROWS)}")
    if chosen.write and chosen.rows:
        parser.error("the page holds all rows: `--write` goes without ROW")
    return chosen


def main(arguments: list[str]) -> int:
    """Measure, print; 1 when a bound is not held or a row could not be measured."""
    chosen = _chosen(arguments)
    broken: list[str] = []
    with ExitStack() as stack:
        bench = Bench(chosen.seconds, chosen.rounds, chosen.url, chosen.alone, stack)
        for name in chosen.rows or ROWS:
            try:
                ROWS[name](bench)
            except AssertionError as error:
                broken.append(f"{name}: not measured: {str(error)[:2000]}")
    text = "\n".join([_machine(), *_bounds(bench), *bench.text])
    print(text)
    if chosen.write and not broken:
        write(text)
    failed = [f"{bound.what}: {bound.measured}, bound {bound.bound}" for bound in bench.bounds if not bound.is_held]
    for line in [*failed, *broken]:
        print(f"bench: failed: {line}", file=sys.stderr)
    return int(bool(failed or broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
