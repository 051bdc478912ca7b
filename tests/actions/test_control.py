"""The gateway's own answers, in one process: what several askers at once, and those who go away, leave behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.desk import ECHO
from mcpcompose.actions.context import Context, Engines
from mcpcompose.actions.control import GatewayControl
from mcpcompose.actions.locate import Place, locate
from mcpcompose.actions.options import Options
from mcpcompose.engine.base import Engine
from mcpcompose.errors import ApprovalNeeded, EngineUnreachable, GatewayNotRunning


class Folder:
    """A project folder, and the gateway of it in this process."""

    def __init__(self, base: Path) -> None:
        self.directory = base / "p"
        self.directory.mkdir()
        (self.directory / "echo.py").write_text(ECHO)
        self.environ = {"MCP_COMPOSE_HOME": str(base / "h"), "PATH": "/usr/bin:/bin"}
        self.write("mcp-compose.yaml", "a")
        self.context = Context(self.place())
        self.control = GatewayControl(self.context)

    def place(self, file: str = "mcp-compose.yaml") -> Place:
        options = Options(files=(file,), directory=self.directory, home=self.directory, environ=self.environ)
        return locate(options.with_environment())

    def write(self, name: str, *servers: str) -> None:
        named = {server: {"process": [sys.executable, "-u", "echo.py"]} for server in servers}
        (self.directory / name).write_text(f"name: desk\nengine: process\nservers: {json.dumps(named)}\n")

    async def up(self, file: str = "mcp-compose.yaml", **keys: Any) -> list[Any]:
        request = {**self.place(file).wire(), "watch": True, **keys}
        try:
            return [event async for event in self.control.apply(request)]
        except ApprovalNeeded as needed:
            return [event async for event in self.control.apply({**request, "trust": needed.hashes})]

    async def states(self) -> dict[str, str]:
        return {one["server"]: one["state"] for one in (await self.control.status())["servers"]}


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    made = Folder(tmp_path)
    yield made
    await made.control.stop_everything(lambda _event: None)
    await made.context.close()


def kept(engines: Engines) -> Engine:
    return engines.of_kind("process")


async def test_an_engine_that_was_let_go_of_is_made_anew(folder: Folder) -> None:
    engines = folder.context.engines
    first = kept(engines)
    assert kept(engines) is first

    await engines.let_go(first)

    assert kept(engines) is not first


async def test_while_a_project_is_being_taken_down_nothing_else_is_begun(folder: Folder) -> None:
    await folder.up()
    going = folder.control.down({})
    first = asyncio.ensure_future(anext(going))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    with pytest.raises(GatewayNotRunning, match="taken down"):
        await folder.up()
    with pytest.raises(GatewayNotRunning, match="taken down"):
        await anext(folder.control.start(["a"]))

    await first
    async for _ in going:
        pass
    assert folder.control.ended.is_set()


async def test_a_down_whose_asker_goes_away_is_done_nevertheless(folder: Folder) -> None:
    await folder.up()
    asker = asyncio.ensure_future(anext(folder.control.down({})))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asker.cancel()

    async with asyncio.timeout(20):
        await folder.control.ended.wait()

    assert await folder.states() == {"a": "stopped"}


async def test_a_down_that_fails_leaves_a_gateway_that_goes_on(folder: Folder) -> None:
    await folder.up()
    engine = kept(folder.context.engines)
    observe = engine.observe

    async def unreachable(*_: object) -> Any:
        raise EngineUnreachable("no engine answers")

    engine.observe = unreachable
    with pytest.raises(EngineUnreachable):
        _ = [event async for event in folder.control.down({})]
    engine.observe = observe

    folder.write("mcp-compose.yaml", "a", "b")
    done = (await folder.up())[-1]

    assert done["failed"] == {}
    assert await folder.states() == {"a": "ready", "b": "ready"}
    assert not folder.control.ended.is_set()


async def test_two_files_handed_over_at_once_are_each_applied_as_themselves(folder: Folder) -> None:
    folder.write("broken.yaml", "b")
    (folder.directory / "broken.yaml").write_text("name: desk\nservers: {b: {imag: x}}\n")

    good, broken = await asyncio.gather(folder.up(), folder.up("broken.yaml"), return_exceptions=True)

    assert isinstance(good, list)
    assert isinstance(broken, Exception)
    assert list(await folder.states()) == ["a"]
    assert (await folder.control.status())["files"] == [str(folder.directory / "mcp-compose.yaml")]


async def test_rounds_that_break_begin_again(folder: Folder) -> None:
    await folder.up()
    runs: list[object] = []
    run = folder.context.controller.run

    async def once_broken(changes: Any = None) -> None:
        runs.append(changes)
        if len(runs) == 1:
            raise OSError("no watches left")
        await run(changes)

    folder.context.controller.run = once_broken
    await folder.up()
    folder.write("mcp-compose.yaml", "a", "c")

    async with asyncio.timeout(20):
        while len(runs) < 2 or "needs your approval" not in str((await folder.control.status())["problem"]):  # noqa: ASYNC110  bounded
            await asyncio.sleep(0.02)
