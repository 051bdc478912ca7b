"""
The credentials of registries, as `docker login` left them.

Read from the person's Docker configuration, never from a project: `auths`, and the programs that `credHelpers` and
`credsStore` name. Such a program is looked for on the absolute folders of `PATH` only, started without a shell, in the
home folder, told the registry on its standard input, and held to a size and a time.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcpcompose.catalog.reference import HUB
from mcpcompose.errors import FetchFailed
from mcpcompose.secrets.program import NotRunError, run

HELPER_SECONDS: Final = 60.0
"""A helper may have to ask a person to unlock a keychain."""
_MAX_CONFIG: Final = 1 << 20
_MAX_ANSWER: Final = 1 << 16
_HUB_KEY: Final = "https://index.docker.io/v1/"
_PROGRAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NOT_FOUND: Final = "credentials not found"
_TOKEN_USER: Final = "<token>"  # noqa: S105  the name that means "this is a token"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to one registry. An *identity* token takes the place of a password."""

    user: str
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)

    def basic(self) -> str:
        """The header of basic authentication."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class DockerLogins:
    """What `docker login` left on this machine."""

    def __init__(self, environ: Mapping[str, str], home: Path, *, seconds: float = HELPER_SECONDS) -> None:
        folder = environ.get("DOCKER_CONFIG")
        self._file = (Path(folder) if folder else home / ".docker") / "config.json"
        self._environ, self._home, self._seconds = environ, home, seconds
        self._read: dict[str, Any] | None = None

    def knows(self, registry: str) -> bool:
        """Somebody logged in there."""
        config = self._config()
        return any(key in config["auths"] or key in config["credHelpers"] for key in _keys(registry))

    async def of(self, registry: str) -> Credentials | None:
        """The credentials for *registry*, or None. Raises `FetchFailed` when a helper breaks."""
        config = self._config()
        for key in _keys(registry):
            if helper := config["credHelpers"].get(key):
                return await self._asked(helper, key)
        if store := config["credsStore"]:
            # The store is asked for what was logged in to only: a project's file must not make it look for more.
            for key in (key for key in _keys(registry) if key in config["auths"]):
                if found := await self._asked(store, key):
                    return found
        for key in _keys(registry):
            if found := _written(config["auths"].get(key)):
                return found
        return None

    def _config(self) -> dict[str, Any]:
        if self._read is None:
            self._read = self._parsed()
        return self._read

    def _parsed(self) -> dict[str, Any]:
        try:
            with self._file.open("rb") as file:
                content = file.read(_MAX_CONFIG + 1)
        except FileNotFoundError:
            return {"auths": {}, "credHelpers": {}, "credsStore": ""}
        except OSError as error:
            raise FetchFailed(f"`{self._file}` cannot be read: {error.strerror}") from error
        try:
            config = json.loads(content) if len(content) <= _MAX_CONFIG else None
        except (ValueError, RecursionError):
            config = None
        if not isinstance(config, dict):
            raise FetchFailed(
                f"`{self._file}` is not a Docker configuration", hint="it is JSON, written by `docker login`"
            )
        found = {key: config.get(key) for key in ("auths", "credHelpers")}
        tables = {key: value if isinstance(value, dict) else {} for key, value in found.items()}
        store = config.get("credsStore")
        return {**tables, "credsStore": store if isinstance(store, str) else ""}

    async def _asked(self, helper: object, key: str) -> Credentials | None:
        if not isinstance(helper, str) or not _PROGRAM.fullmatch(helper):
            raise FetchFailed(f"`{self._file}` names a credential helper that cannot be one")
        name = f"docker-credential-{helper}"
        folders = [
            folder for folder in self._environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()
        ]
        program = shutil.which(name, path=os.pathsep.join(folders))
        if program is None:
            raise FetchFailed(f"`{name}` is not installed", hint=f"`{self._file}` names it for `{key}`")
        try:
            done = await run(
                [program, "get"],
                self._environ,
                self._home,
                time_limit=self._seconds,
                most=_MAX_ANSWER,
                given=key.encode(),
            )
        except NotRunError as error:
            raise FetchFailed(f"`{name}`: {error}") from None
        if done.code != 0 and _NOT_FOUND in done.output.decode("utf-8", "replace").lower():
            return None
        if done.code != 0:
            raise FetchFailed(f"`{name}` failed with code {done.code}", hint=f"try `docker login {key}`")
        return _answered(done.output, name)


def _keys(registry: str) -> tuple[str, ...]:
    """What a registry may be called in the configuration."""
    if registry == HUB:
        return (_HUB_KEY, "index.docker.io", HUB, "registry-1.docker.io")
    return (
        registry,
        f"https://{registry}",
        f"https://{registry}/",
        f"https://{registry}/v1/",
        f"https://{registry}/v2/",
    )


def _written(entry: object) -> Credentials | None:
    """Credentials that stand in the configuration itself."""
    if not isinstance(entry, dict):
        return None
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    user, password = texts.get("username", ""), texts.get("password", "")
    if packed := texts.get("auth"):
        try:
            user, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    identity = texts.get("identitytoken", "")
    return Credentials(user, password.rstrip("\0"), identity) if user or identity else None


def _answered(stdout: bytes, name: str) -> Credentials:
    try:
        answer = json.loads(stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FetchFailed(f"`{name}` answered what no credential helper answers") from None
    return Credentials("", identity=secret) if user == _TOKEN_USER else Credentials(user, secret)
