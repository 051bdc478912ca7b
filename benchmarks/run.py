"""
Measure what the timing rows promise, on a real engine: `python benchmarks/run.py [ROW…]` prints one table.

Every figure is taken from outside: the command line, the engine's own client, an MCP client over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import docker
import httpx2

from harness.containers import BASE_IMAGE, Containers
from harness.files import many_servers
from harness.wait import until
from harness.workspace import Workspace, echo, program

JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}


@dataclass
class Row:
    """One line of the table."""

    what: str
    bound: str
    measured: str
    is_held: bool


@contextmanager
def project() -> Iterator[tuple[Workspace, Containers]]:
    """A project that is gone afterwards."""
    workspace = Workspace()
    view = Containers(workspace.name)
    try:
        yield workspace, view
    finally:
        workspace.destroy()
        view.remove_all()


def timed(action: Callable[[], Any]) -> float:
    """Seconds that *action* takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def twenty() -> dict[str, Any]:
    """Sixteen stdio servers and four HTTP ones with networks of their own."""
    web = {f"w{number}": program("web.py", transport={"http": {"port": 8000}}) for number in range(4)}
    return {**{f"s{number}": echo() for number in range(16)}, **web}


def all_running(view: Containers, number: int) -> None:
    """Wait until *number* containers run."""
    label = {"label": f"io.mcpcompose.project={view.project}"}
    until(lambda: len(view.client.api.containers(quiet=True, filters=label)) == number, f"{number} containers run", 300)


def unchanged_up() -> Iterator[Row]:
    """`up` again with nothing changed."""
    with project() as (workspace, view):
        workspace.save(twenty())
        workspace.up(bound=300)
        workspace.when_ready(bound=300)
        before = view.traces()
        runs = sorted(timed(workspace.up) for _ in range(5))
        touched = sum(1 for name, trace in view.traces().items() if before.get(name) != trace)
        yield Row(
            "`up` again, 20 servers unchanged",
            "< 1 s, 0 touched",
            f"{median(runs):.2f} s, {touched} touched",
            is_held=median(runs) < 1 and touched == 0,
        )


def first_up() -> Iterator[Row]:
    """The first `up` of 20 servers beside the same containers started in parallel: by `docker run`, and by the API."""
    ours, theirs, api = [], [], []
    for _ in range(5):
        with project() as (workspace, view):
            workspace.save(twenty())
            workspace.run("plan")
            with ThreadPoolExecutor(1) as pool:
                started = time.perf_counter()
                pending = pool.submit(workspace.up, bound=300)
                all_running(view, 20)
                ours.append(time.perf_counter() - started)
                pending.result()
            specs = [(name, container) for name, container in view.all().items()]
            networks = [view.client.networks.get(name).attrs for name in view.networks()]
            workspace.run("down")
            theirs.append(start_natively(specs, networks, run_by_command))
            api.append(start_natively(specs, networks, run_by_api))
    for what, seconds in (("`docker run` of the same", theirs), ("the engine's API from a running program", api)):
        bound = median(seconds) * 1.2
        yield Row(
            f"first `up` of 20 servers, beside {what}",
            f"<= {bound:.2f} s ({median(seconds):.2f} s + 20 %)",
            f"{median(ours):.2f} s",
            is_held=median(ours) <= bound,
        )


Start = Callable[[Any, str, dict[str, Any]], None]


def run_by_api(api: Any, name: str, attrs: dict[str, Any]) -> None:
    """Two calls of the engine's API, from a process that is there already."""
    body = {**attrs["Config"], "HostConfig": attrs["HostConfig"], "Labels": {"benchmark": "1"}}
    made = api._result(api._post_json(api._url("/containers/create"), body, params={"name": name}), json=True)
    api.start(made["Id"])


def run_by_command(_api: Any, name: str, attrs: dict[str, Any]) -> None:
    """What a person would type."""
    config, host = attrs["Config"], attrs["HostConfig"]
    words = ["docker", "run", "-d", "--name", name, "--label", "benchmark=1", "--network", host["NetworkMode"]]
    words += ["--log-driver", host["LogConfig"]["Type"], "--memory", str(host["Memory"])]
    words += ["--cpus", str(host["NanoCpus"] / 1e9), "--pids-limit", str(host["PidsLimit"])]
    words += ["-i"] if config["OpenStdin"] else []
    words += ["--init"] if host["Init"] else []
    words += ["--read-only"] if host["ReadonlyRootfs"] else []
    for option, values in (
        ("--cap-drop", host["CapDrop"]),
        ("--security-opt", host["SecurityOpt"]),
        ("--volume", host["Binds"]),
        ("--tmpfs", [f"{path}:{how}" if how else path for path, how in (host["Tmpfs"] or {}).items()]),
        ("--env", config["Env"]),
    ):
        words += [word for value in values or () for word in (option, value)]
    entry, command = config["Entrypoint"] or [], config["Cmd"] or []
    words += ["--entrypoint", entry[0]] if entry else []
    subprocess.run([*words, config["Image"], *entry[1:], *command], check=True, capture_output=True, timeout=120)


