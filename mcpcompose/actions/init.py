"""Write a compose file to start from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mcpcompose.actions.files import write_atomically
from mcpcompose.actions.locate import FILE_NAMES, absolute
from mcpcompose.actions.options import Options
from mcpcompose.errors import UsageError

STARTER: Final = """\
# Which MCP servers the AI clients of this project may use. Start them with `mcp-compose up`.
# Commit this file: nothing in it is a secret.

servers:                                  # names: small letters, digits and -

  time:                                   # its tools are exposed as time__get_current_time, …
    package: pypi:mcp-server-time         # from a package index: pypi:NAME==VERSION or npm:NAME@VERSION
    args: [--local-timezone, UTC]
    tools:
      allow: ["get_*", "convert_*"]       # the server's own names; `deny` wins over `allow`

  # github:
  #   image: ghcr.io/github/github-mcp-server:v1     # a container image
  #   command: [stdio]                               # its arguments
  #   environment: {GITHUB_TOOLSETS: "issues,repos"}
  #   network: open                                  # none (default) | isolated | open
  #   secrets: [{source: github_pat, env: GITHUB_PERSONAL_ACCESS_TOKEN}]
  #   tools: {deny: ["delete_*"]}

  # docs:
  #   url: https://mcp.example.com/mcp               # a remote server
  #   headers: {Authorization: "Bearer ${secret:docs_key}"}

  # own:
  #   build: ./my-server                             # an image built from a Dockerfile

# secrets:                                # where values come from; nothing here is a value
#   github_pat: {keyring: github}         # `mcp-compose secret set github_pat` asks for it
#   docs_key: {file: ~/.config/docs/key}

# profiles:                               # what a client gets; without profiles: everything
#   default: {servers: [time]}
#   developer: {servers: [time, github]}

# clients:                                # each has its own token: `mcp-compose client connect cursor`
#   cursor: {profile: developer}
"""


def write_starter(options: Options, *, force: bool) -> Path:
    """Write the starter file to the first of the files named, or here. Raises `UsageError` when one is there."""
    if options.files:
        file = absolute(options.directory, options.files[0])
        there = [file] if os.path.lexists(file) else []
    else:
        file = options.directory / FILE_NAMES[0]
        there = [found for name in FILE_NAMES if os.path.lexists(found := options.directory / name)]
    if there and not force:
        raise UsageError(f"`{there[0].name}` is already here", hint="replace it with `mcp-compose init --force`")
    try:
        write_atomically(Path(os.path.realpath(file)), STARTER, mode=0o644)
    except OSError as error:
        raise UsageError(f"cannot write `{file}`: {error.strerror}") from error
    return file
