"""
`up -d` begins before the command line is there: its gateway starts while everything else is still imported.

What this small reading of the arguments does not know begins nothing, and the command line does it all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_VALUES: Final = {
    "-f": "files", "--file": "files", "-p": "project_name", "--project-name": "project_name", "--env-file": "env_files",
    "--profile": "profile", "--engine": "engine",
}  # fmt: skip
_QUIET: Final = frozenset({"-q", "--quiet"})
_OF_UP: Final = frozenset({"-d", "--detach", "--no-watch", "--format=json", "--format=table"})


def begin(arguments: Sequence[str]) -> None:
    """Start the gateway that *arguments* will ask for, if none runs; the command line then finds it on its way."""
    said = parsed(arguments)
    if said is None:
        return
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.options import Options, current_folder
    from mcpcompose.actions.spawn import begin as begin_gateway
    from mcpcompose.errors import McpComposeError

    # Whatever it is, the command line meets it again, and says it.
    with suppress(McpComposeError, OSError, RuntimeError, ValueError):
        options = Options(
            directory=current_folder(),
            home=Path.home(),
            environ=dict(os.environ),
            files=tuple(said.get("files", ())),
            env_files=tuple(said.get("env_files", ())),
            **{key: values[-1] for key, values in said.items() if key not in {"files", "env_files"}},  # type: ignore[arg-type]
        ).with_environment()
        begin_gateway(locate(options))


def parsed(arguments: Sequence[str]) -> dict[str, list[str]] | None:
    """The values of the options; None unless this is an `up` that is wholly understood."""
    said: dict[str, list[str]] = {}
    commands = 0
    words = iter(arguments)
    for word in words:
        key, equals, text = word.partition("=")
        if word == "--format":
            word = f"--format={next(words, None)}"  # noqa: PLW2901  both ways to write it
        if word == "up":
            commands += 1
        elif word in _QUIET or (commands and word in _OF_UP):
            continue
        elif word in _VALUES and (value := next(words, None)) is not None:
            said.setdefault(_VALUES[word], []).append(value)
        elif equals and key.startswith("--") and key in _VALUES:
            said.setdefault(_VALUES[key], []).append(text)
        else:
            return None
    return said if commands == 1 else None
