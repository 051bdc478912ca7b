"""The project's gateway as clients reach it: its URL, its tokens, and the command that starts it for one client."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcpcompose.actions.clients import token_file
from mcpcompose.actions.locate import FILE_NAMES, Place
from mcpcompose.actions.record import read_record
from mcpcompose.auth.tokens import DEFAULT_CLIENT, Tokens
from mcpcompose.clients.choice import Gateway
from mcpcompose.clients.entries import Stdio
from mcpcompose.paths import private_folder

if TYPE_CHECKING:
    from mcpcompose.spec.project import Gateway as GatewaySpec
    from mcpcompose.spec.project import Project

_CARRIED: Final = (
    "MCP_COMPOSE_HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
)
"""What decides where the gateway and its engine are; many clients start commands without their own environment."""


def gateway_of(place: Place, project: Project, client: str) -> Gateway:
    """How clients reach the gateway of *place*, as *client* of the file."""
    return Gateway(
        endpoint=endpoint_of(place, project.gateway),
        fixed=project.gateway.port is not None,
        open=project.gateway.auth == "none",
        token=token_of(place, project, client),
        here=command_here(place, client),
        there=_command_there(place, client),
    )


def endpoint_of(place: Place, gateway: GatewaySpec) -> str | None:
    """The gateway's URL: where the file fixes its port, else where it was last; None before the first `up`."""
    if gateway.port is not None:
        host = f"[{gateway.listen}]" if ":" in gateway.listen else gateway.listen
        return f"http://{host}:{gateway.port}/mcp"
    record = read_record(place.paths.state)
    return record.endpoint if record is not None else None


def token_of(place: Place, project: Project, client: str) -> Callable[[], str]:
    """Gives the token of *client*, which is made on first use; a running gateway knows it at once."""

    def token() -> str:
        private_folder(place.paths.state)
        tokens = Tokens(token_file(place.paths))
        tokens.bind({name: bound.profile for name, bound in project.clients.items()})
        return tokens.token(client)

    return token


def command_here(place: Place, client: str) -> Stdio:
    """What reaches the gateway from anywhere on this machine, whatever the environment of who starts it."""
    options = place.options
    words = [f"--file={file}" for file in place.files]
    words += [f"--project-name={place.name}"] if options.project_name else []
    words += [f"--env-file={file}" for file in place.wire()["env_files"]]
    words += [f"--engine={options.engine}"] if options.engine else []
    program = shutil.which("mcp-compose", path=options.environ.get("PATH"))
    command = [os.path.abspath(program)] if program else [sys.executable, "-P", "-m", "mcpcompose"]  # noqa: PTH100
    env = {name: options.environ[name] for name in _CARRIED if options.environ.get(name)}
    return Stdio(command[0], (*command[1:], *words, *_run(client)), env)


def _command_there(place: Place, client: str) -> Stdio:
    """What reaches it from the project's folder on anybody's machine."""
    words: list[str] = []
    if [file.name for file in place.files] != [FILE_NAMES[0]]:
        words += [f"--file={os.path.relpath(file, place.directory)}" for file in place.files]
    return Stdio("mcp-compose", (*words, *_run(client)))


def _run(client: str) -> tuple[str, ...]:
    return ("run", "--stdio") if client == DEFAULT_CLIENT else ("run", "--stdio", "--client", client)