def start_natively(specs: list[tuple[str, dict[str, Any]]], networks: list[dict[str, Any]], start: Start) -> float:
    """Seconds to make the same networks and start the same containers, in parallel; they are gone afterwards."""
    api = docker.from_env(timeout=120).api

    def network(attrs: dict[str, Any]) -> None:
        body = {key: attrs[key] for key in ("Name", "Driver", "Internal", "IPAM", "Options", "Labels")}
        api._result(api._post_json(api._url("/networks/create"), body))

    def container(item: tuple[str, dict[str, Any]]) -> None:
        start(api, *item)

    def run() -> None:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(network, networks))
            list(pool.map(container, specs))

    try:
        return timed(run)
    finally:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda item: _quietly(lambda: api.remove_container(item[0], force=True)), specs))
        for attrs in networks:
            _quietly(lambda name=attrs["Name"]: api.remove_network(name))
        api.close()


def _quietly(action: Callable[[], Any]) -> None:
    with suppress(docker.errors.APIError):
        action()


def hundred() -> Iterator[Row]:
    """A hundred stdio container servers at once."""
    with project() as (workspace, view):
        workspace.save({f"s{number}": echo(mem_limit="64m", timeouts={"start": "300s"}) for number in range(100)})
        took = timed(lambda: (workspace.up(bound=900), workspace.when_ready(bound=900)))
        memory = workspace.gateway().memory_info().rss / 2**20
        states = [server["state"] for server in workspace.servers().values()]
        yield Row(
            "100 stdio container servers at once",
            "all ready",
            f"{states.count('ready')} ready in {took:.1f} s, {len(view.running())} run, gateway {memory:.0f} MiB",
            is_held=states.count("ready") == len(view.running()) == 100,
        )


def cached_lists() -> Iterator[Row]:
    """From `up` to an answer to `tools/list`, lists cached, servers still starting."""
    with project() as (workspace, _view):
        gate = workspace.directory / "gate"
        gate.mkdir()
        (gate / "open").touch()
        slow = {"volumes": ["./gate:/gate:ro"], "environment": {"WAIT_FOR": "/gate/open"}}
        workspace.save({f"s{number}": echo(**slow) for number in range(20)})
        workspace.up(bound=300)
        workspace.when_ready(bound=300)
        url, token = workspace.endpoint(), workspace.token()
        workspace.run("down")
        (gate / "open").unlink()
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as pool, httpx2.Client(headers={"Authorization": f"Bearer {token}", **JSON}) as http:
            pending = pool.submit(workspace.up, code=None, bound=300)
            answer = until(lambda: _tools(http, url), "an answer to tools/list", 60)
            took = time.perf_counter() - started
            states = {server["state"] for server in workspace.servers().values()}
            (gate / "open").touch()
            pending.result()
        yield Row(
            "`up` to `tools/list`, lists cached, 20 servers",
            "< 1 s",
            f"{took:.2f} s, {len(answer)} tools, servers {'/'.join(sorted(states))}",
            is_held=took < 1,
        )


def _tools(http: httpx2.Client, url: str) -> list[Any]:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    try:
        answer = http.post(url, json=body, headers=headers)
    except httpx2.TransportError:
        return []
    return answer.json()["result"]["tools"] if answer.status_code == 200 else []


def save_to_effect() -> Iterator[Row]:
    """From the save of the file to the changed tools, less what the container itself needs."""
    with project() as (workspace, view):
        others = {f"s{number}": echo() for number in range(5)}
        workspace.save({**others, "c": echo()})
        workspace.up(bound=300)
        workspace.when_ready(bound=300)
        before = {name: trace for name, trace in view.traces().items() if not name.endswith("-c-1")}
        headers = {"Authorization": f"Bearer {workspace.token()}", **JSON}
        url, figures = workspace.endpoint(), []
        with httpx2.Client(headers=headers) as http:
            for number in range(5):
                workspace.save({**others, "c": echo(environment={"TOOLS": f"extra{number}"})})
                started = time.perf_counter()
                until(lambda n=number: any(t["name"] == f"c__extra{n}" for t in _tools(http, url)), "the tool", 60)
                figures.append(time.perf_counter() - started)
        alone = [_replace_natively(view, f"{workspace.name}-c-1") for _ in range(3)]
        kept = all(view.traces()[name] == trace for name, trace in before.items())
        beyond = median(figures) - median(alone)
        yield Row(
            "save -> effect (replace one of 6)",
            "< 0.5 s beyond the container's own",
            f"{median(figures):.2f} s, alone {median(alone):.2f} s, beyond {beyond:.2f} s; untouched kept: {kept}",
            is_held=beyond < 0.5 and kept,
        )
        figures = []
        with httpx2.Client(headers=headers) as http:
            for number in range(5):
                tools = {"rename": {"echo": f"say{number}"}}
                workspace.save({**others, "c": echo(tools=tools, environment={"TOOLS": "extra4"})})
                started = time.perf_counter()
                until(lambda n=number: any(t["name"] == f"c__say{n}" for t in _tools(http, url)), "the name", 60)
                figures.append(time.perf_counter() - started)
        yield Row(
            "save -> effect (a renamed tool, no container)",
            "< 0.5 s",
            f"{median(figures):.2f} s",
            is_held=median(figures) < 0.5,
        )


