"""
Planted secrets, and every place where a person, a program or a neighbour could look for them.

The servers give their secrets away wherever they can; the gateway is made to crash. Found where they must be
(the control), and nowhere else. Exempt, and documented: the environment of a container that asked for `env:`, and
what a server answers to a client.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.errors
import httpx2
import psutil
import pytest

from harness import warm
from harness.containers import Containers
from harness.desk import REPOSITORY
from harness.planted import Places, Planted
from harness.wait import until, until_ended
from harness.workspace import COMMAND, Workspace, program

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

CRASH = """\
import asyncio, faulthandler, signal, sys

def crash(number, frame):
    for task in asyncio.all_tasks():
        if task.get_coro().__name__ == "_serve":
            task.cancel("crash of this test")

if "serve" in sys.argv:
    signal.signal(signal.SIGUSR1, crash)
    faulthandler.enable()
"""
COMMANDS = (
    "config", "config --format json", "config --servers", "config --explain servers.env", "config --explain secrets",
    "config --explain servers.mixed.environment", "plan", "plan --format json", "up --dry-run", "trust",
    "trust --format json", "ps", "ps --format json", "ls", "ls --format json", "ls --all", "logs", "logs env",
    "logs host", "logs gateway", "logs --format json", "tools ls", "tools ls --format json",
    "tools inspect env__leak", "tools inspect hostfile__leak", "tools call env__leak",
    "tools call host__leak --format json", "tools call none__none", "secret ls", "secret ls --format json",
    "secret set s_env", "secret rm s_env", "secret set none", "client config", "client config --format json",
    "client config --stdio", "completion bash", "version", "profile ls", "profile show default", "client ls",
    "client ls --all --format json", "client connect cursor --dry-run", "client connect cursor --yes",
    "client connect claude-code --yes --scope project", "client disconnect cursor --yes", "client undo cursor",
    "client rotate default", "catalog ls", "catalog search leak", "catalog show none", "catalog diff none", "lock",
    "lock --check", "lock --accept env", "lock --format json", "import mcp.json --dry-run",
    "import mcp.json --dry-run --format json", "import mcp.json --output imported.yaml", "pull env", "restart env",
    "stop host", "start host", "up -d", "up -d --format json", "build", "tools ls --nonsense", "nonsense", "init",
    "config -f none.yaml", "audit tail", "audit show", "audit show --format json", "audit verify", "session ls",
    "session ls --format json", "session reset default", "policy test policy-tests.yaml",
)  # fmt: skip
NOT_RUN = {
    "run": "speaks to a client on standard output: what a server answers",
    "gateway run": "is `up` without -d; what it writes is the log",
    "catalog pull": "asks a registry; knows no secret of the project",
    "catalog push": "asks a registry; knows no secret of the project",
}
"""Commands whose output is not looked at, with the reason."""
SHELL_WORDS = ("mcp-compose secret set ", "mcp-compose logs ", "mcp-compose tools call ")


@pytest.fixture
def planted() -> Planted:
    names = (
        "s_env",
        "s_file",
        "s_dotenv",
        "s_command",
        "s_keyring",
        "s_fallback",
        "s_header",
        "s_variable",
        "s_set",
        "s_import",
    )
    return Planted(names, plain=("s_url",))


@pytest.fixture
def remote(workspace: Workspace) -> Iterator[int]:
    """The port of a server that is reached by its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = {"PORT": str(port), "PATH": os.environ["PATH"]}
    server = subprocess.Popen([sys.executable, str(workspace.directory / "programs/web.py")], env=environ)
    yield port
    server.terminate()
    server.wait(10)


