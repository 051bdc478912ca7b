"""
What servers offer, without what was not accepted: everything after this knows only that.

With a lock, a tool, prompt or template whose fingerprint is not the locked one is withheld as if the server had never
offered it; of a server that is launched in another way than it is locked, or not locked at all, everything is. Without
one, the same holds for what was seen first (`first_sight`), but for definitions that are plainly poisoned: those are
not accepted by being seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.admitting import about, is_offered
from mcpcompose.gateway.examiner import Examiner, Looked
from mcpcompose.gateway.first_sight import FirstSight, Seen
from mcpcompose.gateway.poison import level_of
from mcpcompose.spec.canonical import canonical, digest
from mcpcompose.spec.lockfile import KINDS, Kind, Lock, LockedServer, accept_command, locked_server
from mcpcompose.upstream.base import ServerLists, Withheld

_NAMES: Final[Mapping[Kind, str]] = {"tool": "name", "prompt": "name", "template": "uriTemplate"}
_EVERYTHING: Final = "{uri}"
"""As a template: whatever a client could name."""
_LONGEST_TEXT: Final = 16 << 10
TEXT_ROOM: Final = 1 << 20
"""Characters that are kept of one server's definitions, to show what became of them; digests are kept of all."""
UNKNOWN: Final = "is not in the lock"
NOT_YET: Final = "is not accepted yet"
_LOST: Final = "what was accepted of it was lost"
Items = tuple[dict[str, Any], ...]
Digest = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Held:
    """How a server is held without a lock: *launch* is how the file says it, *on_sight* that seeing it accepts it."""

    launch: str
    on_sight: bool = True