def _replace_natively(view: Containers, name: str) -> float:
    """Stop, remove, make and start the same container, and hear its first answer."""
    attrs = view.all()[name]
    api = view.client.api
    other = f"{name}-alone"
    body = {**attrs["Config"], "HostConfig": attrs["HostConfig"], "Labels": {"benchmark": "1"}}

    def start() -> str:
        made = api._result(api._post_json(api._url("/containers/create"), body, params={"name": other}), json=True)
        sock = api.attach_socket(made["Id"], params={"stdin": 1, "stdout": 1, "stream": 1})
        api.start(made["Id"])
        raw = sock._sock
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
        for message in (hello, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}):
            raw.sendall(json.dumps(message).encode() + b"\n")
            raw.recv(65536)
        sock.close()
        return str(made["Id"])

    first = start()

    def replace() -> str:
        api.stop(first, timeout=1)
        api.remove_container(first, force=True)
        return start()

    started = time.perf_counter()
    second = replace()
    took = time.perf_counter() - started
    api.remove_container(second, force=True)
    return took


def calls() -> Iterator[Row]:
    """Small calls through the gateway to one stdio container server, 16 callers."""
    with project() as (workspace, _view):
        workspace.save({"a": echo()})
        workspace.up()
        workspace.when_ready()
        gateway = workspace.gateway()
        before = gateway.cpu_times()
        number, took, latencies = asyncio.run(_many_calls(workspace.endpoint(), workspace.token(), 6.0))
        after = gateway.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) * 1000 / number
        p99 = quantiles(latencies, n=100)[98] * 1000
        yield Row(
            "small `tools/call`, 16 callers",
            "-",
            f"{number / took:.0f} calls/s, p99 {p99:.1f} ms, gateway {cpu:.2f} ms CPU per call",
            is_held=True,
        )


async def _many_calls(url: str, token: str, seconds: float) -> tuple[int, float, list[float]]:
    """Raw connections: the client must not be what is measured."""
    host, _, rest = url.removeprefix("http://").partition(":")
    port, _, path = rest.partition("/")
    params = {"name": "a__echo", "arguments": {"text": "x"}, "_meta": MODERN}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: a__echo\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(head + body)
            headers = await reader.readuntil(b"\r\n\r\n")
            length = int(headers.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            if b'"result"' not in answer:
                raise AssertionError(answer)
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(caller())
    return len(latencies), time.perf_counter() - started, latencies


def help_text() -> Iterator[Row]:
    """The command line's own start."""
    with project() as (workspace, _view):
        runs = [timed(lambda: workspace.run("--help")) for _ in range(7)]
        yield Row("`mcp-compose --help`", "< 0.2 s", f"{median(runs):.2f} s", is_held=median(runs) < 0.2)


def checked_file() -> Iterator[Row]:
    """`config` of a large file, start-up included."""
    with project() as (workspace, _):
        workspace.save_text(many_servers(200))
        runs = [timed(lambda: workspace.run("config")) for _ in range(7)]
    yield Row(
        "`config` of a file of 200 servers", "< 700 ms", f"{median(runs) * 1000:.0f} ms", is_held=median(runs) < 0.7
    )


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "unchanged": unchanged_up,
    "first": first_up,
    "hundred": hundred,
    "cached": cached_lists,
    "save": save_to_effect,
    "calls": calls,
    "help": help_text,
    "config": checked_file,
}


def main(names: list[str]) -> int:
    """Print the whole table; 1 when a row is over its bound or could not be measured."""
    failed: list[str] = []
    lines = ["| check | bound | measured |", "|---|---|---|"]
    for name in names or list(ROWS):
        try:
            for row in ROWS[name]():
                lines.append(f"| {row.what} | {row.bound} | {row.measured}{'' if row.is_held else ' **over**'} |")
                print(lines[-1], file=sys.stderr, flush=True)
                failed += [] if row.is_held else [f"{row.what}: {row.measured}, bound {row.bound}"]
        except AssertionError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            failed.append(f"{name}: not measured: {reason}")
            lines.append(f"| {name} | - | not measured: {reason} |")
            print(error, file=sys.stderr)
    print("\n".join(lines))
    print(f"\nImage: `{BASE_IMAGE}`; engine {docker.from_env().version()['Version']}.")
    for line in failed:
        print(f"bench: failed: {line}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
