"""The commands of `mcp-compose`, in the order `--help` lists them, and the options before them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mcpcompose.actions.options import Options, current_folder
from mcpcompose.cli import (
    audit,
    catalog,
    client,
    config,
    down,
    governed,
    images,
    import_,
    init,
    lifecycle,
    lock,
    logs,
    ls,
    plan,
    policy,
    profile,
    ps,
    run,
    secret,
    shell,
    tools,
    trust,
    up,
)
from mcpcompose.cli.output import standard_output
from mcpcompose.cli.session import Session

_HELP = """\
Docker Compose for MCP servers: one file says which MCP servers your AI clients may use, one gateway serves them.

\b
  mcp-compose init          write a commented mcp-compose.yaml
  mcp-compose import cursor take over the servers that an AI client has
  mcp-compose up -d         start what it declares, in the background
  mcp-compose ps            see how the servers are doing
  mcp-compose client connect cursor
                            write the gateway into an AI client's configuration
  mcp-compose down          take it all down again
"""
_END = """\
\b
Environment: MCP_COMPOSE_FILE, MCP_COMPOSE_PROJECT_NAME, MCP_COMPOSE_ENV_FILES, MCP_COMPOSE_PROFILE,
MCP_COMPOSE_ENGINE, MCP_COMPOSE_HOME, DOCKER_HOST, NO_COLOR.
\b
Exit codes: 0 done, 1 failed, 2 wrong file or usage, 3 secret missing, 4 engine not reachable,
5 locked state differs, 6 approval needed, 130 interrupted.
"""


def application() -> typer.Typer:
    """All commands; each imports what it needs when it runs."""
    app = typer.Typer(
        name="mcp-compose",
        help=_HELP,
        epilog=_END,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(global_options)
    init.register(app)
    import_.register(app)
    config.register(app)
    plan.register(app)
    up.register(app)
    down.register(app)
    ls.register(app)
    ps.register(app)
    logs.register(app)
    audit.register(app)
    lifecycle.register(app)
    images.register(app)
    lock.register(app)
    trust.register(app)
    policy.register(app)
    secret.register(app)
    tools.register(app)
    catalog.register(app)
    client.register(app)
    profile.register(app)
    governed.register(app)
    run.register(app)
    shell.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        shell.print_version(standard_output())
        raise typer.Exit


def global_options(
    context: typer.Context,
    file: Annotated[
        list[str] | None, typer.Option("-f", "--file", metavar="FILE", help="The compose file; several are merged.")
    ] = None,
    project_name: Annotated[
        str | None, typer.Option("-p", "--project-name", metavar="NAME", help="Use this project name.")
    ] = None,
    env_file: Annotated[
        list[str] | None, typer.Option("--env-file", metavar="FILE", help="Read variables from here instead of `.env`.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Only this profile's servers.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="ENGINE", help="What runs the servers: `docker` or `process`.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only data and errors.")] = False,
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Put together what every command works from."""
    options = Options(
        directory=current_folder(),
        home=Path.home(),
        environ=dict(os.environ),
        files=tuple(file or ()),
        project_name=project_name,
        env_files=tuple(env_file or ()),
        profile=profile,
        engine=engine,
        quiet=quiet,
    )
    context.obj = Session(options.with_environment(), standard_output(quiet=quiet))
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  stays open as the process's own
