"""Which command lines start the gateway before the command line is there."""

from __future__ import annotations

import json
import sys
from typing import Any

import psutil
import pytest

from harness.desk import Desk, eventually
from mcpcompose.cli.early import parsed

LATE = "import sys; from mcpcompose.cli.main import main; sys.exit(main(sys.argv[1:]))"
"""The command line without what comes before it."""
INTERRUPTED = """\
import mcpcompose.cli.early as early, mcpcompose.__main__ as command

def interrupted(_arguments):
    raise KeyboardInterrupt

early.begin = interrupted
command.main()
"""


def test_an_up_that_is_wholly_understood_begins_early() -> None:
    assert parsed(["up", "-d"]) == {}
    assert parsed(["-f", "a", "--file=b", "-p", "x", "up", "-d", "--format", "json", "--no-watch"]) == {
        "files": ["a", "b"],
        "project_name": ["x"],
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "-d", "--dry-run"],
        ["up", "-d", "--trust", "h"],
        ["up", "-d", "--help"],
        ["up", "-d", "--format", "xml"],
        ["up", "-d", "--format"],
        ["up", "-d", "-p"],
        ["up", "-d", "up"],
        ["up", "-d", "server"],
        ["-d", "up"],
        ["--format", "json", "up", "-d"],
        ["--no-watch", "up", "--detach"],
        ["ps", "-d"],
    ],
)
def test_anything_else_is_left_to_the_command_line(arguments: list[str]) -> None:
    assert parsed(arguments) is None


def gateways(desk: Desk) -> list[psutil.Process]:
    return [one for one in desk.processes() if "gateway" in one.cmdline()]


def up(desk: Desk, *arguments: str, early: bool = True) -> dict[str, Any]:
    before = desk.command
    desk.command = before if early else [sys.executable, "-P", "-c", LATE]
    try:
        return dict(json.loads(desk.ok(*arguments, "up", "-d", "--format", "json")))
    finally:
        desk.command = before


def test_an_early_start_comes_to_what_the_command_line_alone_comes_to(desk: Desk) -> None:
    desk.servers(a={}, b={"environment": {"GREETING": "x"}})
    desk.ok("trust", "--all")

    results = []
    for early in (False, True):
        results.append(up(desk, early=early))
        assert len(gateways(desk)) == 1
        assert desk.ok("tools", "call", "b__echo", "text=y") == "xy\n"
        desk.ok("down")
        assert gateways(desk) == []

    without, with_it = (told(result) for result in results)
    assert with_it == without


def told(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in {"servers", "event"}}


@pytest.mark.parametrize(
    ("arguments", "environ", "name"),
    [
        (["-p", "other"], {}, "other"),
        ([], {"MCP_COMPOSE_PROJECT_NAME": "other"}, "other"),
        (["-p", "first", "-p", "last"], {"MCP_COMPOSE_PROJECT_NAME": "other"}, "last"),
        (["-f", "sub/more.yaml"], {}, "more"),
        ([], {"MCP_COMPOSE_FILE": "sub/more.yaml"}, "more"),
        (["-f", "mcp-compose.yaml", "-f", "sub/more.yaml"], {}, "more"),
        (["--file=named-by-variable.yaml"], {"TEAM": "seven"}, "seven"),
    ],
)
def test_one_gateway_is_started_whatever_names_the_project(
    desk: Desk, arguments: list[str], environ: dict[str, str], name: str
) -> None:
    desk.servers(a={})
    text = (desk.project / "mcp-compose.yaml").read_text()
    (desk.project / "sub").mkdir()
    (desk.project / "sub/echo.py").write_text((desk.project / "echo.py").read_text())
    (desk.project / "sub/more.yaml").write_text(text.replace("name: desk", "name: more"))
    desk.write(text.replace("name: desk", "name: ${TEAM}"), "named-by-variable.yaml")
    desk.environ |= environ
    desk.ok(*arguments, "trust", "--all")

    up(desk, *arguments)

    (gateway,) = gateways(desk)
    assert name in gateway.cmdline()
    desk.ok(*arguments, "down")


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        ("servers: {a: {enviroment: {}}}", [], 2),
        ("servers: [", [], 2),
        ("include: [nowhere.yaml]", [], 2),
        ("engine: process\nservers: {a: {process: [cat]}}", [], 6),
        ('servers: {a: {image: "x:1"}}', [], 4),
        ('servers: {a: {image: "x:1"}}', ["--profile", "nobody"], 2),
        ('servers: {a: {image: "x:1"}}', ["--engine", "steam"], 2),
        ('servers: {a: {image: "x:1"}}', ["-p", "NO NAME"], 2),
    ],
)
def test_a_file_that_is_refused_leaves_no_process(desk: Desk, text: str, arguments: list[str], code: int) -> None:
    desk.write(text)
    desk.environ["DOCKER_HOST"] = "unix:///nowhere/at/all.sock"

    refused = desk.run(*arguments, "up", "-d")

    assert refused.returncode == code, refused.stderr
    assert desk.processes() == []
    assert desk.json("ls") == []


def test_a_gateway_whose_command_was_cut_off_before_it_handed_the_file_over_ends_by_itself(desk: Desk) -> None:
    desk.servers(a={})
    desk.command = [sys.executable, "-P", "-c", "from mcpcompose.cli.early import begin; begin(['up', '-d'])"]
    desk.run()
    begun = gateways(desk)

    eventually(lambda: not gateways(desk))

    assert len(begun) == 1


def test_lists_of_before_are_not_served_on_where_the_engine_does_not_answer(desk: Desk) -> None:
    desk.servers(a={})
    desk.up()
    desk.ok("down")
    file = desk.project / "mcp-compose.yaml"
    desk.write(file.read_text().replace("engine: process", "engine: docker"))
    desk.environ["DOCKER_HOST"] = "unix:///nowhere/at/all.sock"
    desk.ok("trust", "--all")

    refused = desk.run("up", "-d")

    assert refused.returncode == 4, refused.stderr
    assert desk.processes() == []
    assert desk.json("ls") == []
    assert desk.run("down").stderr == "there is nothing to take down\n"


def test_several_ups_at_once_come_to_one_gateway(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")

    running = [desk.start("up", "-d") for _ in range(4)]
    ends = [(process.communicate(timeout=60)[0], process.returncode) for process in running]

    assert [code for _, code in ends] == [0] * 4, ends
    eventually(lambda: len(gateways(desk)) == 1)
    assert desk.state("a")["state"] == "ready"
    desk.ok("down")


def test_a_refused_file_does_not_take_the_gateway_of_another_up_with_it(desk: Desk) -> None:
    desk.servers(a={})
    desk.ok("trust", "--all")
    desk.write("name: desk\nservers: {a: {enviroment: {}}}", "broken.yaml")

    broken = ("-f", "broken.yaml")
    running = [desk.start(*arguments, "up", "-d") for arguments in ((), broken, (), broken)]
    codes = [(process.communicate(timeout=60)[0], process.returncode) for process in running]

    assert [code for _, code in codes] == [0, 2, 0, 2], codes
    assert desk.state("a")["state"] == "ready"
    desk.ok("down")


def test_a_command_that_is_interrupted_while_it_is_loaded_says_nothing(desk: Desk) -> None:
    desk.command = [sys.executable, "-P", "-c", INTERRUPTED]

    ended = desk.run("up", "-d")

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
