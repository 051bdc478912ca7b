"""`up` and `down` against gateways that end, or break off, while they are asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.desk import Desk
from harness.wait import until
from mcpcompose.actions.down import down
from mcpcompose.actions.locate import Place, locate
from mcpcompose.actions.lock import held, holder
from mcpcompose.actions.options import Options
from mcpcompose.actions.spawn import wait_until_gone
from mcpcompose.actions.up import Wish, hand_over
from mcpcompose.errors import CalledOff

OF_NO_USE: list[Any] = []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.run("down")
    made.leave()


@pytest.fixture
def place(desk: Desk) -> Place:
    desk.servers(a={})
    options = Options(directory=desk.project, home=desk.base, environ=desk.environ)
    return locate(options.with_environment())


@contextmanager
def ending_gateway(place: Place, *lines: dict[str, Any]) -> Iterator[threading.Event]:
    """A gateway that answers one request with *lines*, breaks off and lets go of the lock a moment after."""
    ready, asked, free = threading.Event(), threading.Event(), threading.Event()
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()

    def serve() -> None:
        with held(place.paths), socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(place.paths.admin_socket))
            listening.listen()
            ready.set()
            while not asked.is_set():
                connection, _ = listening.accept()
                with connection:
                    if connection.recv(65536):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):  # closed before all of it is read, it would be lost
                            pass
                        asked.set()
            place.paths.admin_socket.unlink()
            free.wait(0.3)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(5)
    try:
        yield asked
    finally:
        free.set()
        thread.join(10)


def refusal(kind: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": "the project is being taken down", "exit_code": 1}}


def test_an_up_while_a_down_is_under_way_waits_for_its_end_and_starts_anew(desk: Desk, place: Place) -> None:
    desk.ok("trust", "--all")
    with ending_gateway(place, refusal("GatewayNotRunning")) as asked:
        desk.ok("up", "-d")

    assert asked.is_set()
    assert holder(place.paths) not in {None, os.getpid()}
    assert desk.state("a")["state"] == "ready"


def test_an_up_that_a_later_down_calls_off_does_not_bring_the_project_up_again(place: Place) -> None:
    with ending_gateway(place, refusal("CalledOff")), pytest.raises(CalledOff):
        hand_over(place, Wish(), OF_NO_USE.append)

    assert not place.paths.admin_socket.exists()


def test_a_down_whose_gateway_breaks_off_takes_things_down_itself(desk: Desk, place: Place) -> None:
    desk.up()
    desk.gateway().kill()
    place.paths.admin_socket.unlink(missing_ok=True)
    assert instances(desk)

    with ending_gateway(place):
        assert down(place, volumes=False, on_event=OF_NO_USE.append)

    assert not instances(desk)
    assert desk.json("ls") == []


def instances(desk: Desk) -> list[str]:
    """What the process engine still knows of."""
    return [one["name"] for one in desk.json("ls") if one["status"] == "left"]


def test_a_gateway_that_has_ended_is_gone_also_before_its_parent_has_looked() -> None:
    ended = subprocess.Popen(["true"])
    until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE, "it is left to its parent")
    began = time.monotonic()

    wait_until_gone(ended.pid)

    assert time.monotonic() - began < 3  # a parent that is slow, as of many containers, may take any time
    ended.wait()


BEGUN_EARLY = """\
import subprocess, sys
from mcpcompose.actions import spawn
from mcpcompose.cli import early
from mcpcompose.cli.main import main

def ended(place):
    process = subprocess.Popen(["true"])
    process.wait(5)
    spawn._begun[place.paths.admin_socket] = process

spawn.begin = ended
early.begin(sys.argv[1:])
sys.exit(main(sys.argv[1:]))
"""
"""A command line that came when the gateway which it had begun had already waited for it in vain."""


def late_up(desk: Desk) -> None:
    desk.command = [sys.executable, "-P", "-c", BEGUN_EARLY]
    try:
        desk.ok("up", "-d")
    finally:
        desk.command = [sys.executable, "-P", "-m", "mcpcompose"]


def test_a_gateway_that_ended_before_a_slow_command_line_came_is_started_again(desk: Desk, place: Place) -> None:
    desk.ok("trust", "--all")

    late_up(desk)

    assert desk.state("a")["state"] == "ready"


def test_a_gateway_that_anothers_refused_file_ended_is_started_again(desk: Desk, place: Place) -> None:
    desk.ok("trust", "--all")
    with ending_gateway(place, refusal("GatewayNotRunning")) as asked:
        late_up(desk)

    assert asked.is_set()
    assert desk.state("a")["state"] == "ready"
