"""What a person says before the command: which files, which project, which engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mcpcompose.errors import UsageError


@dataclass(frozen=True, slots=True)
class Options:
    """The global options; empty ones are filled from `MCP_COMPOSE_*` by `with_environment`."""

    directory: Path
    home: Path
    environ: Mapping[str, str] = field(repr=False)
    files: tuple[str, ...] = ()
    project_name: str | None = None
    env_files: tuple[str, ...] = ()
    profile: str | None = None
    engine: str | None = None
    quiet: bool = False

    def with_environment(self) -> Options:
        """The same, with what was not said taken from the environment."""
        environ = self.environ
        return replace(
            self,
            files=self.files or _split(environ.get("MCP_COMPOSE_FILE"), os.pathsep),
            project_name=self.project_name or environ.get("MCP_COMPOSE_PROJECT_NAME") or None,
            env_files=self.env_files or _split(environ.get("MCP_COMPOSE_ENV_FILES"), ","),
            profile=self.profile or environ.get("MCP_COMPOSE_PROFILE") or None,
            engine=self.engine or environ.get("MCP_COMPOSE_ENGINE") or None,
        )


def _split(text: str | None, separator: str) -> tuple[str, ...]:
    return tuple(part for part in (text or "").split(separator) if part)


def current_folder() -> Path:
    """Where the person is. Raises `UsageError` when that folder is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone", hint="change to another one") from None
