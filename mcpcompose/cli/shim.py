"""
`mcp-compose run --stdio` without the command line's imports: a client application waits for it to start.

What this small reading of the arguments does not know is left to the command line, which explains it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_VALUES: Final = {
    "-f": "files", "--file": "files", "-p": "project_name", "--project-name": "project_name", "--env-file": "env_files",
    "--profile": "profile", "--engine": "engine", "--client": "client",
}  # fmt: skip


def main(arguments: Sequence[str]) -> int | None:
    """Run the shim; None when the arguments are for the command line to explain."""
    said = _parse(arguments)
    if said is None:
        return None
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.options import Options, current_folder
    from mcpcompose.actions.stdio import run
    from mcpcompose.errors import McpComposeError

    single = {key: values[-1] for key, values in said.items() if key not in {"files", "env_files"}}
    client = single.get("client")
    try:
        options = Options(
            directory=current_folder(),
            home=Path.home(),
            environ=dict(os.environ),
            files=tuple(said.get("files", ())),
            env_files=tuple(said.get("env_files", ())),
            project_name=single.get("project_name"),
            profile=single.get("profile"),
            engine=single.get("engine"),
        ).with_environment()
        return run(locate(options), client, options.profile)
    except McpComposeError as error:
        from mcpcompose.cli.output import standard_output
        from mcpcompose.cli.problems import show_error

        show_error(error, standard_output())
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parse(arguments: Sequence[str]) -> dict[str, list[str]] | None:
    said: dict[str, list[str]] = {}
    bare: list[str] = []
    words = iter(arguments)
    for word in words:
        key, equals, text = word.partition("=")
        if word in {"run", "--stdio", "-q", "--quiet"}:
            bare.append(word)
        elif word in _VALUES and (value := next(words, None)) is not None:
            said.setdefault(_VALUES[word], []).append(value)
        elif equals and key.startswith("--") and key in _VALUES:
            said.setdefault(_VALUES[key], []).append(text)
        else:
            return None
    return said if bare.count("run") == 1 and "--stdio" in bare else None
