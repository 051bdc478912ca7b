"""
Where this user's keyring keeps its files, for all projects.

The sealed values lie in the data folder, the key to them in the state folder: a backup, a synchronised folder or a
repository with one of the two holds nothing that can be read.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.errors import McpComposeError, UsageError
from mcpcompose.paths import private_folder

KINDS: Final = ("auto", "system", "file")
"""What `MCP_COMPOSE_KEYRING` may say."""


@dataclass(frozen=True, slots=True)
class KeyringPlaces:
    """The folders, and what the person chose."""

    data: Path
    state: Path
    kind: str = "auto"
    passphrase: Path | None = None
    """The file that holds the passphrase; None: the key is a file of its own."""

    @property
    def sealed(self) -> Path:
        """The sealed values."""
        return self.data / "keyring.json"

    @property
    def lock(self) -> Path:
        """Held by who writes."""
        return self.data / "keyring.lock"

    @property
    def mark(self) -> Path:
        """Written anew with every change of any value, also of those in the system's keyring: gateways watch it."""
        return self.data / "changed"

    @property
    def key(self) -> Path:
        """The key to the sealed values."""
        return self.state / "keyring.key"

    @property
    def folders(self) -> tuple[Path, Path]:
        """What no server may mount."""
        return (self.data, self.state)

    def changed(self) -> None:
        """Tell every gateway of this user that a value changed; without a disk they learn it at the next `up`."""
        with suppress(OSError, McpComposeError):
            write_private(self.mark, secrets.token_hex(16).encode())


def keyring_places(environ: Mapping[str, str], home: Path) -> KeyringPlaces:
    """The places as *environ* says. Raises `UsageError` for a `MCP_COMPOSE_KEYRING` that makes no sense."""
    kind = environ.get("MCP_COMPOSE_KEYRING") or "auto"
    if kind not in KINDS:
        raise UsageError(
            f"`MCP_COMPOSE_KEYRING` is `{kind}`", hint=f"it is one of {', '.join(f'`{k}`' for k in KINDS)}"
        )
    named = environ.get("MCP_COMPOSE_KEYRING_PASSPHRASE_FILE")
    passphrase = home.joinpath(*Path(named).parts[1:]) if named and named.startswith("~/") else named and Path(named)
    data, state = _bases(environ, home)
    return KeyringPlaces(data / "keyring", state / "keyring", kind, passphrase or None)


def _bases(environ: Mapping[str, str], home: Path) -> tuple[Path, Path]:
    if base := environ.get("MCP_COMPOSE_HOME"):
        return Path(base) / "data", Path(base) / "state"
    if sys.platform == "darwin":
        support = home / "Library" / "Application Support" / "mcp-compose"
        return support / "data", support
    data = _folder(environ.get("XDG_DATA_HOME"), home / ".local" / "share")
    state = _folder(environ.get("XDG_STATE_HOME"), home / ".local" / "state")
    return data / "mcp-compose", state / "mcp-compose"


def _folder(named: str | None, default: Path) -> Path:
    """What the XDG rules say: only absolute paths count."""
    return Path(named) if named and Path(named).is_absolute() else default


def write_private(path: Path, content: bytes) -> None:
    """Replace *path* by *content* as a whole, mode 0600, on disk when this returns. Raises `OSError`."""
    folder = private_folder(path.parent)
    draft = folder / f".{path.name}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
