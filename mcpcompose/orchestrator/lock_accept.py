"""
The next lock: what is held stays, what is new or accepted is as the servers offer it now.

Pure. What a server offers and the lock does not hold becomes part of it only when somebody accepts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpcompose.errors import UsageError
from mcpcompose.orchestrator.lock_changes import Change, server_changes
from mcpcompose.orchestrator.lock_pinning import sealed
from mcpcompose.spec.lockfile import KINDS, Lock, LockedServer

Offers = Mapping[str, Mapping[str, Any]]
"""Fingerprints of what each server offers: `tools`, `prompts`, `templates`, `instructions`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a person accepts: whole servers, or single names of them."""

    servers: frozenset[str] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()

    def takes(self, server: str, name: str) -> bool:
        """Whether that is accepted."""
        return server in self.servers or (server, name) in self.names

    @property
    def touched(self) -> frozenset[str]:
        """The servers of which something is accepted."""
        return self.servers | {server for server, _ in self.names}


def accepted(words: Iterable[str], declared: Iterable[str]) -> Accepted:
    """What `--accept SERVER` and `--accept SERVER/NAME` say. Raises `UsageError` for a server that is not declared."""
    known = list(declared)
    pairs = [word.partition("/") for word in words]
    for server, _, _ in pairs:
        if server not in known:
            raise UsageError(f"there is no server `{server}`", hint=f"there are {', '.join(known)}")
    return Accepted(
        frozenset(server for server, slash, _ in pairs if not slash),
        frozenset((server, name) for server, slash, name in pairs if slash),
    )


def next_entry(
    name: str, before: LockedServer | None, pins: LockedServer, offered: Any, choice: Accepted
) -> LockedServer:
    """The entry of *name*: with *pins*, and of what is *offered* what was accepted, or all of it for a new server."""
    if before is None or name in choice.servers:
        return as_offered(pins, offered)
    held: dict[str, Any] = {}
    for kind in KINDS:
        taken = {item: found for item, found in offered[f"{kind}s"].items() if choice.takes(name, item)}
        held[f"{kind}s"] = {**before.of(kind), **taken}
    if choice.takes(name, "instructions"):
        held["instructions"] = offered["instructions"]
    return sealed(before.model_copy(update=held))


def as_offered(pins: LockedServer, offered: Any) -> LockedServer:
    """An entry that holds everything that is offered."""
    held = {f"{kind}s": dict(offered[f"{kind}s"]) for kind in KINDS}
    return sealed(pins.model_copy(update={**held, "instructions": offered["instructions"]}))


def drift(name: str, entry: LockedServer, offered: Any) -> tuple[Change, ...]:
    """What is *offered* and not held; what is missing is no drift."""
    return tuple(one for one in server_changes(name, entry, as_offered(entry, offered)) if one.sign != "-")


def without(lock: Lock, names: Iterable[str]) -> Lock:
    """*lock* without the servers *names*."""
    gone = set(names)
    kept = {name: entry for name, entry in lock.servers.items() if name not in gone}
    return lock.model_copy(update={"servers": kept})
