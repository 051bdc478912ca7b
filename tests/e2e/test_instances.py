"""Who shares an instance: sessions, clients and calls with containers of their own, and servers that rest unused."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, ClientSession, MCPError
from mcp.client.stdio import stdio_client

from harness.containers import Containers
from harness.wait import until, until_async
from harness.workspace import Workspace, echo, program, text

pytestmark = pytest.mark.docker


def own(scope: str, **keys: Any) -> dict[str, Any]:
    return echo(scope=scope, stop_grace_period="1s", **keys)


async def where(client: Client, server: str = "a") -> str:
    """The name of the container that answers."""
    return text(await client.call_tool(f"{server}__read", {"text": "/etc/hostname"})).strip()


def ids(containers: Containers) -> dict[str, str]:
    """The running containers' names by short id."""
    return {found["Id"][:12]: name for name, found in containers.all().items() if found["State"]["Running"]}


async def test_each_session_has_a_container_of_its_own_that_goes_with_it(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session"), "b": echo()})
    workspace.up()
    name = workspace.name

    async with workspace.client() as one:
        async with workspace.client() as two:
            first, second = await asyncio.gather(where(one), where(two))
            assert {ids(containers)[first], ids(containers)[second]} == {f"{name}-a-2", f"{name}-a-3"}
            await one.call_tool("a__echo", {"text": "only here"})
            assert text(await one.call_tool("a__seen", {})) == '["only here"]'
            assert text(await two.call_tool("a__seen", {})) == "[]"
            assert await where(one) == first
        await until_async(lambda: second not in ids(containers), "the second session's container is gone")
        assert await where(one) == first

    expected = {f"{name}-a-1", f"{name}-b-1"}
    await until_async(lambda: set(containers.all()) == expected, "only the shared ones are left")


async def test_a_modern_client_has_one_container_for_all_its_calls(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session")})
    workspace.up()

    async with workspace.client(mode="2026-07-28") as one, workspace.client(mode="2026-07-28") as two:
        places = {await where(one), await where(two), await where(one)}

    assert [ids(containers)[place] for place in places] == [f"{workspace.name}-a-2"]


async def test_the_sessions_of_one_client_share_a_container_and_another_client_has_another(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("client")}, clients={"other": {}})
    workspace.up()

    async with workspace.client() as one, workspace.client() as two, workspace.client(name="other") as other:
        shared = {await where(one), await where(two)}
        assert len(shared) == 1
        assert await where(other) not in shared

    assert set(containers.running()) == {f"{workspace.name}-a-{number}" for number in (1, 2, 3)}


async def test_each_call_has_a_fresh_container_that_goes_with_it(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"a": own("call", instances={"limit": 3})})
    workspace.up()

    async with workspace.client() as one:
        places = await asyncio.gather(*(where(one) for _ in range(6)))

    assert len(set(places)) == 6
    await until_async(lambda: set(containers.all()) == {f"{workspace.name}-a-1"}, "the calls' containers are gone")


async def test_spares_wait_for_sessions(workspace: Workspace, containers: Containers) -> None:
    workspace.save({"a": own("session", instances={"warm": 1})})
    workspace.up()
    spare = f"{workspace.name}-a-2"
    until(lambda: spare in containers.running(), "a spare runs")

    async with workspace.client() as one:
        assert ids(containers)[await where(one)] == spare
        await until_async(lambda: f"{workspace.name}-a-3" in containers.running(), "there is another spare")


async def test_a_session_beyond_the_limit_waits_and_gets_the_place_of_one_that_ends(workspace: Workspace) -> None:
    workspace.save({"a": own("session", instances={"limit": 1}, timeouts={"start": "8s"})})
    workspace.up()

    async with workspace.client() as late:
        async with workspace.client() as one:
            first = await where(one)
            with pytest.raises(MCPError, match="all 1 instances of server `a` are in use"):
                await where(late)
            waiting = asyncio.ensure_future(where(late))
        assert await waiting != first


async def test_a_killed_container_fails_its_own_call_only_and_the_session_goes_on(
    workspace: Workspace, containers: Containers
) -> None:
    never = workspace.directory / "programs" / "never"
    os.mkfifo(never)
    workspace.save({"a": own("session")})
    workspace.up()

    async with workspace.client() as one, workspace.client() as two:
        place, other = await where(one), await where(two)
        hanging = asyncio.ensure_future(one.call_tool("a__read", {"text": "/programs/never"}))
        end = await until_async(lambda: opened(never), "the call is with the server")
        containers.client.api.kill(place, "SIGKILL")

        with pytest.raises(MCPError) as caught:
            await hanging
        assert caught.value.error.data["retryable"] is True
        assert await where(two) == other
        assert await where(one) not in {place, other}
        assert workspace.servers()["a"]["state"] == "ready"
    os.close(end or -1)


