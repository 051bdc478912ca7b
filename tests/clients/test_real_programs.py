"""
The client programs themselves, of the package indexes, are asked whether they found our entry and reach the gateway.

Each runs with a home of its own. Where a program can only be asked by talking to its model, a model of ours on
loopback hears which tools it is offered.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.desk import REPOSITORY, Desk

pytestmark = pytest.mark.real
STRICT = os.environ.get("CI") == "true" or bool(os.environ.get("MCP_COMPOSE_TEST_STRICT"))
PROGRAMS = Path(os.environ.get("MCP_COMPOSE_TEST_PROGRAMS", "/nowhere"))
TOOL = "a__echo"


class Home:
    """A person with one project that is up, and the client programs on their PATH."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = desk.base / "home"
        self.folder.mkdir()
        commands = desk.base / "bin"
        commands.mkdir()
        command = commands / "mcp-compose"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -P -m mcpcompose "$@"\n')
        command.chmod(0o755)
        node = Path(os.environ.get("MCP_COMPOSE_TEST_NODE", "node")).parent
        self.environ = {
            "HOME": str(self.folder),
            "PATH": f"{commands}:{node}:{PROGRAMS}:/usr/bin:/bin",
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "DISABLE_AUTOUPDATER": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "AMP_API_KEY": "sgamp_none",
        }
        desk.environ.update({"HOME": str(self.folder), "PATH": self.environ["PATH"]})

    def ask(self, *command: str, where: Path | None = None, **environ: str) -> str:
        """What a program prints, both streams."""
        done = subprocess.run(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=where or self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    def token(self) -> str:
        """The token of the default client."""
        return self.desk.ok("client", "config", "--token").strip()


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    if not (PROGRAMS / "claude").exists():
        reason = "MCP_COMPOSE_TEST_PROGRAMS names no folder with the programs; `eval $(scripts/clients)` brings them"
        (pytest.fail if STRICT else pytest.skip)(reason)
    with tempfile.TemporaryDirectory(prefix="mcr-", dir="/tmp", ignore_cleanup_errors=True) as base:
        desk = Desk(Path(base))
        made = Home(desk)
        try:
            desk.servers(a={})
            desk.up()
            yield made
        finally:
            desk.leave()


@pytest.fixture
def fresh(home: Home) -> Iterator[Home]:
    """The same with nothing of any program, before and after."""
    _empty(home)
    yield home
    home.desk.run("client", "disconnect", "--all", "--force")
    _empty(home)


def _empty(home: Home) -> None:
    def writable(_function: object, path: str, _error: object) -> None:
        Path(path).parent.chmod(stat.S_IRWXU)

    shutil.rmtree(home.folder, onerror=writable)
    home.folder.mkdir(exist_ok=True)


def listed(*command: str, good: str) -> Callable[..., bool]:
    """Whether what the program prints has the entry, and says *good* of it."""

    def reached(home: Home, **environ: str) -> bool:
        said = home.ask(*command, **environ)
        return "desk" in said and good in said

    return reached


def codex(home: Home, **environ: str) -> bool:
    """Its list says nothing of connections, so its server for editors is asked which tools there are."""
    said = home.ask("codex", "mcp", "list", **environ)
    if "desk" not in said or "enabled" not in said:
        return False
    process = subprocess.Popen(
        [str(PROGRAMS / "codex"), "app-server"],
        cwd=home.folder,
        env={**home.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        about = {"name": "test", "title": "test", "version": "1"}
        for message in (
            {"id": 1, "method": "initialize", "params": {"clientInfo": about}},
            {"method": "initialized"},
            {"id": 2, "method": "mcpServerStatus/list", "params": {}},
        ):
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if answer.get("id") == 2:
                servers = {one["name"]: one for one in answer["result"]["data"]}
                return TOOL in servers.get("desk", {}).get("tools", {})
        return False
    finally:
        process.kill()
        process.communicate(timeout=20)


def copilot(home: Home, **environ: str) -> bool:
    """It connects for a conversation only, so it is given a model, which hears the tools."""
    if "desk" not in home.ask("copilot", "mcp", "list", **environ):
        return False
    heard = threading.Event()

    class Model(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if TOOL.encode() in body:
                heard.set()
            self.send_error(400)

        def log_message(self, *_: object) -> None:
            """Nothing: the test says it all."""

    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [str(PROGRAMS / "copilot"), "-p", "hello"],
        cwd=home.folder,
        env={
            **home.environ,
            **environ,
            "COPILOT_OFFLINE": "true",
            "COPILOT_PROVIDER_BASE_URL": f"http://127.0.0.1:{model.server_port}/v1",
            "COPILOT_PROVIDER_API_KEY": "none",
            "COPILOT_MODEL": "test",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return heard.wait(40)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        model.shutdown()
        model.server_close()


@dataclass(frozen=True)
class Program:
    """How a program is asked: *reached* is true when it has the entry and reached the gateway."""

    command: tuple[str, ...]
    reached: Callable[..., bool]
    refers: bool = True


ASKED = {
    "claude-code": Program(("claude", "mcp", "list"), listed("claude", "mcp", "list", good="Connected")),
    "codex": Program(("codex", "mcp", "list"), codex),
    "gemini-cli": Program(("gemini", "mcp", "list"), listed("gemini", "mcp", "list", good="Connected")),
    "qwen-code": Program(("qwen", "mcp", "list"), listed("qwen", "mcp", "list", good="Connected")),
    "opencode": Program(("opencode", "mcp", "list"), listed("opencode", "mcp", "list", good="connected")),
    "mcporter": Program(("mcporter", "list"), listed("mcporter", "list", good="1 healthy")),
    "github-copilot-cli": Program(("copilot", "mcp", "list"), copilot),
    "amp": Program(("amp", "mcp", "list"), listed("amp", "mcp", "doctor", good=TOOL)),
    "augment": Program(("auggie", "mcp", "list"), listed("auggie", "mcp", "list", good="✓ desk"), refers=False),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_program_finds_the_entry_by_url_and_loses_it_again(fresh: Home, name: str) -> None:
    program = ASKED[name]

    fresh.desk.ok("client", "connect", name)
    reached = program.reached(fresh)
    fresh.desk.ok("client", "disconnect", name)
    gone = "desk" not in fresh.ask(*program.command)

    assert reached
    assert gone


@pytest.mark.parametrize("name", ASKED)
def test_the_program_starts_the_command(fresh: Home, name: str) -> None:
    fresh.desk.ok("client", "connect", name, "--stdio")

    assert ASKED[name].reached(fresh)


@pytest.mark.parametrize("name", [name for name, one in ASKED.items() if one.refers])
def test_the_program_follows_the_reference_to_the_token(fresh: Home, name: str) -> None:
    fresh.desk.ok("client", "connect", name, "--reference")
    token = fresh.token()

    assert token not in "".join(file.read_text() for file in fresh.folder.rglob("*") if file.is_file())
    assert ASKED[name].reached(fresh, MCP_COMPOSE_TOKEN=token)


def test_opencode_and_mcporter_find_a_projects_file_without_being_told_to_trust_it(fresh: Home) -> None:
    for name in ("opencode", "mcporter"):
        fresh.desk.ok("client", "connect", name, "--scope", "project")

    here = {"where": fresh.desk.project, "MCP_COMPOSE_HOME": str(fresh.desk.home)}  # as in the person's shell
    opencode = fresh.ask("opencode", "mcp", "list", **here)
    mcporter = fresh.ask("mcporter", "list", **here)

    assert "connected" in opencode
    assert "desk" in opencode
    assert "1 healthy" in mcporter


def test_claude_code_asks_before_it_uses_a_projects_file_and_uses_a_local_one_at_once(fresh: Home) -> None:
    project = fresh.desk.project

    fresh.desk.ok("client", "connect", "claude-code", "--scope", "project")
    asked = fresh.ask("claude", "mcp", "list", where=project)
    fresh.desk.ok("client", "disconnect", "claude-code")
    fresh.desk.ok("client", "connect", "claude-code", "--scope", "local")
    local = fresh.ask("claude", "mcp", "list", where=project)
    elsewhere = fresh.ask("claude", "mcp", "list")

    assert "Pending approval" in asked
    assert "Connected" in local
    assert "desk" not in elsewhere


def test_gemini_keeps_references_when_it_writes_its_file_only_as_we_wrote_them(fresh: Home) -> None:
    """Gemini writes the values of references into its file; our token is not among them without `--reference`."""
    settings = fresh.folder / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{\n  // mine\n  "ui": {"theme": "Dracula"}\n}\n')
    before = settings.read_bytes()

    fresh.desk.ok("client", "connect", "gemini-cli")
    reached = ASKED["gemini-cli"].reached(fresh)
    fresh.desk.ok("client", "disconnect", "gemini-cli")

    assert reached
    assert settings.read_bytes() == before


def test_claude_code_goes_on_with_its_own_file_after_connect_and_disconnect(fresh: Home) -> None:
    """Its file is rewritten by every run: what it wrote meanwhile stays."""
    fresh.ask("claude", "mcp", "add", "--scope", "user", "other", "--", "true")
    fresh.desk.ok("client", "connect", "claude-code")
    fresh.ask("claude", "mcp", "add", "--scope", "user", "later", "--", "true")
    fresh.desk.ok("client", "disconnect", "claude-code")
    said = fresh.ask("claude", "mcp", "list")

    assert "other" in said
    assert "later" in said
    assert "desk" not in said
