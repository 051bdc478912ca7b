"""
The encrypted file: the keyring of a machine that has no keyring service.

Written whole or not at all, under a lock, mode 0600; a link, another user's file and one that others can read are
refused. Nothing is ever started over by itself: a key that is gone or a file that is damaged is an error.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.file_lock import lock
from mcpcompose.paths import private_folder
from mcpcompose.secrets.base import StoreUnusable
from mcpcompose.secrets.file import without_newline
from mcpcompose.secrets.places import KeyringPlaces, write_private
from mcpcompose.secrets.sealing import KEY_BYTES, Key, SealBrokenError, file_key, passphrase_key, seal, unseal

MOST_BYTES: Final = 32 << 20
"""The largest sealed file that is read."""
_PATIENCE: Final = 10.0
_VARIABLE: Final = "MCP_COMPOSE_KEYRING_PASSPHRASE_FILE"


class EncryptedFile:
    """The values in the file of *places*. Every method blocks, and raises `StoreUnusable`."""

    def __init__(self, places: KeyringPlaces) -> None:
        self._places = places

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"encrypted file `{self._places.sealed}`"

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept in it."""
        return os.path.lexists(self._places.sealed)

    def get(self, name: str) -> bytes | None:
        """The value of *name*."""
        return self._open()[0].get(name)

    def set(self, name: str, value: bytes) -> None:
        """Keep *value* as *name*."""
        with self._locked():
            values, key = self._open()
            self._write({**values, name: value}, key or self._fresh_key())

    def remove(self, name: str) -> bool:
        """Forget *name*; whether it was there."""
        if not self.exists:
            return False
        with self._locked():
            values, key = self._open()
            if key is None or name not in values:
                return False
            del values[name]
            self._write(values, key)
        return True

    def _write(self, values: Mapping[str, bytes], key: Key) -> None:
        content = seal(values, key)
        if len(content) > MOST_BYTES:
            raise StoreUnusable(f"{self.description} would be larger than {MOST_BYTES} bytes")
        try:
            write_private(self._places.sealed, content)
        except (OSError, McpComposeError) as error:
            raise self._unusable(_why(error)) from error

    def _open(self) -> tuple[dict[str, bytes], Key | None]:
        try:
            content = _read_private(self._places.sealed, MOST_BYTES)
        except FileNotFoundError:
            return {}, None
        except OSError as error:
            raise self._unusable(_why(error)) from error
        try:
            return unseal(content, self._key)
        except SealBrokenError as error:
            raise self._unusable(
                str(error), f"restore `{self._places.sealed}`, or remove it and set its secrets again"
            ) from error

    def _key(self, header: Mapping[str, Any]) -> Key:
        """The key that *header* names."""
        kind = header.get("kind")
        if kind == "scrypt":
            if self._places.passphrase is None:
                raise self._unusable("it is sealed with a passphrase", f"name the passphrase's file with `{_VARIABLE}`")
            return passphrase_key(self._passphrase(self._places.passphrase), header)
        if kind != "file":
            raise SealBrokenError("it was written by a newer `mcp-compose`")
        if self._places.passphrase is not None:
            raise self._unusable(
                f"`{_VARIABLE}` is set, and it is sealed with `{self._places.key}`", f"unset `{_VARIABLE}`"
            )
        key = self._key_file()
        if key is None:
            step = f"restore the key, or remove `{self._places.sealed}` and set its secrets again"
            raise self._unusable(f"its key `{self._places.key}` is gone", step)
        if key.header != header:
            raise SealBrokenError(f"it was sealed with another key than `{self._places.key}`")
        return key

    def _fresh_key(self) -> Key:
        """The key of a file that is not there yet."""
        if self._places.passphrase is not None:
            return passphrase_key(self._passphrase(self._places.passphrase))
        key = self._key_file()
        if key is not None:
            return key
        path = self._places.key
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            write_private(draft, secrets.token_bytes(KEY_BYTES))
            _become(draft, path)
        except (OSError, McpComposeError) as error:
            raise self._unusable(f"its key `{path}` cannot be made: {_why(error)}") from error
        made = self._key_file()
        if made is None:
            raise self._unusable(f"its key `{path}` is gone")
        return made

    def _key_file(self) -> Key | None:
        path = self._places.key
        try:
            content = _read_private(path, KEY_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(f"its key `{path}`: {_why(error)}") from error
        if len(content) != KEY_BYTES:
            raise self._unusable(f"its key `{path}` is damaged", f"restore `{path}`")
        return file_key(content)

    def _passphrase(self, path: Path) -> bytes:
        try:
            passphrase = without_newline(_read_private(path, 1 << 16, links=True))
        except OSError as error:
            raise self._unusable(f"the passphrase in `{path}`: {_why(error)}", f"look at `{_VARIABLE}`") from error
        if not passphrase:
            raise self._unusable(f"the passphrase in `{path}` is empty", f"look at `{_VARIABLE}`")
        return passphrase

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time."""
        try:
            private_folder(self._places.data)
            descriptor = lock(self._places.lock, _PATIENCE)
        except (OSError, McpComposeError) as error:
            raise self._unusable(_why(error)) from error
        if descriptor is None:
            raise self._unusable("another process has been writing it for a while", "try again")
        try:
            yield
        finally:
            os.close(descriptor)

    def _unusable(self, reason: str, step: str | None = None) -> StoreUnusable:
        return StoreUnusable(f"{self.description} cannot be used: {reason}", hint=step)


def _become(draft: Path, path: Path) -> None:
    """Let *draft* be *path* unless there is one already, whose content counts; no draft stays."""
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            return
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _read_private(path: Path, most: int, *, links: bool = False) -> bytes:
    """
    The whole of a regular file of this user that nobody else can read. Raises `OSError` with what is wrong.

    With *links* it may be one of a service manager: reached by links, and readable by a group.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(0, "it is not a regular file")
        if info.st_uid not in {os.getuid(), 0}:
            raise OSError(0, "it belongs to another user")
        if info.st_mode & (0o007 if links else 0o077):
            raise OSError(0, f"others can read it; run `chmod 600 {path}`")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(0, f"it is larger than {most} bytes")
    return content


def _why(error: BaseException) -> str:
    if getattr(error, "errno", None) == errno.ELOOP:
        return "it is a symbolic link"
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
