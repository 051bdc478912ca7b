"""`mcp-compose version`, `completion` and `gateway`: what is about the program itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session

_COMPLETION_END = """\
\b
Examples:
  mcp-compose completion bash > ~/.local/share/bash-completion/completions/mcp-compose
  mcp-compose completion zsh > ~/.zfunc/_mcp-compose
  mcp-compose completion fish > ~/.config/fish/completions/mcp-compose.fish
"""
_GATEWAY_END = """\
\b
For supervisors such as systemd: logs to stderr, ends on SIGTERM, does not watch the file. What runs is
brought to what the file says once, at the start.
\b
Examples:
  mcp-compose gateway run
"""


class Shell(StrEnum):
    """The shells that completion is known for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The gateway as a process.", no_args_is_help=True, rich_markup_mode=None)
    group.command("run", epilog=_GATEWAY_END)(gateway_run)
    app.add_typer(group, name="gateway")
    app.command(epilog="\b\nExamples:\n  mcp-compose version --format json\n")(version)
    app.command(epilog=_COMPLETION_END)(completion)


def version(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """Print the version."""
    print_version(session(context).output, form)


def print_version(output: Output, form: Format = Format.TABLE) -> None:
    """Print our version and Python's."""
    import platform

    from mcpcompose.actions.version import version_number

    if form is Format.JSON:
        output.json({"version": version_number(), "python": platform.python_version()})
    else:
        output.line(f"mcp-compose {version_number()}")


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")]
) -> None:
    """Print the completion script of a shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # documented as stable

    script = get_completion_script(prog_name="mcp-compose", complete_var="_MCP_COMPOSE_COMPLETE", shell=shell.value)
    session(context).output.text(script)


def gateway_run(context: typer.Context) -> int:
    """Serve the project in the foreground, without watching the file."""
    from mcpcompose.cli.up import run_in_foreground

    return run_in_foreground(session(context), watch=False, quietly=True)
