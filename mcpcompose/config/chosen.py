"""What options, variables and folders choose of a project: its engine, its name, one of its profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mcpcompose.config.wording import closest
from mcpcompose.errors import UsageError
from mcpcompose.spec.project import EngineKind

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ENGINE: Final = "MCP_COMPOSE_ENGINE"


def engine(option: str | None, environ: Mapping[str, str], declared: EngineKind | None) -> EngineKind:
    """`--engine` over `MCP_COMPOSE_ENGINE` over the file over docker. Raises `UsageError` for one that is not there."""
    for source, chosen in (("--engine", option), (_ENGINE, environ.get(_ENGINE))):
        match chosen:
            case None | "":
                continue
            case "docker" | "process":
                return chosen
            case _:
                raise UsageError(f"`{source}` cannot be `{chosen}`", hint="engines are `docker` and `process`")
    return declared or "docker"


def project_name(option: str | None, declared: str | None, directory: Path) -> str:
    """`--project-name` over the file over the folder. Raises `UsageError` for what is no name."""
    if option is not None:
        if not _PROJECT_NAME.fullmatch(option):
            raise UsageError(
                f"`{option}` is not a project name",
                hint="lower-case letters, digits, `-` and `_`, beginning with a letter or digit",
            )
        return option
    return declared or normalised(directory.name)


def normalised(name: str) -> str:
    """A directory's name as a project name, as Compose does it."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")[:63] or "default"


def known_profile(name: str, profiles: Mapping[str, object]) -> None:
    """Raise `UsageError` when there is no profile *name*."""
    if name not in profiles:
        close = closest(name, profiles)
        hint = f"did you mean `{close}`?" if close else "profiles are: " + ", ".join(f"`{one}`" for one in profiles)
        raise UsageError(f"there is no profile `{name}`", hint=hint)
