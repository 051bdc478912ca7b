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
    """The user's keyring: the operating system's, or the encrypted file of a machine that has none."""

    keyring: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@:/-]{0,199}$")]
    """The entry's name, the same for all projects of a user; `mcp-compose secret set` sets it."""


class DockerSource(Model):
    """A secret that Docker mounted into the container that `mcp-compose` runs in; needs approval."""

    docker: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    """The secret's name."""


class PodmanSource(Model):
    """A secret of the user's Podman (4.7 or later). Runs `podman` on the host: needs approval."""

    podman: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    """The secret's name."""


SecretSource = (
    EnvironmentSource | FileSource | DotenvSource | CommandSource | KeyringSource | DockerSource | PodmanSource
)

PROVIDERS = ("environment", "file", "dotenv", "command", "keyring", "docker", "podman")
"""The keys that say where a value comes from; exactly one of them is given."""


def provider_of(source: SecretSource) -> str:
    """The key that *source* is written with."""
    return next(key for key in PROVIDERS if key in type(source).model_fields)


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
    | Annotated[KeyringSource, Tag("keyring")]
    | Annotated[DockerSource, Tag("docker")]
    | Annotated[PodmanSource, Tag("podman")],
    Discriminator(_provider),
]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


SecretSources = Annotated[
    tuple[_AnySource, ...],
    Field(min_length=1, max_length=16),
    BeforeValidator(_as_list),
]
"""One source, or several in order: the first that has a value counts."""


class SecretUse(Model):
    """A secret that a server gets: as the file `/run/secrets/<source>`, or as an environment variable."""

    source: Annotated[str, Field(min_length=1)]
    """The name under the top-level `secrets`."""
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Deliver it as this environment variable, which the engine's `inspect` shows to whoever may ask it."""
    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] | None = None
    """The file's name below `/run/secrets`; default: the source's name."""