def prepare(workspace: Workspace, planted: Planted, port: int) -> list[Path]:
    """The project, with a secret from each provider and for each way to get one; returns the sources."""
    base, directory = workspace.base, workspace.directory
    hooks = base / "hooks"
    for folder in (hooks, base / "user", base / "tmp"):
        folder.mkdir()
    (hooks / "sitecustomize.py").write_text(CRASH)
    workspace.environ |= {
        "HOME": str(base / "user"),
        "TMPDIR": str(base / "tmp"),
        "PYTHONPATH": f"{hooks}:{REPOSITORY}",
        "MCP_COMPOSE_DEBUG": "1",
        "PLANTED": planted["s_env"],
        "API_TOKEN": planted["s_variable"],
    }
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        workspace.environ.pop(name, None)
    sources = {
        directory / "file.txt": planted["s_file"] + "\n",
        directory / "own.env": "KEY='" + planted["s_dotenv"].replace("'", "'\"'\"'") + "'\n",
        directory / "print.txt": planted["s_command"],
        directory / "mcp.json": json.dumps(
            {
                "mcpServers": {
                    "taken": {"command": "npx", "args": ["-y", "x"], "env": {"API_TOKEN": planted["s_import"]}}
                }
            }
        ),
    }
    (directory / "own.env").write_text(_dotenv(planted["s_dotenv"]))
    for path, text in sources.items():
        if not path.exists():
            path.write_text(text)
    host = {"process": [sys.executable, "-u", "programs/leaky.py"]}
    workspace.save(
        {
            "env": program("leaky.py", secrets=[{"source": "s_env", "env": "TOKEN"}]),
            "file": program("leaky.py", secrets=["s_file"]),
            "mixed": program("leaky.py", environment={"TOKEN": "${secret:s_dotenv}", "API_TOKEN": "${API_TOKEN}"}),
            "fallback": program("leaky.py", secrets=["s_fallback"]),
            "host": {**host, "secrets": [{"source": "s_command", "env": "TOKEN"}]},
            "hostfile": {**host, "secrets": ["s_keyring"]},
            "exits": program(
                "leaky.py", secrets=[{"source": "s_env", "env": "TOKEN"}], environment={"LEAKY_EXITS": "1"}
            ),
            "broken": {
                **program("leaky.py", environment={"TOKEN": "${secret:s_env}"}),
                "command": ["/no/such/program"],
            },
            "remote": {
                "url": f"http://127.0.0.1:{port}/mcp?key=${{secret:s_url}}",
                "headers": {"X-Key": "Bearer ${secret:s_header}"},
            },
            "dead": {"url": "http://127.0.0.1:9/mcp?key=${secret:s_url}", "headers": {"X-Key": "${secret:s_header}"}},
        },
        secrets={
            "s_env": {"environment": "PLANTED"},
            "s_file": {"file": "./file.txt"},
            "s_dotenv": {"dotenv": {"file": "own.env", "key": "KEY"}},
            "s_command": {"command": ["cat", "print.txt"]},
            "s_keyring": {"keyring": "s_keyring"},
            "s_fallback": [{"environment": "NO_SUCH"}, {"docker": "none"}, {"keyring": "s_fallback"}],
            "s_header": {"keyring": "s_header"},
            "s_url": {"keyring": "s_url"},
        },
    )
    return [*sources, directory / "own.env"]


