"""A file saved with an error, then mended: the old state serves on, the error is shown, nothing is restarted."""

from __future__ import annotations

import pytest

from harness.containers import Containers
from harness.wait import until, until_async
from harness.workspace import Workspace, echo, text

pytestmark = pytest.mark.docker


async def test_a_broken_file_changes_nothing_and_is_shown_with_its_line_until_it_is_mended(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": echo()})
    workspace.up()
    workspace.when_ready()
    before, gateway, good = containers.traces(), workspace.gateway().pid, workspace.file.read_text()

    workspace.save_text(good + "    enviroment: {A: b}\n")
    line = len(good.splitlines()) + 1
    shown = await until_async(lambda: _with(workspace, f"mcp-compose.yaml:{line}"), "the line in `ps`")
    async with workspace.client() as client:
        assert text(await client.call_tool("a__echo", {"text": "still"})) == "still"

    assert "enviroment" in shown
    assert "enviroment" in workspace.log()
    assert containers.traces() == before

    workspace.save({"a": echo(), "b": echo()})
    workspace.when_ready("a", "b")
    until(lambda: not _with(workspace, "enviroment"), "the problem is gone from `ps`")
    assert containers.traces()[f"{workspace.name}-a-1"] == before[f"{workspace.name}-a-1"]
    assert workspace.gateway().pid == gateway


async def test_saves_by_rename_in_place_and_after_the_file_was_away_take_effect(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": echo()})
    workspace.up()
    workspace.when_ready()

    workspace.save({"a": echo(), "b": echo()})
    await until_async(lambda: "b" in workspace.servers(), "b, saved by rename")
    text_with_c = workspace.file.read_text()
    workspace.file.unlink()
    workspace.save_text(text_with_c)
    with workspace.file.open("a") as file:
        file.write("  c:\n    image: mcp-compose-test/base:1\n    command: [python3, -u, /p/echo.py]\n")
        file.write("    volumes: ['./programs:/p:ro']\n")
    await until_async(lambda: "c" in workspace.servers(), "c, saved in place")
    workspace.when_ready()

    async with workspace.client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert {"a__echo", "b__echo", "c__echo"} <= names


def _with(workspace: Workspace, word: str) -> str | None:
    done = workspace.run("ps", code=None)
    shown = done.stdout + done.stderr
    return shown if word in shown else None
