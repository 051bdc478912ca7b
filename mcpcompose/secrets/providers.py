"""From a source as the file says it to the provider that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from mcpcompose.secrets.base import Provider
from mcpcompose.secrets.command import CommandProvider
from mcpcompose.secrets.dotenv import DotenvProvider
from mcpcompose.secrets.engine_secrets import MOUNTED, DockerProvider, PodmanProvider
from mcpcompose.secrets.environment import EnvironmentProvider
from mcpcompose.secrets.file import FileProvider
from mcpcompose.secrets.machine_keyring import KeyringProvider
from mcpcompose.secrets.places import KeyringPlaces, keyring_places
from mcpcompose.secrets.system_keyring import SystemKeyring
from mcpcompose.spec.secret import (
    CommandSource,
    DockerSource,
    DotenvSource,
    EnvironmentSource,
    FileSource,
    KeyringSource,
    PodmanSource,
    SecretSource,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    Where providers look: *variables* for `environment`, *host* as the environment of commands.

    They differ on purpose: what a `.env` in the repository says must not reach a program on the host.
    """

    variables: Mapping[str, str] = field(repr=False)
    host: Mapping[str, str] = field(repr=False)
    home: Path
    directory: Path
    system: SystemKeyring | None = None
    """The keyring that all providers of one round share; None: each asks for itself."""

    def keyring(self) -> KeyringPlaces:
        """Where the keyring keeps its files. Raises `UsageError`."""
        return keyring_places(self.host, self.home)


def provider(source: SecretSource, where: Surroundings) -> Provider:  # noqa: PLR0911  one for each kind
    """The provider of *source*. Raises `UsageError` where the environment makes no sense."""
    match source:
        case EnvironmentSource():
            return EnvironmentProvider(source.environment, where.variables)
        case FileSource():
            return FileProvider(source_path(source.file, where.home, where.directory))
        case DotenvSource():
            return DotenvProvider(source_path(source.dotenv.file, where.home, where.directory), source.dotenv.key)
        case CommandSource():
            return CommandProvider(source.command, where.host, where.directory)
        case KeyringSource():
            return KeyringProvider(source.keyring, where.system or SystemKeyring(where.host), where.keyring())
        case DockerSource():
            return DockerProvider(source.docker)
        case PodmanSource():
            return PodmanProvider(source.podman, where.host)
        case _:
            assert_never(source)


def files_of(source: SecretSource, home: Path, directory: Path, host: Mapping[str, str]) -> tuple[Path, ...]:
    """The files whose change may be another value of *source*, there or not."""
    match source:
        case FileSource():
            return (source_path(source.file, home, directory),)
        case DotenvSource():
            return (source_path(source.dotenv.file, home, directory),)
        case DockerSource():
            return (MOUNTED / source.docker,)
        case KeyringSource():
            places = keyring_places(host, home)
            return (places.mark, places.sealed)
        case PodmanSource():
            return (keyring_places(host, home).mark,)
        case EnvironmentSource() | CommandSource():
            return ()
        case _:
            assert_never(source)


def source_path(text: str, home: Path, directory: Path) -> Path:
    """The absolute path of a secret's file: `~` is *home*, relative ones are below *directory*."""
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return directory / text
