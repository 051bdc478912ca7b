"""Which command lines start the gateway before the command line is there."""

from __future__ import annotations

import pytest

from mcpcompose.cli.early import parsed


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
