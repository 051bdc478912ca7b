"""Where secret values come from, as the file says it: references only, never values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mcpcompose.spec.base import Model


class EnvironmentSource(Model):
    """A variable of the environment that `mcp-compose` is started in."""

    environment: Annotated[str, Field(min_length=1)]
    """The variable's name."""


class FileSource(Model):
    """A file on this machine; one trailing newline is dropped."""

    file: Annotated[str, Field(min_length=1)]
    """The file's path; `~` is the home directory."""


class DotenvKey(Model):
    """A key of a dotenv file."""

    file: str
    """The dotenv file's path."""
    key: str
    """The key in it."""


class DotenvSource(Model):
    """A key of a dotenv file, kept apart from interpolation."""

    dotenv: DotenvKey
    """The file and the key."""


class CommandSource(Model):
    """What a program prints, without its trailing newline. Runs on the host: needs approval."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments; no shell."""


class KeyringSource(Model):
    """The operating system's keyring (not supported yet)."""

    keyring: str
    """The entry's name."""


SecretSource = EnvironmentSource | FileSource | DotenvSource | CommandSource | KeyringSource


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


SecretSources = Annotated[tuple[SecretSource, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=1)]
"""One source; several in order come with ordered fallback (not supported yet)."""


class SecretUse(Model):
    """A secret that a server gets: as the file `/run/secrets/<source>`, or as an environment variable."""

    source: Annotated[str, Field(min_length=1)]
    """The name under the top-level `secrets`."""
    env: str | None = None
    """Deliver it as this environment variable, which the engine's `inspect` shows to whoever may ask it."""
    target: str | None = None
    """The file's name below `/run/secrets`; default: the source's name."""
