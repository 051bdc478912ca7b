"""
What waits for a person's acceptance where there is no lock: exact forms, each with its hash, and the acceptance.

A form stands for one definition as it is offered now. What has become another one since it was shown has another hash.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.errors import UsageError
from mcpcompose.gateway.examiner import Looked
from mcpcompose.gateway.first_sight import Seen
from mcpcompose.gateway.withholding import TEXT_ROOM, Held, Withholding, accepted_digest, definitions
from mcpcompose.spec.canonical import canonical
from mcpcompose.spec.lockfile import locked_server
from mcpcompose.upstream.base import Finding, ServerLists
from mcpcompose.visible import visible

_HASH: Final = 32
_LONGEST: Final = 4 << 20
"""Characters of one form; what is accepted is to be seen, so it is only a bound against what nobody reads."""
_COMPARED: Final = 1 << 20
"""Lines of one definition times lines of the other that are compared; of larger ones all is told."""
_NOT_KEPT: Final = "! changed; what was accepted was not kept: it was very long, or has the value of a secret"
_ALIKE: Final[Mapping[str, str]] = {"tool": "tools", "prompt": "prompts", "template": "templates"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    One thing to accept: *kind* is `server` for all of a server that nothing was accepted of.

    *lines* makes what a person reads of it, which can take a while for what nobody wants to read.
    """

    server: str
    kind: str
    name: str
    hash: str
    findings: tuple[Finding, ...]
    lines: Callable[[], list[str]] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """Its exact form; safe to be made in a thread."""
        whole = "\n".join(self.lines())
        left = len(whole) - _LONGEST
        return whole if left <= 0 else f"{whole[:_LONGEST]}\n... and {left} more characters"

    @property
    def subject(self) -> str:
        """Which one, as `--accept` takes it."""
        return self.server if self.kind == "server" else f"{self.server}/{self.name or self.kind}"


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a server offers now, and how it is held."""

    server: str
    held: Held
    looked: Looked

    def one(self, kind: str, name: str, item: Any, before: Seen | None) -> Waiting:
        """One definition, beside what was accepted."""
        findings = self.looked.of(kind, name)

        def lines() -> list[str]:
            return [*_told(findings), *_difference(kind, name, item, before)]

        return Waiting(self.server, kind, name, self._hash(kind, name, self.looked.digest_of(item)), findings, lines)

    def whole(self) -> Waiting:
        """Everything, each definition in full."""
        digests = [[kind, name, self.looked.digest_of(item)] for kind, name, item in definitions(self.looked.offered)]
        findings = self.looked.examined.findings
        told: dict[tuple[str, str], list[Finding]] = {}
        for one in findings:
            told.setdefault((one.kind, one.name), []).append(one)

        def lines() -> list[str]:
            found = []
            for kind, name, item in definitions(self.looked.offered):
                found += [visible(f"{kind} {name}"), *_told(told.get((kind, name), ())), *_pretty(item)]
            return found

        return Waiting(self.server, "server", "", self._hash("server", "", canonical(digests)), findings, lines)

    def _hash(self, kind: str, name: str, digest: str) -> str:
        whole = canonical(["1", self.server, self.held.launch, kind, name, digest])
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


class Accepting:
    """Over what *withholding* withholds."""

    def __init__(self, withholding: Withholding) -> None:
        self._withholding = withholding

    def waiting(self, lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """Everything that waits, server by server."""
        return tuple(form for offer in self._offers(lists) for form in self._of(offer))

    def accept(self, hashes: Collection[str], lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """
        Accept the forms with these *hashes*. Raises `UsageError` for one that nothing has (any more).

        Nothing is accepted unless every hash is known.
        """
        offers = self._offers(lists)
        waiting = {form.hash: form for offer in offers for form in self._of(offer)}
        if unknown := [one for one in hashes if one not in waiting]:
            raise UsageError(
                f"nothing that is withheld has the hash `{unknown[0]}`",
                hint="it may have changed since it was shown: look again with `mcp-compose trust`",
            )
        chosen = [waiting[one] for one in dict.fromkeys(hashes)]
        for offer in offers:
            if mine := [form for form in chosen if form.server == offer.server]:
                self._take(offer, mine)
        return tuple(chosen)

    def _offers(self, lists: Mapping[str, ServerLists]) -> list[_Offer]:
        """The servers of which something is withheld."""
        found = []
        for server in self._withholding.found:
            held, offered = self._withholding.held(server), lists.get(server)
            looked = self._withholding.examiner.of(server, offered) if offered is not None else None
            if held is not None and looked is not None:
                found.append(_Offer(server, held, looked))
        return found

    def _of(self, offer: _Offer) -> Iterator[Waiting]:
        found = {(one.kind, one.name) for one in self._withholding.found.get(offer.server, ())}
        if ("server", "") in found:
            yield offer.whole()
            return
        before = self._withholding.first.of(offer.server)
        for kind, name, item in _unaccepted(offer, before):
            if (kind, name) in found:
                found.discard((kind, name))
                yield offer.one(kind, name, item, before)

    def _take(self, offer: _Offer, chosen: list[Waiting]) -> None:
        withholding, before = self._withholding, self._withholding.first.of(offer.server)
        if before is None or any(one.kind == "server" for one in chosen):
            seen = withholding.as_offered(offer.held, offer.looked, before, everything=True)
        else:
            seen = _added(withholding, offer, before, {(one.kind, one.name) for one in chosen})
        withholding.first.keep(offer.server, seen)


def _added(withholding: Withholding, offer: _Offer, before: Seen, taken: set[tuple[str, str]]) -> Seen:
    """*before*, with what was *taken* of what is offered now."""
    held, looked = offer.held, offer.looked
    entry = before.held
    digests = {kind: dict(entry.of(kind)) for kind in ("tool", "prompt", "template")}
    texts = {kind: dict(named) for kind, named in before.texts.items()}
    instructions = entry.instructions
    room = TEXT_ROOM - sum(len(text) for named in texts.values() for text in named.values())
    for kind, name, item in _unaccepted(offer, before):
        if (kind, name) not in taken:
            continue
        taken.discard((kind, name))
        if kind == "instructions":
            instructions = looked.digest_of(item)
        else:
            digests[kind][name] = looked.digest_of(item)
        room += len(texts.setdefault(kind, {}).pop(name, ""))
        if text := withholding.text_of(item, room):
            texts[kind][name] = text
            room -= len(text)
    whole = {_ALIKE[kind]: held_now for kind, held_now in digests.items()}
    return Seen(locked_server(launch=held.launch, instructions=instructions, **whole), texts)


def _unaccepted(offer: _Offer, before: Seen | None) -> Iterator[tuple[str, str, Any]]:
    """What is offered in a form that is not the accepted one; of two with one name that may be the second."""
    for kind, name, item in definitions(offer.looked.offered):
        if before is None or accepted_digest(before.held, kind, name) != offer.looked.digest_of(item):
            yield kind, name, item


def _difference(kind: str, name: str, item: Any, before: Seen | None) -> list[str]:
    if before is None or accepted_digest(before.held, kind, name) is None:
        return _pretty(item)
    try:
        was = _pretty(json.loads(before.text(kind, name) or ""))
    except (ValueError, RecursionError):
        return [_NOT_KEPT, *_pretty(item)]
    now = _pretty(item)
    if len(was) * len(now) > _COMPARED:
        return ["--- accepted", "+++ now", *(f"-{line}" for line in was), *(f"+{line}" for line in now)]
    return list(difflib.unified_diff(was, now, "accepted", "now", lineterm="", n=1))


def _pretty(item: Any) -> list[str]:
    """Before a difference is made, so that what differs for a model alone is seen to differ."""
    whole = json.dumps(item, indent=1, sort_keys=True, ensure_ascii=False)
    lines = [visible(line) for line in whole[:_LONGEST].split("\n")]
    return [*lines, f"... and {len(whole) - _LONGEST} more characters"] if len(whole) > _LONGEST else lines


def _told(findings: Iterable[Finding]) -> list[str]:
    return [visible(f"! {one}") for one in findings]
