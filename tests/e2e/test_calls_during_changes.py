"""Calls on servers that stay, while another one is added, changed and removed: none lost, repeated or failed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp import Client

from harness.containers import Containers
from harness.wait import until_async
from harness.workspace import Workspace, echo, text

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(3000)]


def with_c(**keys: Any) -> dict[str, Any]:
    return {"a": echo(), "b": echo(), "c": echo(**keys)}


async def keep_calling(client: Client, server: str, worker: int, done: asyncio.Event, counts: dict[str, int]) -> None:
    while not done.is_set():
        number = counts[server]
        counts[server] += 1
        word = f"{server}-{worker}-{number}"
        assert text(await client.call_tool(f"{server}__echo", {"text": word})) == word


async def test_calls_on_a_and_b_survive_every_change_of_c(
    workspace: Workspace, containers: Containers, scale: int
) -> None:
    rounds, wanted = 2 * scale, 100 * scale
    workspace.save({"a": echo(), "b": echo()})
    workspace.up()
    workspace.when_ready()
    before = containers.traces()
    done, counts = asyncio.Event(), {"a": 0, "b": 0}

    async with workspace.client("legacy") as old, workspace.client("2026-07-28") as new, asyncio.TaskGroup() as calls:
        for worker, client in enumerate((old, new)):
            for server in counts:
                calls.create_task(keep_calling(client, server, worker, done, counts))
        for number in range(rounds):
            workspace.save(with_c(environment={"VERSION": "1"}))
            await until_async(lambda: state(workspace, "c") == "ready", "c added")
            first = containers.of("c")["Id"]
            workspace.save(with_c(environment={"VERSION": f"2-{number}"}))
            await until_async(
                lambda old_id=first: replaced(containers, old_id) and state(workspace, "c") == "ready", "c changed"
            )
            workspace.save({"a": echo(), "b": echo()})
            await until_async(lambda: f"{workspace.name}-c-1" not in containers.all(), "c removed")
        await until_async(lambda: sum(counts.values()) >= wanted, "enough calls", 600)
        done.set()

    async with workspace.client() as client:
        for server in ("a", "b"):
            seen = json.loads(text(await client.call_tool(f"{server}__seen", {})))
            assert len(seen) == len(set(seen)) == counts[server]
    assert containers.traces() == before


def state(workspace: Workspace, server: str) -> str | None:
    return workspace.servers().get(server, {}).get("state")


def replaced(containers: Containers, old_id: str) -> bool:
    container = containers.all().get(f"{containers.project}-c-1")
    return container is not None and container["Id"] != old_id
