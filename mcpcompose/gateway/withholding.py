"""
What servers offer, without what the lock does not hold: everything after this knows only what was accepted.

A tool, prompt or template whose fingerprint is not the locked one is withheld as if the server had never offered it;
of a server that is launched in another way than it is locked, or not locked at all, everything is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from mcpcompose.spec.canonical import digest
from mcpcompose.spec.lockfile import KINDS, Kind, Lock, LockedServer, accept_command
from mcpcompose.upstream.base import ServerLists, Withheld

_NAMES: Final[Mapping[Kind, str]] = {"tool": "name", "prompt": "name", "template": "uriTemplate"}
_CALLED: Final = frozenset({"tools/call", "prompts/get"})
_EVERYTHING: Final = "{uri}"
"""As a template: whatever a client could name."""
UNKNOWN: Final = "is not in the lock"
Items = tuple[dict[str, Any], ...]


class Withholding:
    """Filters the lists of servers by a lock; what was filtered before is not looked at again."""

    def __init__(self) -> None:
        self._lock: Lock | None = None
        self._launches: Mapping[str, str] = {}
        self._known: dict[str, tuple[ServerLists, LockedServer | None, str, bool, ServerLists]] = {}
        self.found: dict[str, tuple[Withheld, ...]] = {}
        """By server, what is withheld of what it offers now."""

    def follow(self, lock: Lock | None, launches: Mapping[str, str]) -> None:
        """Servers are held to *lock* from now on; *launches* are their launch identities."""
        self._lock, self._launches = lock, launches

    def accepted(self, lists: Mapping[str, ServerLists]) -> dict[str, ServerLists]:
        """*lists* as the lock has accepted them."""
        if self._lock is None:
            self.found, self._known = {}, {}
            return dict(lists)
        return {name: self._of(name, offered) for name, offered in lists.items()}

    @property
    def looks(self) -> bool:
        """There is a lock."""
        return self._lock is not None

    def changes(self, lists: Mapping[str, ServerLists]) -> bool:
        """Whether something else is withheld of *lists* than before."""
        before = dict(self.found)
        self.accepted(lists)
        return before != self.found

    def admits(self, server: str, method: str, params: Mapping[str, Any]) -> bool:
        """Whether *server* still offers the tool or prompt of a call that waited for it."""
        known = self._known.get(server)
        if self._lock is None or known is None or method not in _CALLED:
            return True
        items = known[4].tools if method == "tools/call" else known[4].prompts
        return any(item.get("name") == params.get("name") for item in items)

    def forget(self, declared: Mapping[str, Any]) -> None:
        """Only these servers are still declared."""
        self.found = {name: found for name, found in self.found.items() if name in declared}
        self._known = {name: known for name, known in self._known.items() if name in declared}

    def _of(self, name: str, offered: ServerLists) -> ServerLists:
        lock = self._lock
        entry = lock.servers.get(name) if lock is not None else None
        launch, strict = self._launches.get(name, ""), lock is not None and lock.is_strict
        known = self._known.get(name)
        if known is not None and known[0] is offered and known[1:4] == (entry, launch, strict):
            return known[4]
        found = tuple(withheld(offered, entry, launch))
        kept = _nothing(offered) if strict and found else _kept(offered, entry, found)
        self._known[name] = (offered, entry, launch, strict, kept)
        self.found[name] = found
        if not found:
            del self.found[name]
        return kept


def summed(server: str, found: tuple[Withheld, ...]) -> str:
    """What is withheld of *server*, in one line with the next step."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    command = "mcp-compose lock" if found[0].why == UNKNOWN else accept_command(server)
    return f"withheld: {found[0]}{more}; accept with `{command}`"


def withheld(offered: ServerLists, entry: LockedServer | None, launch: str) -> Iterator[Withheld]:
    """What of *offered* was not accepted."""
    if entry is None:
        yield Withheld("server", "", UNKNOWN)
        return
    if entry.launch != launch:
        yield Withheld("server", "", "is launched in another way than the lock holds")
        return
    for kind in KINDS:
        held = entry.of(kind)
        for name, item in _named(offered, kind):
            if held.get(name) != digest(item):
                yield Withheld(kind, name, "changed" if name in held else "new")
    if offered.instructions is not None and digest(offered.instructions) != entry.instructions:
        yield Withheld("instructions", "", "changed" if entry.instructions else "new")


def fingerprints(offered: ServerLists) -> dict[str, Any]:
    """What the lock holds of *offered*: digests by name; of two with one name, the first is the one that is served."""
    found: dict[str, Any] = {f"{kind}s": {} for kind in KINDS}
    for kind in KINDS:
        for name, item in _named(offered, kind):
            found[f"{kind}s"].setdefault(name, digest(item))
    instructions = offered.instructions
    return {**found, "instructions": digest(instructions) if instructions is not None else None}


def _kept(offered: ServerLists, entry: LockedServer | None, found: tuple[Withheld, ...]) -> ServerLists:
    if not found:
        return offered
    if entry is None or found[0].kind == "server":
        return _nothing(offered)
    kinds = {one.kind for one in found}
    return replace(
        offered,
        tools=_only(offered, "tool", entry) if "tool" in kinds else offered.tools,
        prompts=_only(offered, "prompt", entry) if "prompt" in kinds else offered.prompts,
        templates=_only(offered, "template", entry) if "template" in kinds else offered.templates,
        instructions=None if "instructions" in kinds else offered.instructions,
        closed=tuple(one.name for one in found if one.kind == "template"),
    )


def _nothing(offered: ServerLists) -> ServerLists:
    """What is left of a server that is withheld as a whole: who it is."""
    return ServerLists(info=offered.info, capabilities={}, closed=(_EVERYTHING,))


def _only(offered: ServerLists, kind: Kind, entry: LockedServer) -> Items:
    held = entry.of(kind)
    return tuple(item for name, item in _named(offered, kind) if held.get(name) == digest(item))


def _named(offered: ServerLists, kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those with a name; what has none is not served anyway."""
    items = {"tool": offered.tools, "prompt": offered.prompts, "template": offered.templates}[kind]
    key = _NAMES[kind]
    for item in items:
        if isinstance(name := item.get(key), str):
            yield name, item
