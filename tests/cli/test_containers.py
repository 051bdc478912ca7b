"""The main commands on a real engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from harness.containers import container_name
from harness.desk import Desk, eventually

BASE = os.environ.get("MCP_COMPOSE_TEST_BASE", "mcp-compose-test/base:1")
Names = Callable[..., list[str]]
pytestmark = pytest.mark.docker


@pytest.fixture
def containers(desk: Desk) -> Iterator[Names]:
    """The names of this project's containers, running ones first; removed afterwards."""
    client = docker.from_env()
    mine = {"label": f"io.mcpcompose.project={desk.base.name.lower()}"}

    def names(*, running: bool = False) -> list[str]:
        return sorted(container_name(one) for one in client.api.containers(all=not running, filters=mine))

    yield names
    for one in client.containers.list(all=True, filters=mine, ignore_removed=True):
        one.remove(force=True)
    client.close()


def save(desk: Desk, **servers: Any) -> str:
    """Servers that run the echo program on the base image, in a project named like the test's folder."""
    program = (desk.project / "echo.py").read_text().replace("$", "$$")
    named = {
        name: {"image": BASE, "command": ["python3", "-u", "-c", program], **keys} for name, keys in servers.items()
    }
    desk.write(json.dumps({"name": desk.base.name.lower(), "servers": named}))
    return desk.base.name.lower()


def test_up_ps_call_change_and_down_on_a_real_engine(desk: Desk, containers: Names) -> None:
    name = save(desk, a={}, b={"environment": {"GREETING": "hello "}})

    desk.ok("up", "-d")
    again = desk.ok("up", "-d")
    called = desk.ok("tools", "call", "b__echo", "text=world")
    save(desk, a={}, b={"environment": {"GREETING": "bye "}})
    eventually(lambda: desk.run("tools", "call", "b__echo", "text=world").stdout == "bye world\n")

    assert again.splitlines()[0] == "everything is up to date"
    assert called == "hello world\n"
    assert containers(running=True) == [f"{name}-a-1", f"{name}-b-1"]
    assert desk.json("ps")["engine"] == "docker"
    assert "isolated" not in desk.run("ps").stderr
    desk.ok("down")
    assert containers() == []


def test_after_kill_9_down_removes_the_containers(desk: Desk, containers: Names) -> None:
    save(desk, a={})
    desk.ok("up", "-d")
    desk.gateway().kill()

    left = desk.json("ps")
    desk.ok("down")

    assert left["servers"][0]["server"] == "a"
    assert containers() == []


def test_a_terminated_gateway_leaves_its_containers_stopped(desk: Desk, containers: Names) -> None:
    name = save(desk, a={})
    desk.ok("up", "-d")

    desk.gateway().terminate()

    eventually(lambda: desk.processes() == [])
    assert containers() == [f"{name}-a-1"]
    assert containers(running=True) == []
    desk.ok("down")


def test_an_image_that_does_not_exist_costs_only_its_server(desk: Desk, containers: Names) -> None:
    save(desk, a={}, b={"image": "mcp-compose-test/nowhere:1", "pull_policy": "never"})

    done = desk.run("up", "-d")

    assert done.returncode == 1
    assert "nowhere" in desk.state("b")["reason"]
    assert desk.state("a")["state"] == "ready"
    desk.ok("down")


def test_a_pull_that_fails_says_so(desk: Desk, containers: Names) -> None:
    save(desk, b={"image": "127.0.0.1:9/nowhere:1"})

    done = desk.run("pull")

    assert done.returncode == 1
    assert "nowhere" in done.stderr
