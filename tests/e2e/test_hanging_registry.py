"""A registry that never answers costs only the server whose image it has: changes and `down` do not wait for it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from harness.containers import Containers
from harness.wait import until
from harness.workspace import COMMAND, Workspace, echo

pytestmark = pytest.mark.docker


@pytest.fixture
def registry() -> Iterator[str]:
    """Where somebody listens and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def up(workspace: Workspace, registry: str) -> Iterator[subprocess.Popen[bytes]]:
    """`up -d` of `a` and of `d`, whose image is being pulled."""
    workspace.save({"a": echo(), "d": {"image": f"{registry}/some/thing:1"}})
    with subprocess.Popen(
        [*COMMAND, "up", "-d"],
        cwd=workspace.directory,
        env=workspace.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield process
        process.wait(60)


def test_a_saved_change_takes_effect_and_a_removed_server_is_forgotten_while_its_image_is_being_pulled(
    workspace: Workspace, containers: Containers, registry: str, up: subprocess.Popen[bytes]
) -> None:
    until(lambda: f"{workspace.name}-a-1" in containers.running(), "a runs")
    first = containers.id_of("a")

    workspace.save({"a": echo(environment={"V": "2"}), "d": {"image": f"{registry}/some/thing:1"}})
    until(lambda: containers.id_of("a") not in {None, first}, "a replaced", 10)
    assert up.poll() is None

    workspace.save({"a": echo(environment={"V": "2"})})
    assert up.wait(8) == 0
    assert workspace.servers().keys() == {"a"}


def test_down_does_not_wait_for_an_image_that_is_being_pulled(
    workspace: Workspace, containers: Containers, up: subprocess.Popen[bytes]
) -> None:
    until(lambda: f"{workspace.name}-a-1" in containers.running(), "a runs")
    assert up.poll() is None

    workspace.run("down", bound=10)

    assert containers.all() == {}
    assert workspace.gateways() == []


def test_an_interrupted_up_ends_at_once_while_an_image_is_being_pulled(
    workspace: Workspace, containers: Containers, registry: str
) -> None:
    workspace.save({"a": echo(stop_grace_period=1), "d": {"image": f"{registry}/some/thing:1"}})
    with subprocess.Popen(
        [*COMMAND, "up"],
        cwd=workspace.directory,
        env=workspace.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: f"{workspace.name}-a-1" in containers.running(), "a runs")
        process.send_signal(signal.SIGINT)
        process.wait(10)

    assert containers.running() == set()
    assert workspace.gateways() == []
