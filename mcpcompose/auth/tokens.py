"""
The bearer tokens of a project's clients: random, one per client, in one 0600 file outside the repository.

A token is looked up by its digest, so that the time of a check says nothing about any token.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mcpcompose.errors import UsageError

DEFAULT_CLIENT: Final = "default"
DEFAULT_PROFILE: Final = "default"
_PREFIX: Final = "mcpc_"
_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks whether another process changed the file."""


class Tokens:
    """
    The tokens of one project.

    *bindings* say which clients there are and which profile each is bound to; a client that is no longer
    among them is no longer let in. The client `default` with the profile `default` is always there.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._bindings: dict[str, str] = {DEFAULT_CLIENT: DEFAULT_PROFILE}
        self._by_digest: dict[bytes, str] = {}
        self._digests: dict[str, bytes] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._looked = -_LOOK_AGAIN

    def bind(self, bindings: Mapping[str, str]) -> None:
        """Set which clients there are, and their profiles."""
        self._bindings = {DEFAULT_CLIENT: DEFAULT_PROFILE} | dict(bindings)

    @property
    def clients(self) -> dict[str, str]:
        """Every client with its profile."""
        return dict(self._bindings)

    def is_bound(self, client: str, profile: str) -> bool:
        """Whether *client* is still bound to *profile*."""
        return self._bindings.get(client) == profile

    def token(self, client: str = DEFAULT_CLIENT) -> str:
        """The token of *client*, made on first use. Raises `UsageError` for an unknown client."""
        self._known(client)
        with self._locked():
            tokens = self._read()
            if client not in tokens:
                tokens[client] = _new_token()
                self._write(tokens)
            self._index(tokens)
            return tokens[client]

    def rotate(self, client: str = DEFAULT_CLIENT) -> str:
        """Give *client* another token; the old one is worth nothing from now on."""
        self._known(client)
        with self._locked():
            tokens = self._read() | {client: _new_token()}
            self._write(tokens)
            self._index(tokens)
            return tokens[client]

    def check(self, token: str) -> tuple[str, str] | None:
        """Whose token it is, as (client, profile)."""
        now = self._clock()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._refresh()
        digest = self._digests.get(token) or _digest(token)
        client = self._by_digest.get(digest)
        if client is not None:
            self._digests[token] = digest  # of tokens that are good only: nobody can fill it
        else:  # made by another process just now, as `run --stdio` does
            self._refresh()
            client = self._by_digest.get(digest)
        if client is None or (profile := self._bindings.get(client)) is None:
            return None
        return client, profile

    def _known(self, client: str) -> None:
        if client not in self._bindings:
            known = ", ".join(f"`{name}`" for name in sorted(self._bindings))
            raise UsageError(f"there is no client `{client}`", hint=f"clients of this project: {known}")

    def _refresh(self) -> None:
        if _stamp(self._path) != self._stamp:
            self._index(self._read())

    def _index(self, tokens: Mapping[str, str]) -> None:
        self._stamp = _stamp(self._path)
        self._by_digest = {_digest(token): client for client, token in tokens.items()}
        self._digests = {}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file against another process that reads, changes and writes it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {
            client: token for client, token in content.items() if isinstance(client, str) and isinstance(token, str)
        }

    def _write(self, tokens: Mapping[str, str]) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(tokens), file)
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def _new_token() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size