@dataclass(frozen=True, slots=True)
class _Against:
    """What a server is held to: what was accepted (None: nothing, and *why*), for this launch."""

    entry: LockedServer | None
    launch: str
    why: str = ""
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What was decided of *offered*."""

    offered: ServerLists | None
    against: _Against
    kept: ServerLists


class Withholding:
    """
    Filters the lists of servers; what was filtered before is not looked at again.

    *first* has what was seen of servers without a lock. Texts that *redact* would change are not kept.
    """

    def __init__(self, first: FirstSight, examiner: Examiner, redact: Callable[[str], str]) -> None:
        self.first, self.examiner, self._redact = first, examiner, redact
        self._lock: Lock | None = None
        self._launches: Mapping[str, str] = {}
        self._held: Mapping[str, Held] = {}
        self._known: dict[str, _Known] = {}
        self._stale: dict[str, ServerLists] = {}
        """What servers offered before the file said to launch them in another way: no sight of what they are now."""
        self.found: dict[str, tuple[Withheld, ...]] = {}
        """By server, what is withheld of what it offers now."""

    def follow(self, lock: Lock | None, launches: Mapping[str, str], held: Mapping[str, Held]) -> None:
        """
        Servers are held to *lock* from now on; *launches* are their launch identities.

        Without one, those in *held* are held to what was seen of them first.
        """
        self._lock, self._launches = lock, launches
        before, self._held = self._held, held if lock is None else {}
        for name, one in self._held.items():
            known = self._known.get(name)
            if name in before and before[name].launch != one.launch and known is not None and known.offered is not None:
                self._stale[name] = known.offered

    def accepted(self, lists: Mapping[str, ServerLists]) -> dict[str, ServerLists]:
        """*lists* as they were accepted."""
        return {name: self._of(name, offered) for name, offered in lists.items()}

    @property
    def looks(self) -> bool:
        """Something is held."""
        return self._lock is not None or bool(self._held)

    @property
    def is_locked(self) -> bool:
        """A lock says what was accepted."""
        return self._lock is not None

    def held(self, server: str) -> Held | None:
        """How *server* is held without a lock."""
        return self._held.get(server)

    def changes(self, lists: Mapping[str, ServerLists]) -> bool:
        """Whether something else is withheld of *lists* than before."""
        before = dict(self.found)
        self.accepted(lists)
        return before != self.found

    def admits(self, server: str, method: str, params: Mapping[str, Any], offered: ServerLists | None) -> bool:
        """
        Whether *server* still offers what a call is about that waited, as it was accepted.

        *offered* is what it offers now, looked at or not.
        """
        known = self._known.get(server)
        if known is None or offered is None:
            return True
        kept = known.kept if known.offered is offered else self._kept_unseen(server, about(offered, method, params))
        return is_offered(kept, method, params)

    def _kept_unseen(self, server: str, offered: ServerLists) -> ServerLists:
        """What of *offered* was accepted, while it is still being looked at."""
        if self._lock is not None:
            entry, launch = self._lock.servers.get(server), self._launches.get(server, "")
        else:
            held, before = self._held.get(server), self.first.of(server)
            if held is None or before is None or before.held.launch != held.launch:
                return _nothing()
            entry, launch = before.held, held.launch
        return _kept(offered, entry, tuple(withheld(offered, entry, launch)), digest)

    def forget(self, declared: Mapping[str, Any]) -> None:
        """Only these servers are still declared."""
        self.found = {name: found for name, found in self.found.items() if name in declared}
        self._known = {name: known for name, known in self._known.items() if name in declared}
        self._stale = {name: offered for name, offered in self._stale.items() if name in declared}
        self.examiner.forget(declared)

    def _of(self, name: str, offered: ServerLists) -> ServerLists:
        looked, lock = self.examiner.of(name, offered), self._lock
        if lock is not None:
            against = _Against(lock.servers.get(name), self._launches.get(name, ""), UNKNOWN, lock.is_strict)
            return self._decided(name, offered, against, looked)
        if (held := self._held.get(name)) is not None:
            return self._as_seen(name, held, offered, looked)
        self.found.pop(name, None)
        self._known.pop(name, None)
        return offered

    def _decided(self, name: str, offered: ServerLists, against: _Against, looked: Looked | None) -> ServerLists:
        known = self._known.get(name)
        if known is not None and known.offered is offered and known.against == against and against.entry is not None:
            return known.kept
        digest_of = looked.digest_of if looked is not None else digest
        entry = against.entry
        found = tuple(
            _with_reason(one, looked) for one in withheld(offered, entry, against.launch, digest_of, against.why)
        )
        kept = _nothing() if against.is_strict and found else _kept(offered, entry, found, digest_of)
        self._known[name] = _Known(offered, against, kept)
        self.found[name] = found
        if not found:
            del self.found[name]
        return kept

    # --- without a lock ---------------------------------------------------------------------------------------------

    def _as_seen(self, name: str, held: Held, offered: ServerLists, looked: Looked | None) -> ServerLists:
        before = self.first.of(name)
        if before is not None and before.held.launch != held.launch:
            before = None
        if before is not None and (looked is not None or offered.is_remembered):
            return self._decided(name, offered, _Against(before.held, held.launch), looked)
        if looked is None:  # meanwhile what was accepted of what it offered before
            return self._known.setdefault(name, _Known(None, _Against(None, held.launch), _nothing())).kept
        if held.on_sight and not self._is_sight(name, held, offered):
            return self._awaited(name, held, offered, looked)
        entry, why = self._seen(name, held, looked)
        return self._decided(name, offered, _Against(entry, held.launch, why), looked)

    def _is_sight(self, name: str, held: Held, offered: ServerLists) -> bool:
        """Whether it is known, or this is what it says itself since it is launched like this."""
        before, stale = self.first.of(name), self._stale.get(name)
        if self.first.broken is not None or (before is not None and before.held.launch == held.launch):
            return True
        return not (offered.is_remembered or (stale is not None and _is_same(offered, stale)))

    def _awaited(self, name: str, held: Held, offered: ServerLists, looked: Looked) -> ServerLists:
        """Until it says itself what it offers: what of the lists of before was accepted in just that form."""
        before = self.first.of(name)
        entry = before.held if before is not None else None
        found = withheld(offered, entry, entry.launch if entry is not None else "", looked.digest_of)
        kept = _kept(offered, entry, tuple(found), looked.digest_of)
        known = self._known.get(name)
        if known is None or known.offered is not offered or known.kept != kept:
            self._known[name] = known = _Known(offered, _Against(entry, held.launch), kept)
        self.found.pop(name, None)
        return known.kept

    def _seen(self, name: str, held: Held, looked: Looked) -> tuple[LockedServer | None, str]:
        """What was accepted of it, now if it is seen for the first time; else None and why nothing was."""
        before = self.first.of(name)
        if self.first.broken is not None:
            self.first.lose(self._held)
            return None, f"what was accepted cannot be read: {self.first.broken}"
        if before is not None and before.held.launch == held.launch:
            return before.held, ""  # kept just now
        if name in self.first.lost:
            return None, _LOST
        if not held.on_sight:
            return None, NOT_YET
        try:
            self.first.keep(name, self.as_offered(held, looked, before))
        except McpComposeError as error:
            return None, error.message
        self._stale.pop(name, None)
        return self._seen(name, held, looked)

    def as_offered(self, held: Held, looked: Looked, before: Seen | None, *, everything: bool = False) -> Seen:
        """The record of what is offered; without *everything* not what is plainly poisoned and new."""
        offered, known = looked.offered, before.held if before is not None else None
        digests: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
        texts: dict[str, dict[str, str]] = {}
        room = TEXT_ROOM
        for kind, name, item in definitions(offered):
            found = looked.digest_of(item)
            accepted_before = known is not None and accepted_digest(known, kind, name) == found
            if not (everything or accepted_before or level_of(looked.of(kind, name)) != "high"):
                continue
            if kind == "instructions" or digests[kind].setdefault(name, found) == found:
                text = texts.setdefault(kind, {})[name] = self.text_of(item, room)
                room -= len(text)
        said = offered.instructions if "" in texts.get("instructions", {}) else None
        whole = {f"{kind}s": digests[kind] for kind in KINDS}
        instructions = looked.digest_of(said) if said is not None else None
        return Seen(locked_server(launch=held.launch, instructions=instructions, **whole), _shown(texts))

    def text_of(self, item: Any, room: int = TEXT_ROOM) -> str:
        """The text of a definition that is to be kept; empty for one with a secret value, or a very long one."""
        text = canonical(item)
        return text if len(text) <= min(_LONGEST_TEXT, room) and self._redact(text) == text else ""


def summed(found: tuple[Withheld, ...], command: str) -> str:
    """What is withheld of a server, in one line with the next step."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"withheld: {found[0]}{more}; accept with `{command}`"


