"""Errors as text, the way a compiler prints them: what, where, and the next step after a blank line."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mcpcompose.cli.output import Output
from mcpcompose.errors import (
    ApprovalNeeded,
    DangerRefused,
    FileProblems,
    McpComposeError,
    Position,
    Problem,
    SecretMissing,
)

SEVERAL: Final = (ApprovalNeeded, DangerRefused, SecretMissing)
"""Errors whose message has one line per thing that is wrong."""


def show_error(error: McpComposeError, output: Output) -> None:
    """Print *error*, its positions relative to the current folder, and its hints once each."""
    try:
        directory = Path.cwd()
    except FileNotFoundError:
        directory = Path("/")
    if isinstance(error, FileProblems):
        for problem in error.problems:
            _show_problem(problem, output, directory)
        hints = [problem.hint for problem in error.problems if problem.hint]
    else:
        for message in error.message.splitlines() if isinstance(error, SEVERAL) else [error.message]:
            output.error_lines(message)
        hints = []
    if error.hint:
        hints.append(error.hint)
    for hint in dict.fromkeys(hints):
        output.hint(hint)


def _show_problem(problem: Problem, output: Output, directory: Path) -> None:
    output.error_lines(problem.message)
    if problem.position:
        output.detail(f"  --> {relative(problem.position, directory)}")


def relative(position: Position, directory: Path) -> str:
    """`file:line:column`, the file as seen from *directory* where it is below it."""
    file = position.file
    if file.is_relative_to(directory):
        file = file.relative_to(directory)
    return f"{file}:{position.line}:{position.column}"
