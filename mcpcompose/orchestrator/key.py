"""The key of this project's digests of values; random, made on first use, readable by its user only."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from mcpcompose.paths import ProjectPaths, private_folder

_LENGTH: Final = 32
_SEALS: Final = b"mcp-compose: what clients hold for servers"


def digest_key(paths: ProjectPaths) -> bytes:
    """The key, the same on every call."""
    path = private_folder(paths.state) / "digest.key"
    if key := _read(path):
        return key
    fresh = path.with_name(f".digest.{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_LENGTH))
    if path.exists():  # of a wrong length: not ours to keep
        fresh.replace(path)
    else:
        with suppress(FileExistsError):  # another process was first; its key counts
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()


def sealing_key(paths: ProjectPaths) -> bytes:
    """The key of what clients hold for servers; what they hold stays good when the gateway starts again."""
    return hmac.digest(digest_key(paths), _SEALS, "sha256")


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == _LENGTH else None