def command(server: str, found: tuple[Withheld, ...], *, is_locked: bool) -> str:
    """The command that accepts what is withheld of *server*."""
    if not is_locked:
        return f"mcp-compose trust --accept {server}"
    return "mcp-compose lock" if found[0].why == UNKNOWN else accept_command(server)


def withheld(
    offered: ServerLists, entry: LockedServer | None, launch: str, digest_of: Digest = digest, unknown: str = UNKNOWN
) -> Iterator[Withheld]:
    """What of *offered* was not accepted; *unknown* is why nothing of it was."""
    if entry is None:
        yield Withheld("server", "", unknown)
        return
    if entry.launch != launch:
        yield Withheld("server", "", "is launched in another way than the lock holds")
        return
    for kind in KINDS:
        held = entry.of(kind)
        for name, item in _named(offered, kind):
            if held.get(name) != digest_of(item):
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


def definitions(offered: ServerLists) -> Iterator[tuple[str, str, Any]]:
    """Kind, name and definition of everything that is held; the instructions have no name."""
    for kind in KINDS:
        for name, item in _named(offered, kind):
            yield kind, name, item
    if offered.instructions is not None:
        yield "instructions", "", offered.instructions


def _is_same(offered: ServerLists, other: ServerLists) -> bool:
    """Whether both are what the server said in one breath."""
    pairs = ((offered.tools, other.tools), (offered.prompts, other.prompts), (offered.templates, other.templates))
    return all(one is another for one, another in pairs) and offered.instructions is other.instructions


def accepted_digest(entry: LockedServer, kind: str, name: str) -> str | None:
    """The digest of what was accepted of that name; None of what was not."""
    if kind == "instructions":
        return entry.instructions
    return {"tool": entry.tools, "prompt": entry.prompts, "template": entry.templates}[kind].get(name)


def _shown(texts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {kind: {name: text for name, text in named.items() if text} for kind, named in texts.items()}


def _with_reason(one: Withheld, looked: Looked | None) -> Withheld:
    """With what was found in it, if that is more than a weak sign."""
    findings = looked.of(one.kind, one.name) if looked is not None else ()
    if not findings or findings[0].level == "low":
        return one
    return replace(one, why=f"{one.why}; {findings[0].code}: {findings[0].reason}")


def _kept(
    offered: ServerLists, entry: LockedServer | None, found: tuple[Withheld, ...], digest_of: Digest
) -> ServerLists:
    if not found:
        return offered
    if entry is None or found[0].kind == "server":
        return _nothing()
    kinds = {one.kind for one in found}
    return replace(
        offered,
        tools=_only(offered, "tool", entry, digest_of) if "tool" in kinds else offered.tools,
        prompts=_only(offered, "prompt", entry, digest_of) if "prompt" in kinds else offered.prompts,
        templates=_only(offered, "template", entry, digest_of) if "template" in kinds else offered.templates,
        instructions=None if "instructions" in kinds else offered.instructions,
        closed=tuple(one.name for one in found if one.kind == "template"),
    )


def _nothing() -> ServerLists:
    """What is left of a server that is withheld as a whole: not even its title, which people and models read."""
    return ServerLists(capabilities={}, closed=(_EVERYTHING,))


def _only(offered: ServerLists, kind: Kind, entry: LockedServer, digest_of: Digest) -> Items:
    held = entry.of(kind)
    return tuple(item for name, item in _named(offered, kind) if held.get(name) == digest_of(item))


def _named(offered: ServerLists, kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those with a name; what has none is not served anyway."""
    items = {"tool": offered.tools, "prompt": offered.prompts, "template": offered.templates}[kind]
    key = _NAMES[kind]
    for item in items:
        if isinstance(name := item.get(key), str):
            yield name, item
