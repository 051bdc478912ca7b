"""What AI clients need to connect: entries to paste, and tokens."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, Final

from mcpcompose.actions.locate import Place
from mcpcompose.actions.record import read_record
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.auth.tokens import Tokens
from mcpcompose.errors import GatewayNotRunning, McpComposeError
from mcpcompose.paths import ProjectPaths, private_folder

PLACEHOLDER: Final = "${MCP_COMPOSE_TOKEN}"


def token_file(paths: ProjectPaths) -> Path:
    """Where the project's tokens are."""
    return paths.state / "tokens.json"


def entries(place: Place, client: str, *, show_token: bool, without_endpoint: bool = False) -> dict[str, Any]:
    """
    The entries for *client*: `http` and `stdio`, each as a mapping to paste under `mcpServers`.

    Also `client`, `profile`, `endpoint`, and `token` (None unless *show_token*). Raises `UsageError` for an
    unknown client, and `GatewayNotRunning` when the project was never up and its file fixes no port: then there is
    no endpoint yet. *without_endpoint*: `endpoint` and `http` are None instead.
    """
    endpoint = _endpoint(place)
    if endpoint is None and not without_endpoint:
        raise GatewayNotRunning(
            f"project `{place.name}` was never up, so it has no endpoint yet", hint="start it with `mcp-compose up -d`"
        )
    token, profile = _token(place, client, rotate=False)
    bearer = f"Bearer {token if show_token else PLACEHOLDER}"
    http = {"type": "http", "url": endpoint, "headers": {"Authorization": bearer}}
    return {
        "client": client,
        "profile": profile,
        "endpoint": endpoint,
        "token": token if show_token else None,
        "http": {place.name: http} if endpoint is not None else None,
        "stdio": {place.name: _stdio(place, client)},
    }


def token(place: Place, client: str) -> str:
    """The token of *client*. Raises `UsageError` for an unknown one."""
    return _token(place, client, rotate=False)[0]


def rotate(place: Place, client: str) -> None:
    """Give *client* another token. Raises `UsageError` for an unknown client."""
    _token(place, client, rotate=True)


def _token(place: Place, client: str, *, rotate: bool) -> tuple[str, str]:
    """The client's token and profile, from the running gateway or else by the file."""
    if gateway := running_gateway(place):
        answer = gateway.token(client, rotate=rotate)
        return answer["token"], answer["profile"]
    from mcpcompose.actions.config import load

    private_folder(place.paths.state)
    tokens = Tokens(token_file(place.paths))
    tokens.bind({name: bound.profile for name, bound in load(place).project.clients.items()})
    token = tokens.rotate(client) if rotate else tokens.token(client)
    return token, tokens.clients[client]


def _endpoint(place: Place) -> str | None:
    """Where the gateway was last, or will be by the file; None when neither says it."""
    record = read_record(place.paths.state)
    if record is not None and record.endpoint is not None:
        return record.endpoint
    from mcpcompose.actions.config import load
    from mcpcompose.actions.endpoint import endpoint_of

    try:
        return endpoint_of(place, load(place).project.gateway)
    except McpComposeError:
        return None


def _stdio(place: Place, client: str) -> dict[str, Any]:
    options = place.options
    words = [f"--file={file}" for file in place.files]
    words += [f"--project-name={place.name}"] if options.project_name else []
    words += [f"--env-file={file}" for file in place.wire()["env_files"]]
    words += [f"--engine={options.engine}"] if options.engine else []
    words += [f"--profile={options.profile}"] if options.profile else []
    program = shutil.which("mcp-compose", path=options.environ.get("PATH"))
    command = [program] if program else [sys.executable, "-P", "-m", "mcpcompose"]
    return {"command": command[0], "args": [*command[1:], *words, "run", "--stdio", "--client", client]}
