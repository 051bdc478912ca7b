"""A planted secret in environment, file and header, and many frames through stdio: it shows up nowhere."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import Workspace, echo, program, text

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(1200)]

SECRET = 'hunter2/"planted"+5up3rs3cr3t=='


def forms() -> set[str]:
    """The ways in which the secret could be written down."""
    raw = SECRET.encode()
    return {
        SECRET,
        json.dumps(SECRET)[1:-1],
        base64.b64encode(raw).decode().rstrip("="),
        raw.hex(),
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        "5up3rs3cr3t",
    }


async def test_a_planted_secret_is_in_no_log_label_plan_config_output_or_admin_answer(
    workspace: Workspace, containers: Containers, scale: int
) -> None:
    workspace.environ["PLANTED"] = SECRET
    (workspace.directory / "planted.txt").write_text(SECRET + "\n")
    workspace.save(
        {
            "env": echo(
                secrets=[{"source": "planted", "env": "TOKEN"}], environment={"NOISE": "token is ${secret:planted}"}
            ),
            "file": echo(secrets=["planted_file"]),
            "web": program("web.py", transport={"http": {"port": 8000}}),
            "remote": {
                "url": "http://127.0.0.1:9/mcp",
                "headers": {"X-Key": "Bearer ${secret:planted}"},
                "timeouts": {"start": "2s"},
            },
        },
        secrets={
            "planted": {"environment": "PLANTED"},
            "planted_file": {"file": str(workspace.directory / "planted.txt")},
        },
    )
    outputs = [workspace.run("config"), workspace.run("config", "--format", "json"), workspace.run("plan")]
    outputs.append(workspace.run("trust"))
    outputs.append(workspace.run("trust", "--all"))  # what is sent to a remote needs approval
    outputs.append(workspace.up(code=None))
    workspace.when_ready("env", "file", "web")

    async with workspace.client() as client:
        assert text(await client.call_tool("env__env", {"text": "TOKEN"})) == SECRET
        assert text(await client.call_tool("file__read", {"text": "/run/secrets/planted_file"})).strip() == SECRET
        for number in range(100 * scale):
            assert text(await client.call_tool("env__echo", {"text": f"{SECRET} {number}"})).startswith(SECRET)
    outputs += [workspace.run(*command.split(), code=None) for command in AFTER]
    until(lambda: "token is" in workspace.log(), "the server's noise is in its log")

    shown = {f"output {done.args}": done.stdout + done.stderr for done in outputs}
    shown |= {f"container {name}": _inspected(container) for name, container in containers.all().items()}
    shown |= {f"engine log of {name}": _engine_log(container) for name, container in containers.all().items()}
    shown |= {str(path): path.read_text(errors="replace") for path in _state(workspace)}
    shown["a config hash"] = json.dumps([c["Config"]["Labels"] for c in containers.all().values()])
    found = {where for where, what in shown.items() for form in forms() if form in what}
    assert found == set()


AFTER = ("ps", "ps --format json", "logs", "plan", "tools ls", "config", "trust", "ls", "up -d")


def _inspected(container: dict[str, object]) -> str:
    """What `inspect` shows, without the environment of a server that asked for `env:` (documented to show)."""
    config = {k: v for k, v in container["Config"].items() if k != "Env"}  # type: ignore[attr-defined]
    return json.dumps({**container, "Config": config})


def _engine_log(container: dict[str, object]) -> str:
    """What the engine itself kept of the container's output."""
    done = subprocess.run(["docker", "logs", str(container["Id"])], capture_output=True, text=True, check=False)
    path = container.get("LogPath")
    kept = Path(str(path)).read_text(errors="replace") if path and Path(str(path)).exists() else ""
    return done.stdout + done.stderr + kept


def _state(workspace: Workspace) -> list[Path]:
    """Every file that is kept; the secret files themselves are below a folder that is the user's alone."""
    kept = [path for path in workspace.home.rglob("*") if path.is_file()]
    (secrets,) = workspace.home.glob("run/*/secrets")
    assert secrets.stat().st_mode & 0o077 == 0
    return [path for path in kept if secrets not in path.parents]


async def test_a_header_secret_reaches_the_remote_server_and_only_it(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.environ["PLANTED"] = SECRET
    port = _free_port()
    environ = {"PORT": str(port), "PATH": os.environ["PATH"]}
    remote = subprocess.Popen(["python3", str(workspace.directory / "programs/web.py")], env=environ)
    try:
        workspace.save(
            {"remote": {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "${secret:planted}"}}},
            secrets={"planted": {"environment": "PLANTED"}},
        )
        workspace.run("trust", "--all")  # what is sent to a remote needs approval
        workspace.up()
        workspace.when_ready("remote")

        async with workspace.client() as client:
            assert text(await client.call_tool("remote__header", {"text": "x-key"})) == SECRET
    finally:
        remote.terminate()
        remote.wait(10)


def test_a_missing_secret_stops_everything_and_names_server_provider_and_next_step(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save(
        {"a": echo(secrets=["there_is_none"]), "b": echo()},
        secrets={"there_is_none": {"environment": "NO_SUCH_VARIABLE"}},
    )

    done = workspace.up(code=3)

    assert all(word in done.stderr for word in ("`a`", "there_is_none", "NO_SUCH_VARIABLE"))
    assert containers.all() == {}


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
