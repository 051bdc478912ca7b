"""Where secret values come from, as the file says it: references only, never values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

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

    file: Annotated[str, Field(min_length=1)]
    """The dotenv file's path."""
    key: Annotated[str, Field(min_length=1)]
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

PROVIDERS = ("environment", "file", "dotenv", "command", "keyring")
"""The keys that say where a value comes from; exactly one of them is given."""


def _provider(value: Any) -> str | None:
    """Which kind of source *value* is, by its key, so that errors are about that kind."""
    if isinstance(value, Model):
        return next(key for key in PROVIDERS if key in type(value).model_fields)
    return next((key for key in PROVIDERS if key in value), None) if isinstance(value, dict) else None


_AnySource = Annotated[
    Annotated[EnvironmentSource, Tag("environment")]
    | Annotated[FileSource, Tag("file")]
    | Annotated[DotenvSource, Tag("dotenv")]
    | Annotated[CommandSource, Tag("command")]
    | Annotated[KeyringSource, Tag("keyring")],
    Discriminator(_provider),
]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


SecretSources = Annotated[
    tuple[_AnySource, ...],
    Field(min_length=1, max_length=1),
    BeforeValidator(_as_list),
]
"""One source; several in order come with ordered fallback (not supported yet)."""


class SecretUse(Model):
    """A secret that a server gets: as the file `/run/secrets/<source>`, or as an environment variable."""

    source: Annotated[str, Field(min_length=1)]
    """The name under the top-level `secrets`."""
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Deliver it as this environment variable, which the engine's `inspect` shows to whoever may ask it."""
    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = None
    """The file's name below `/run/secrets`; default: the source's name."""
