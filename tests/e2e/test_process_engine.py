"""The process engine: chosen openly, never a fallback, with clear errors for what it cannot honour."""

from __future__ import annotations

import sys

from harness.wait import until
from harness.workspace import Workspace, echo, text


def process(file: str) -> dict[str, object]:
    return {"process": [sys.executable, "-u", f"programs/{file}"]}


async def test_an_approved_process_serves_and_down_leaves_no_process(workspace: Workspace) -> None:
    workspace.save({"a": process("echo.py")}, engine="process")

    refused = workspace.up(code=6)
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()
    async with workspace.client() as client:
        assert text(await client.call_tool("a__echo", {"text": "here"})) == "here"
    shown = workspace.run("ps")
    workspace.run("down")

    assert "trust" in refused.stderr
    assert "isolat" in (shown.stdout + shown.stderr).lower()
    until(lambda: not workspace.processes(), "no process is left")


def test_a_container_server_without_an_engine_is_an_error_and_never_a_process(workspace: Workspace) -> None:
    workspace.environ["DOCKER_HOST"] = "unix:///nowhere/at/all.sock"
    workspace.save({"a": {"package": "pypi:mcp-server-time"}})

    done = workspace.up(code=4)

    assert "process" in done.stderr
    until(lambda: not workspace.processes(), "nothing runs")


def test_keys_that_the_process_engine_cannot_honour_are_errors(workspace: Workspace) -> None:
    for server in (echo(), {"package": "pypi:mcp-server-time", "network": "open"}):
        workspace.save({"a": server}, engine="process")

        done = workspace.up(code=2)

        assert "docker" in done.stderr
        assert "mcp-compose.yaml:" in done.stderr


async def test_a_killed_gateway_leaves_no_process_of_its_servers_behind(workspace: Workspace) -> None:
    workspace.save({"a": process("echo.py"), "b": process("echo.py")}, engine="process")
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()

    workspace.gateway().kill()
    workspace.up()
    workspace.when_ready()

    running = [p for p in workspace.processes() if "echo.py" in " ".join(p.cmdline())]
    assert len(running) == 2
