"""
Secrets of container engines, as far as their values can be had at all.

Docker gives the value of a secret only to containers that were given it: it is read where Docker puts it, for an
mcp-compose that runs in such a container. Podman says values to its user (`secret inspect --showsecret`, from 4.7 on).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpcompose.errors import UsageError
from mcpcompose.secrets.base import MAX_BYTES, Absent, Kept, StoreUnusable, checked
from mcpcompose.secrets.file import FileProvider, without_newline
from mcpcompose.secrets.program import NotRunError, Ran, run

MOUNTED: Final = Path("/run/secrets")
"""Where Docker, Compose and Podman put the secrets of a container."""
TIME_LIMIT: Final = 30.0
_NOT_TEXT: Final = "\N{REPLACEMENT CHARACTER}"
_OLDER: Final = "older than Podman 4.7, which is the first that says values"


@dataclass(frozen=True, slots=True)
class DockerProvider:
    """The secret *name* that Docker mounted into the container that mcp-compose runs in."""

    name: str
    folder: Path = MOUNTED

    @property
    def description(self) -> str:
        """What is asked."""
        return f"Docker secret `{self.name}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return (
            f"give the secret `{self.name}` to the container that mcp-compose runs in; elsewhere name another source, "
            "such as `keyring`: Docker tells nobody a secret's value"
        )

    async def read(self) -> bytes | Absent:
        """The value, without one trailing newline."""
        found = await FileProvider(self.folder / self.name).read()
        if isinstance(found, Absent):
            return Absent(f"not mounted at `{self.folder / self.name}` ({found.reason})")
        return found


@dataclass(frozen=True, slots=True)
class PodmanProvider:
    """The secret *name* of this user's Podman."""

    name: str
    environ: Mapping[str, str] = field(repr=False)

    @property
    def description(self) -> str:
        """What is asked."""
        return f"Podman secret `{self.name}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"make it with `podman secret create {self.name} -`"

    async def read(self) -> bytes | Absent:
        """The value, without one trailing newline."""
        try:
            ran = await self._podman("inspect", "--showsecret", self.name)
        except NotRunError as error:
            return Absent(f"`podman` {error}")
        if ran.code:
            if b"unknown flag" in ran.errors:
                return Absent(f"`podman` is {_OLDER}", "use a newer Podman, or another source")
            return Absent(
                "no such secret" if b"no secret" in ran.errors.lower() else f"`podman` exited with {ran.code}"
            )
        try:
            (said,) = json.loads(ran.output)
            text = said["SecretData"]
        except (ValueError, KeyError, TypeError):
            return Absent(f"`podman` said no value: it is {_OLDER}", "use a newer Podman, or another source")
        if not isinstance(text, str) or _NOT_TEXT in text:
            return Absent("its value is not text, which Podman cannot say", "use another source, such as `keyring`")
        return without_newline(text.encode()) or Absent("empty")

    async def write(self, value: bytes) -> Kept:
        """Keep *value*. Raises `UsageError` for one that Podman could not say again."""
        try:
            checked(value).decode()
        except UnicodeDecodeError:
            raise UsageError(
                "Podman says only values that are text", hint="use another source, such as `keyring`"
            ) from None
        await self._changed("create", "--replace", self.name, "-", given=value)
        return Kept(f"Podman's secret `{self.name}`")

    async def remove(self) -> tuple[str, ...]:
        """Forget it."""
        try:
            there = await self._podman("inspect", self.name)
        except NotRunError as error:
            raise StoreUnusable(f"`podman` {error}") from None
        if there.code:
            return ()
        await self._changed("rm", self.name)
        return (f"Podman's secret `{self.name}`",)

    async def _changed(self, *arguments: str, given: bytes | None = None) -> None:
        try:
            ran = await self._podman(*arguments, given=given)
        except NotRunError as error:
            raise StoreUnusable(f"`podman` {error}") from None
        if ran.code:
            why = f"is {_OLDER}" if b"unknown flag" in ran.errors else f"exited with code {ran.code}"
            raise StoreUnusable(f"`podman secret {arguments[0]}` cannot be used: `podman` {why}")

    async def _podman(self, *arguments: str, given: bytes | None = None) -> Ran:
        return await run(
            ("podman", "secret", *arguments), self.environ, Path("/"),
            time_limit=TIME_LIMIT, most=8 * MAX_BYTES, given=given, hear_errors=True,
        )  # fmt: skip