def opened(fifo: Path) -> int | None:
    """Our end of *fifo*, once somebody has opened the other to read."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


async def test_the_end_of_the_shared_container_leaves_the_sessions_alone(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session")})
    workspace.up()

    async with workspace.client() as one:
        place = await where(one)
        containers.client.api.kill(f"{workspace.name}-a-1", "SIGKILL")
        for _ in range(20):
            assert await where(one) == place
        await asyncio.to_thread(workspace.when_ready, "a")
        assert await where(one) == place


async def test_a_changed_server_is_changed_for_sessions_that_go_on(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session", environment={"VERSION": "1"}), "b": own("session")})
    workspace.up()

    async with workspace.client() as one:
        before = {await where(one), await where(one, "b")}
        workspace.save({"a": own("session", environment={"VERSION": "2"}), "b": own("session")})
        await until_async(lambda: len(before & set(ids(containers))) == 1, "the changed server's container is gone")
        assert text(await one.call_tool("a__env", {"text": "VERSION"})) == "2"
        assert await where(one, "b") in before


async def test_a_killed_gateway_leaves_nothing_that_the_next_one_keeps(
    workspace: Workspace, containers: Containers
) -> None:
    web = program("web.py", transport={"http": {"port": 8000}}, scope="session", stop_grace_period="1s")
    workspace.save({"a": own("session", instances={"warm": 1}), "web": web})
    workspace.up()
    expected = {f"{workspace.name}-{name}" for name in ("a-1", "a-2", "web-1")}
    until(lambda: set(containers.running()) == expected, "the spare runs")
    async with workspace.client() as one:
        await where(one)
        await one.call_tool("web__header", {"text": "host"})
        assert f"{workspace.name}-web-2" in containers.running()
        workspace.gateway().kill()
        await until_async(lambda: not workspace.gateways(), "the gateway is dead")
        await asyncio.to_thread(workspace.up)

    until(lambda: f"{workspace.name}-web-2" not in containers.all(), "what was left is gone")
    until(lambda: len(containers.running()) == 3, "the shared ones and one spare run")
    workspace.gateway().kill()
    until(lambda: not workspace.gateways(), "the gateway is dead")
    workspace.run("down")
    assert containers.leftovers() == set()


async def test_a_server_that_nobody_uses_is_stopped_and_started_by_the_next_call(
    workspace: Workspace, containers: Containers
) -> None:
    web = program("web.py", transport={"http": {"port": 8000}}, idle_timeout="1s", stop_grace_period="1s")
    workspace.save({"a": echo(idle_timeout="1s"), "web": web, "b": echo()})
    workspace.up()
    name = workspace.name
    until(lambda: [workspace.servers()[one]["state"] for one in ("a", "web", "b")] == ["idle", "idle", "ready"], "idle")
    assert containers.running() == {f"{name}-b-1"}
    rested = containers.traces()

    workspace.up()
    workspace.run("start")
    assert workspace.run("plan").stdout.strip() == "everything is up to date"
    assert containers.traces() == rested
    async with workspace.client() as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert {"a__echo", "web__header", "b__echo"} <= tools
        assert containers.running() == {f"{name}-b-1"}

        answers = await asyncio.gather(*(client.call_tool("a__echo", {"text": str(n)}) for n in range(5)))
        assert [text(one) for one in answers] == list("01234")
        await client.call_tool("web__header", {"text": "host"})
        assert containers.running() == {f"{name}-{one}-1" for one in ("a", "b", "web")}

    until(lambda: containers.running() == {f"{name}-b-1"}, "they rest again")
    workspace.run("down")
    assert containers.leftovers() == set()


async def test_a_client_that_spawns_a_command_has_a_container_that_goes_with_it(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session")})
    workspace.up()

    async with stdio_client(workspace.stdio()) as streams, ClientSession(*streams) as session:
        await session.initialize()
        answer = await session.call_tool("a__read", {"text": "/etc/hostname"})
        assert ids(containers)[text(answer).strip()] == f"{workspace.name}-a-2"

    await until_async(lambda: set(containers.all()) == {f"{workspace.name}-a-1"}, "only the shared one is left")


async def test_sessions_of_an_http_server_have_containers_with_addresses_of_their_own(
    workspace: Workspace, containers: Containers
) -> None:
    web = program("web.py", transport={"http": {"port": 8000}}, scope="session", stop_grace_period="1s")
    workspace.save({"web": web})
    workspace.up()

    async with workspace.client() as one, workspace.client() as two:
        hosts = {text(await client.call_tool("web__header", {"text": "host"})) for client in (one, two)}
        assert len(hosts) == 2
        assert len(containers.running()) == 3

    await until_async(lambda: set(containers.all()) == {f"{workspace.name}-web-1"}, "only the shared one is left")


async def test_many_sessions_in_a_row_and_beside_each_other_leave_nothing(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session", instances={"limit": 4, "warm": 1})})
    workspace.up()
    turns = asyncio.Semaphore(6)

    async def visit(number: int) -> str:
        async with turns, workspace.client() as client:
            await client.call_tool("a__echo", {"text": str(number)})
            return text(await client.call_tool("a__seen", {}))

    seen = await asyncio.gather(*(visit(number) for number in range(24)))

    assert seen == [f'["{number}"]' for number in range(24)]  # nobody saw another's
    await until_async(lambda: len(containers.all()) == 2, "the shared one and a spare are left")


async def test_a_gateway_that_is_told_to_end_leaves_the_shared_container_only(
    workspace: Workspace, containers: Containers
) -> None:
    workspace.save({"a": own("session", instances={"warm": 1})})
    workspace.up()

    async with workspace.client() as one:
        await where(one)
        workspace.gateway().terminate()
        await until_async(lambda: not workspace.gateways(), "the gateway has ended")

    assert set(containers.all()) == {f"{workspace.name}-a-1"}
    assert containers.running() == set()


async def test_a_killed_http_container_is_its_own_sessions_loss_only(
    workspace: Workspace, containers: Containers
) -> None:
    web = program("web.py", transport={"http": {"port": 8000}}, scope="session", stop_grace_period="1s")
    workspace.save({"web": web})
    workspace.up()

    async def host(client: Client) -> str:
        return text(await client.call_tool("web__header", {"text": "host"}))

    async with workspace.client() as one, workspace.client() as two:
        first, other = await host(one), await host(two)
        containers.client.api.kill(f"{workspace.name}-web-2", "SIGKILL")

        async def again() -> str:
            while True:
                try:
                    return await host(one)
                except MCPError:
                    continue

        async with asyncio.timeout(5):  # not as long as a dead address may be silent
            assert await again() != other
        assert await host(two) == other
        assert first != other
