"""The seam of secret providers: each knows one place where a value may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider does not have it; *reason* for people, never with a value in it."""

    reason: str


class Provider(Protocol):
    """One place where a secret's value may be."""

    @property
    def description(self) -> str:
        """What is asked, for people: "environment variable `X`"."""

    @property
    def next_step(self) -> str:
        """What a person does to make the value be there."""

    async def read(self) -> bytes | Absent:
        """The value as bytes, never empty; `Absent` when it cannot be had, for whatever reason."""