def _dotenv(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'KEY="{escaped}"\n'


def test_planted_secrets_are_found_in_none_of_the_places_where_one_could_look(
    workspace: Workspace, containers: Containers, planted: Planted, remote: int
) -> None:
    sources = prepare(workspace, planted, remote)
    places = Places(planted)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as on a machine that keeps core files

    for name in ("s_keyring", "s_fallback", "s_header", "s_url"):
        command(workspace, places, f"secret set {name}", stdin=planted[name])
    command(workspace, places, "up -d --no-watch")  # refused: needs approval
    command(workspace, places, "trust --all")
    workspace.run("secret", "rm", "s_url")
    command(workspace, places, "up -d", label="up -d without a secret")
    assert workspace.run("up", "-d", code=3).returncode == 3
    command(workspace, places, "secret set s_url", stdin=planted["s_url"], label="secret set s_url again")
    command(workspace, places, "up -d", label="the first up -d")
    workspace.when_ready("env", "file", "mixed", "fallback", "host", "hostfile", "remote")
    for line in COMMANDS:
        command(workspace, places, line)
    for words in SHELL_WORDS:
        completion(workspace, places, words)
    until(lambda: workspace.log().count("leaky speaks") > 50, "the servers have spoken")

    look_at_the_engine(places, containers)
    look_at_processes(workspace, places, planted)
    look_at_the_admin_socket(workspace, places)
    look_at_the_front_door(workspace, places, planted)
    bad_values(workspace, places, planted)
    crash(workspace, places, signal.SIGUSR1, "crash of this test")
    crash(workspace, places, signal.SIGABRT, "Fatal Python error")
    command(workspace, places, "down")
    look_at_files(workspace, places, sources)

    control(workspace, planted, sources)
    print(f"{len(places.names)} places:", *sorted(places.names), sep="\n  ")
    leaked = "\n  ".join(f"{place}: {sorted(names)}" for place, names in places.found.items())
    assert not places.found, f"found in\n  {leaked}"
    assert len(set(places.names)) == len(places.names) >= 40


def test_every_command_of_the_command_line_is_looked_at() -> None:
    import typer

    from mcpcompose.cli.app import application

    def names(group: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
        for name, one in getattr(group, "commands", {}).items():
            path = (*before, name)
            yield from names(one, path) if getattr(one, "commands", None) else [" ".join(path)]

    there = set(names(typer.main.get_command(application())))
    run = {*COMMANDS, "down", "secret set x", "up -d"}
    looked_at = {name for name in there if any(line == name or line.startswith(f"{name} ") for line in run)}

    assert there - looked_at == set(NOT_RUN)


def command(workspace: Workspace, places: Places, line: str, *, stdin: str = "", label: str | None = None) -> None:
    """One command of the command line: what it prints, on both streams."""
    done = warm.run(COMMAND, line.split(), workspace.directory, workspace.environ, stdin=stdin)
    places.add(f"output of `{label or line}`", done.stdout + done.stderr + f"\nexit code {done.returncode}")
    assert "this should not have happened" not in done.stderr, done.stderr


def completion(workspace: Workspace, places: Places, words: str) -> None:
    """What a shell is told that could come next."""
    environ = {
        **workspace.environ,
        "_MCP_COMPOSE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split())),
    }
    done = subprocess.run(COMMAND, cwd=workspace.directory, env=environ, capture_output=True, text=True, check=False)
    places.add(f"completion of `{words}`", f"{done.stdout}{done.stderr}\nexit code {done.returncode}")


# --- the engine ------------------------------------------------------------------------------------------------------


def look_at_the_engine(places: Places, containers: Containers) -> None:
    """Everything that the engine says to whoever may use it."""
    api = containers.client.api
    inspected = containers.all()
    by_design = {"env": {"s_env"}, "exits": {"s_env"}, "broken": {"s_env"}, "mixed": {"s_dotenv", "s_variable"}}
    for name, container in inspected.items():
        server = name.removeprefix(f"{containers.project}-").removesuffix("-1")
        environment = container["Config"].pop("Env")
        places.add(f"inspect of {server}, without its environment", json.dumps(container))
        places.add(f"environment of {server}, as inspect shows it", f"{environment}", known=by_design.get(server, ()))
        logged = api.logs(container["Id"]) if container["HostConfig"]["LogConfig"]["Type"] != "none" else b"none"
        places.add(f"the engine's log of {server}", logged or b"nothing")
    labels = {name: container["Config"]["Labels"] for name, container in inspected.items()}
    places.add("labels of the containers", json.dumps(labels))
    places.add("networks", json.dumps([api.inspect_network(name) for name in containers.networks()] or "none"))
    listed = subprocess.run(
        ["docker", "ps", "-a", "--no-trunc", "--format", "json"], capture_output=True, text=True, check=True, timeout=60
    )
    places.add("docker ps", listed.stdout)
    events = api.events(since=int(time.time()) - 600, until=int(time.time()))
    places.add("the engine's events", b"".join(events))
    running = [one["Id"] for one in inspected.values() if one["State"]["Running"]]
    seen = [top for one in running if (top := _top(api, one)) is not None]
    assert len(seen) >= 4, "the servers that go on and on"
    places.add("docker top", json.dumps(seen))


def _top(api: Any, container: str) -> Any:
    """What runs in *container*; None for one that ended just now, as some of these servers do again and again."""
    try:
        return api.top(container, ps_args="-eo pid,args")
    except docker.errors.APIError as error:
        if error.status_code == http.HTTPStatus.CONFLICT:
            return None
        raise


# --- the machine -----------------------------------------------------------------------------------------------------


def look_at_processes(workspace: Workspace, places: Places, planted: Planted) -> None:
    """What other users see of processes, and what each of ours was given."""
    places.add("arguments of every process", "\n".join(_arguments()))
    given = {"PLANTED": "s_env", "API_TOKEN": "s_variable"}
    ours = [process for process in workspace.processes() if process.pid != os.getpid()]
    assert any("gateway" in process.cmdline() for process in ours)
    for number, process in enumerate(ours):
        try:
            environ, argv = process.environ(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        # The person's own shell has those; a server's process has its own and no others.
        known = (
            {"s_command"} if "programs/leaky.py" in argv else {name for key, name in given.items() if key in environ}
        )
        places.add(f"environment of process {number} ({Path(argv[0]).name})", f"{environ}", known=known)
    limits = (Path("/proc") / str(workspace.gateway().pid) / "limits").read_text()
    assert "Max core file size        0 " in limits
    places.add("limits of the gateway", limits)


def _arguments() -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def look_at_the_admin_socket(workspace: Workspace, places: Places) -> None:
    """Every route of the admin API, and what is no route."""
    (path,) = workspace.home.glob("run/*/admin.sock")
    request = {
        "files": [str(workspace.file)], "project_name": workspace.name, "env_files": [], "engine": None,
        "profile": None, "directory": str(workspace.directory), "environ": workspace.environ,
        "home": workspace.environ["HOME"],
    }  # fmt: skip
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/status", None), ("GET", "/tools", None), ("GET", "/tools?profile=none", None),
        ("GET", "/logs?tail=50", None), ("GET", "/logs?server=env", None),
        ("POST", "/apply", {**request, "dry_run": True}),
        ("POST", "/apply", request), ("POST", "/apply", {"wake": True}), ("POST", "/apply", {"files": 3}),
        ("POST", "/call", {"tool": "env__leak"}), ("POST", "/call", {"tool": "none"}), ("POST", "/call", {}),
        ("POST", "/restart", {"servers": ["file"]}), ("POST", "/stop", {"servers": ["none"]}),
        ("POST", "/call", "{broken"),
        ("POST", "/token", {"client": "none"}), ("GET", "/none", None), ("DELETE", "/status", None),
    ]  # fmt: skip
    for number, (method, route, body) in enumerate(asked):
        status, headers, answer = _admin(path, method, route, body)
        places.add(f"admin answer {number} to {method} {route}", f"{status} {headers} {answer}")


def _admin(path: Path, method: str, route: str, body: Any) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("admin", timeout=120)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    connection.request(method, route, content)
    response = connection.getresponse()
    answer = (response.status, str(response.headers), response.read().decode(errors="replace"))
    connection.close()
    return answer


def look_at_the_front_door(workspace: Workspace, places: Places, planted: Planted) -> None:
    """What the gateway itself answers to clients: errors, health, what needs a token."""
    url = workspace.endpoint()
    token = {"Authorization": f"Bearer {workspace.token()}", "Accept": "application/json, text/event-stream"}
    call: Mapping[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "none__none"}}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    asked: dict[str, tuple[str, str, Mapping[str, str], Any]] = {
        "health": ("GET", url.removesuffix("/mcp") + "/health", {}, None),
        "no token": ("POST", url, {}, call),
        "a wrong token": ("POST", url, {"Authorization": "Bearer none"}, call),
        "no such path": ("GET", url + "/none/none", token, None),
        "a wrong method": ("PUT", url, token, call),
        "no JSON": ("POST", url, token, "{broken"),
        "no request": ("POST", url, token, [1, 2]),
        "no such tool": ("POST", url, token, call),
        "no such method": ("POST", url, token, {**call, "method": "none/none", "params": {}}),
        "no such profile": ("POST", url.removesuffix("/mcp") + "/p/none/mcp", token, call),
        "an initialize": ("POST", url, token, {**call, "method": "initialize", "params": hello}),
        "a stranger's host": ("POST", url, {**token, "Host": "evil.example"}, call),
        "a stranger's origin": ("POST", url, {**token, "Origin": "https://evil.example"}, call),
        "a failed server's own endpoint": ("POST", url.removesuffix("/mcp") + "/s/dead/mcp", token, call),
    }
    with httpx2.Client(timeout=60) as client:
        for what, (method, address, headers, body) in asked.items():
            content = body if isinstance(body, str) or body is None else json.dumps(body)
            answer = client.request(
                method, address, headers={"Content-Type": "application/json", **headers}, content=content
            )
            # The servers' own instructions are in it, as they say them.
            said_by_servers = planted.values if what == "an initialize" else ()
            whole = f"{answer.status_code} {answer.headers} {answer.text}"
            places.add(f"HTTP answer to {what}", whole, known=said_by_servers)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def bad_values(workspace: Workspace, places: Places, planted: Planted) -> None:
    """Values that cannot be delivered as they are asked for, set while it runs: each is an error without the value."""
    value = planted["s_set"]
    bad = {
        "a header with a line break": ("s_header", f"{value}\r\nHost: evil\n"),
        "a header that is not ASCII": ("s_header", f"{value}é"),
        "a URL that would lead elsewhere": ("s_url", f"{value}@evil.example/"),
        "a file that is large": ("s_keyring", value * 8000),
    }
    for what, (name, text) in bad.items():
        command(workspace, places, f"secret set {name}", stdin=text, label=f"secret set of {what}")
        command(workspace, places, "up -d", label=f"up -d with {what}")
        command(workspace, places, "ps --format json", label=f"ps with {what}")
    for name in ("s_header", "s_url", "s_keyring"):
        workspace_set(workspace, name, planted[name])
    sealed = workspace.home / "data/keyring/keyring.json"
    kept = sealed.read_bytes()
    sealed.write_bytes(kept[:-40] + b"A" * 30 + kept[-10:])
    command(workspace, places, "secret ls", label="secret ls with a damaged keyring")
    command(workspace, places, "up -d", label="up -d with a damaged keyring")
    sealed.write_bytes(kept)
    command(workspace, places, "up -d", label="up -d with the keyring mended")


def workspace_set(workspace: Workspace, name: str, value: str) -> None:
    subprocess.run(
        [*COMMAND, "secret", "set", name],
        cwd=workspace.directory, env=workspace.environ, input=value, text=True, check=True, capture_output=True,
    )  # fmt: skip


def crash(workspace: Workspace, places: Places, number: signal.Signals, said: str) -> None:
    """Make the gateway crash in the middle of its work: its last words, its log, and no core file; then up again."""
    gateway = workspace.gateway()
    gateway.send_signal(number)
    until_ended(gateway, 90)
    output = "\n".join(path.read_text(errors="replace") for path in workspace.home.glob("state/*/logs/mcp_compose.*"))
    assert said in output
    places.add(f"the gateway's last words after {number.name}", output)
    assert not list(workspace.base.rglob("core*")), "a core file holds every value"
    command(workspace, places, "ps", label=f"ps after {number.name}")
    command(workspace, places, "logs gateway", label=f"logs gateway after {number.name}")
    command(workspace, places, "up -d", label=f"up -d after {number.name}")
    workspace.when_ready("env", "file", "mixed", "host", "hostfile", "remote")


# --- what stays ------------------------------------------------------------------------------------------------------


def look_at_files(workspace: Workspace, places: Places, sources: list[Path]) -> None:
    """Every file that was made: only the secret files themselves, in a folder of their user's alone, hold values."""
    secret_files = list(workspace.home.glob("run/*/secrets"))
    assert secret_files
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in secret_files)
    places.add_files("state folder", workspace.home / "state")
    places.add_files("cache folder", workspace.home / "cache")
    places.add_files("data folder (the encrypted keyring)", workspace.home / "data")
    places.add("runtime folder", "\n".join(str(path) for path in (workspace.home / "run").rglob("*")))
    places.add_files("everything below MCP_COMPOSE_HOME", workspace.home, except_for=secret_files)
    places.add_files("project folder", workspace.directory, except_for=sources)
    for folder in (one for one in workspace.home.glob("state/*/logs") if any(one.iterdir())):
        places.add_files("logs", folder)
    assert "logs" in {name.partition(" ")[0] for name in places.names}
    (workspace.base / "user" / "there").write_text("so that there is a file")
    places.add_files("home folder", workspace.base / "user")
    (workspace.base / "tmp" / "there").write_text("so that there is a file")
    places.add_files("temporary folder", workspace.base / "tmp")


def control(workspace: Workspace, planted: Planted, sources: list[Path]) -> None:
    """The search finds what is there: in the sources, and in what the servers wrote before it was blotted out."""
    found = set().union(*(planted.in_(path.read_bytes()) for path in sources))
    assert found >= {"s_file", "s_command"}
    for name, value in planted.values.items():
        for form in (value, json.dumps({"a": value}), value.encode().hex(), f"x{value}"[::-1]):
            assert planted.in_(form) == {name}
    log = workspace.log()
    assert log.count("leaky speaks of [redacted]") > 50
