"""
The provider behind `keyring:`: the operating system's keyring, or the encrypted file of a machine that has none.

Which one is `MCP_COMPOSE_KEYRING`: `system`, `file`, or `auto` (the default): the system's where one answers. Where a
value was put is said every time, and a value is in one of the two only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from mcpcompose.secrets.base import Absent, Kept, StoreUnusable, checked
from mcpcompose.secrets.encrypted_file import EncryptedFile
from mcpcompose.secrets.places import KeyringPlaces
from mcpcompose.secrets.system_keyring import Answer, NoKeyring, SystemKeyring, Unanswered, unusable

_NOT_THERE: Final = Absent("no such entry")


@dataclass(frozen=True, slots=True)
class KeyringProvider:
    """The entry *name* of this user's keyring."""

    name: str
    system: SystemKeyring
    places: KeyringPlaces

    @property
    def description(self) -> str:
        """What is asked."""
        return f"keyring entry `{self.name}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"put it into the keyring as `{self.name}`"

    @property
    def file(self) -> EncryptedFile:
        """The encrypted file."""
        return EncryptedFile(self.places)

    async def read(self) -> bytes | Absent:
        """The value."""
        problem = _NOT_THERE
        if self.places.kind != "file":
            said = await self.system.get(self.name)
            if isinstance(said, Answer) and said.value:
                return said.value
            problem = _absent(said)
            if self.places.kind == "system" or (isinstance(said, Answer) and not self.file.exists):
                return problem
        return await self._from_file(problem)

    async def held(self) -> tuple[str, ...] | Absent:
        """Where it is, without reading it any further than must be; `Absent` when it is nowhere."""
        problem = _NOT_THERE
        if self.places.kind != "file":
            said = await self.system.has(self.name)
            if isinstance(said, tuple):
                if said[1]:
                    return (f"keyring ({said[0]})",)
            else:
                problem = _absent(said)
            if self.places.kind == "system":
                return problem
        found = await self._from_file(problem)
        return found if isinstance(found, Absent) else (self.file.description,)

    async def write(self, value: bytes) -> Kept:
        """Keep *value* in the one place that is chosen, and no longer in the other."""
        checked(value)
        remark = ""
        if self.places.kind != "file":
            said = await self.system.set(self.name, value)
            if isinstance(said, str):
                await asyncio.to_thread(self._leave_file)
                self.places.changed()
                return Kept(f"the keyring ({said})")
            remark = f"{said.reason} on this machine: values are kept in an encrypted file; {_key(self.places)}"
            if self.places.kind == "system":
                raise StoreUnusable(f"there is no keyring: {said.reason}", hint="see `MCP_COMPOSE_KEYRING`")
        await asyncio.to_thread(self.file.set, self.name, value)
        self.places.changed()
        return Kept(f"the {self.file.description}", remark)

    async def remove(self) -> tuple[str, ...]:
        """Forget it, in both places."""
        found: list[str] = []
        if self.places.kind != "file":
            said = await self.system.remove(self.name)
            if isinstance(said, str):
                found.append(f"the keyring ({said})")
        if await asyncio.to_thread(self._leave_file):
            found.append(f"the {self.file.description}")
        self.places.changed()
        return tuple(found)

    def _leave_file(self) -> bool:
        """
        Forget what the file has, so that no old value comes back where the keyring does not answer; whether it had one.

        A file that cannot be used is not in the way of who wants the keyring alone.
        """
        try:
            return self.file.remove(self.name)
        except StoreUnusable:
            if self.places.kind == "system":
                return False
            raise

    async def _from_file(self, problem: Absent) -> bytes | Absent:
        try:
            found = await asyncio.to_thread(self.file.get, self.name)
        except StoreUnusable as error:
            return Absent(error.message, error.hint or "")
        return found or problem


def _key(places: KeyringPlaces) -> str:
    if places.passphrase is not None:
        return f"it is sealed with the passphrase in `{places.passphrase}`"
    return f"who can read its key `{places.key}` can open it"


def _absent(said: Answer | Unanswered | NoKeyring) -> Absent:
    match said:
        case Answer(backend=backend):
            return Absent(f"{backend} has no such entry")
        case NoKeyring(reason=reason):
            return Absent(f"{reason}, and the encrypted file has no such entry")
        case Unanswered():
            error = unusable(said)
            return Absent(f"{said.backend}: {said.reason}", error.hint or "")
