"""A small reading of the arguments for what cannot wait until the command line is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcpcompose.actions.options import Options

PROJECT: Final = {
    "-f": "files", "--file": "files", "-p": "project_name", "--project-name": "project_name", "--env-file": "env_files",
    "--profile": "profile", "--engine": "engine",
}  # fmt: skip
"""The options that say which project it is, and where each goes in `Options`."""

Said = dict[str, list[str]]


def read(arguments: Sequence[str], place: Callable[[str], str | None], bare: Callable[[str], bool]) -> Said | None:
    """
    The values of options by where they go, which *place* says; None when a word is neither such an option nor *bare*.

    Both are asked word by word, in order.
    """
    said: Said = {}
    words = iter(arguments)
    for word in words:
        key, equals, text = word.partition("=")
        if bare(word):
            continue
        if (name := place(word)) is not None and (value := next(words, None)) is not None:
            said.setdefault(name, []).append(value)
        elif equals and key.startswith("--") and (name := place(key)) is not None:
            said.setdefault(name, []).append(text)
        else:
            return None
    return said


def options(said: Said) -> Options:
    """What *said* names, in this folder and environment. Raises `McpComposeError` and `OSError`."""
    from mcpcompose.actions.options import Options, current_folder

    single = {key: values[-1] for key, values in said.items()}
    return Options(
        directory=current_folder(),
        home=Path.home(),
        environ=dict(os.environ),
        files=tuple(said.get("files", ())),
        env_files=tuple(said.get("env_files", ())),
        project_name=single.get("project_name"),
        profile=single.get("profile"),
        engine=single.get("engine"),
    ).with_environment()
