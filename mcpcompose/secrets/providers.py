"""From a source as the file says it to the provider that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from mcpcompose.errors import UsageError
from mcpcompose.secrets.base import Provider
from mcpcompose.secrets.command import CommandProvider
from mcpcompose.secrets.dotenv import DotenvProvider
from mcpcompose.secrets.environment import EnvironmentProvider
from mcpcompose.secrets.file import FileProvider
from mcpcompose.spec.secret import (
    CommandSource,
    DotenvSource,
    EnvironmentSource,
    FileSource,
    KeyringSource,
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


def provider(source: SecretSource, where: Surroundings) -> Provider:
    """The provider of *source*. Raises `UsageError` for one that is not supported yet."""
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
            raise UsageError("secret provider `keyring` is not supported yet")
        case _:
            assert_never(source)


def source_path(text: str, home: Path, directory: Path) -> Path:
    """The absolute path of a secret's file: `~` is *home*, relative ones are below *directory*."""
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return directory / text
