"""
The edge of the command line: arguments and environment in, text and an exit code out.

Every error of ours is printed the way `style` asks for; only what nobody foresaw is caught broadly, here.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import typer

from mcpcompose.cli.arguments import hoisted
from mcpcompose.cli.output import Output, standard_output
from mcpcompose.cli.problems import show_error
from mcpcompose.errors import McpComposeError

INTERRUPTED: Final = 130
COMPLETE_VARIABLE: Final = "_MCP_COMPOSE_COMPLETE"
"""Set by a shell that asks what could come next, in a way of its own."""
_CLICK_ERROR: Final[type[Any]] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run one command line and return its exit code."""
    environ = os.environ if environ is None else environ
    output = standard_output(environ)
    try:
        from mcpcompose.cli.app import application

        if environ.get(COMPLETE_VARIABLE):
            from typer.completion import completion_init  # type: ignore[attr-defined]  # what typer itself calls

            completion_init()
        return guarded(lambda: _run(application(), hoisted(arguments), output), output, environ)
    finally:
        _flush()


def guarded(run: Callable[[], int], output: Output, environ: Mapping[str, str]) -> int:
    """The exit code of *run*, whatever happens in it."""
    try:
        return run()
    except McpComposeError as error:
        show_error(error, output)
        return error.exit_code
    except KeyboardInterrupt:
        output.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except Exception as error:  # noqa: BLE001  the command line's edge
        output.error_lines(f"this should not have happened: {type(error).__name__}: {error}")
        if environ.get("MCP_COMPOSE_DEBUG"):
            traceback.print_exc()
        else:
            output.hint("please report it; `MCP_COMPOSE_DEBUG=1` shows where")
        return 1


def _run(application: typer.Typer, arguments: Sequence[str], output: Output) -> int:
    command = typer.main.get_command(application)
    try:
        result = command.main(args=list(arguments), prog_name="mcp-compose", standalone_mode=False)
    except _CLICK_ERROR as error:
        return _usage(error, output)
    except typer.Abort:
        return INTERRUPTED
    except typer.Exit as stop:
        return stop.exit_code
    return result if isinstance(result, int) else 0


def _usage(error: Any, output: Output) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        output.detail(error.format_message())
        return 2
    output.error_lines(_in_our_style(error.format_message()))
    path = context.command_path if context is not None else "mcp-compose"
    output.hint(f"see `{path} --help`")
    return int(error.exit_code)


def _in_our_style(message: str) -> str:
    text = message.strip().replace("'", "`").removesuffix(".")
    text = text.replace(". Did you mean", ", did you mean").replace("No such command", "no such command")
    return text[:1].lower() + text[1:]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            _drop_stdout()


def _drop_stdout() -> None:
    """Nobody reads any more: let the interpreter's own flush at exit go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
