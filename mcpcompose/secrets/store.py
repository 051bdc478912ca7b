"""
Keep, forget and look for values, by source: what `secret set|ls|rm` and `import` do.

Looking never runs a program that the file names, and never hands a value out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mcpcompose.errors import UsageError
from mcpcompose.secrets.base import Absent, Kept, WritableProvider
from mcpcompose.secrets.machine_keyring import KeyringProvider
from mcpcompose.secrets.providers import Surroundings, provider
from mcpcompose.spec.secret import CommandSource, PodmanSource, SecretSource


class State(StrEnum):
    """Whether a source has a value."""

    PRESENT = "present"
    MISSING = "missing"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Look:
    """What looking at one source found; *where* is the place that has it, *reason* why none does."""

    state: State
    where: str = ""
    reason: str = ""


def is_writable(source: SecretSource, where: Surroundings) -> bool:
    """Whether values of *source* can be set and removed."""
    return isinstance(provider(source, where), WritableProvider)


async def set_value(source: SecretSource, value: bytes, where: Surroundings) -> Kept:
    """Keep *value*. Raises `UsageError` for a source that is only read, and for values that cannot be kept."""
    kept = await _writable(source, where).write(value)
    where.keyring().changed()
    return kept


async def remove(source: SecretSource, where: Surroundings) -> tuple[str, ...]:
    """Forget the value of *source*; where it was. Raises `UsageError` for a source that is only read."""
    removed = await _writable(source, where).remove()
    where.keyring().changed()
    return removed


async def has(source: SecretSource, where: Surroundings) -> Look:
    """Whether *source* has a value."""
    if isinstance(source, (CommandSource, PodmanSource)):
        return Look(State.NOT_ASKED)
    asked = provider(source, where)
    if isinstance(asked, KeyringProvider):
        held = await asked.held()
        if isinstance(held, Absent):
            return Look(State.MISSING, reason=held.reason)
        return Look(State.PRESENT, where=held[0])
    value = await asked.read()
    if isinstance(value, Absent):
        return Look(State.MISSING, reason=value.reason)
    return Look(State.PRESENT, where=asked.description)


def _writable(source: SecretSource, where: Surroundings) -> WritableProvider:
    asked = provider(source, where)
    if not isinstance(asked, WritableProvider):
        raise UsageError(f"{asked.description} is only read", hint=asked.next_step)
    return asked
