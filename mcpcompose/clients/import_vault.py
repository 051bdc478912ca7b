"""The secrets that an import finds: each gets a name, and its value never stands anywhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_PLAIN: Final = re.compile(r"[^a-z0-9]+")
_LONGEST: Final = 48


@dataclass(frozen=True, slots=True)
class Found:
    """
    A secret: its *value* as the client's file had it, or *source* where it says where the value is.

    With neither it was only a place for one: somebody has to set it.
    """

    name: str
    value: str | None = field(default=None, repr=False)
    source: dict[str, Any] | None = None


class Vault:
    """
    All secrets of one import, by name.

    *there* are the secrets of the file that is added to: one that is the same is used, another keeps its name.
    *known* are values found already, which are secrets wherever they stand.
    """

    def __init__(self, there: Mapping[str, Sequence[Found]] | None = None, known: Iterable[str] = ()) -> None:
        self.known = tuple(sorted(set(known), key=len, reverse=True))
        self._found: dict[str, Found] = {}
        self._there = there or {}

    @property
    def found(self) -> list[Found]:
        """In the order they were found; without those that the file has already."""
        return [one for one in self._found.values() if one.name not in self._there]

    def keep(self, wanted: str, value: str, server: str) -> str:
        """The name under which *value* is kept; the same value wanted under the same name is one secret."""
        return self._put(wanted, server, lambda name: Found(name, value=value))

    def refer(self, wanted: str, source: dict[str, Any], server: str) -> str:
        """The name of a secret whose value is elsewhere already."""
        return self._put(wanted, server, lambda name: Found(name, source=source))

    def ask(self, wanted: str, server: str) -> str:
        """The name of a secret that somebody has to set."""
        return self._put(wanted, server, Found)

    def values(self) -> list[str]:
        """Every value."""
        return [one.value for one in self._found.values() if one.value]

    def _put(self, wanted: str, server: str, make: Callable[[str], Found]) -> str:
        base = secret_name(wanted)
        for name in (base, secret_name(f"{server}_{base}"), *(f"{base[:_LONGEST]}_{n}" for n in range(2, 1000))):
            made = make(name)
            if name in self._there and made not in self._there[name]:
                continue
            if self._found.setdefault(name, made) == made:
                return name
        raise AssertionError(wanted)


def secret_name(text: str) -> str:
    """*text* as a secret's name: small letters, digits and `_`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    word = _PLAIN.sub("_", apart.lower()).strip("_")[:_LONGEST].strip("_")
    return word or "secret"
