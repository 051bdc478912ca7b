"""
What waits for a person's acceptance where there is no lock: exact forms, each with its hash, and the acceptance.

A form stands for one definition as it is offered now. What has become another one since it was shown has another hash.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.errors import UsageError
from mcpcompose.gateway.examiner import Looked
from mcpcompose.gateway.first_sight import Seen
from mcpcompose.gateway.withholding import Held, Withholding, definitions
from mcpcompose.spec.canonical import canonical
from mcpcompose.spec.lockfile import locked_server
from mcpcompose.upstream.base import Finding, ServerLists

_HASH: Final = 32
_LONGEST: Final = 20_000
_ALIKE: Final[Mapping[str, str]] = {"tool": "tools", "prompt": "prompts", "template": "templates"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing to accept: *kind* is `server` for all of a server that nothing was accepted of."""

    server: str
    kind: str
    name: str
    hash: str
    text: str
    findings: tuple[Finding, ...] = ()

    @property
    def subject(self) -> str:
        """Which one, as `--accept` takes it."""
        return self.server if self.kind == "server" else f"{self.server}/{self.name or self.kind}"


class Accepting:
    """Over what *withholding* withholds."""

    def __init__(self, withholding: Withholding) -> None:
        self._withholding = withholding

    def waiting(self, lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """Everything that waits, server by server."""
        return tuple(one for server in self._withholding.found for one in self._of(server, lists))

    def accept(self, hashes: Collection[str], lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """
        Accept the forms with these *hashes*. Raises `UsageError` for one that nothing has (any more).

        Nothing is accepted unless everything can be.
        """
        waiting = {one.hash: one for one in self.waiting(lists)}
        if unknown := [one for one in hashes if one not in waiting]:
            raise UsageError(
                f"nothing that is withheld has the hash `{unknown[0]}`",
                hint="it may have changed since it was shown: look again with `mcp-compose trust`",
            )
        chosen = [waiting[one] for one in dict.fromkeys(hashes)]
        for server in dict.fromkeys(one.server for one in chosen):
            self._take(server, [one for one in chosen if one.server == server], lists[server])
        return tuple(chosen)

    def _of(self, server: str, lists: Mapping[str, ServerLists]) -> Iterator[Waiting]:
        held, offered = self._withholding.held(server), lists.get(server)
        if held is None or offered is None:
            return
        looked = self._withholding.examiner.of(server, offered)
        if looked is None:
            return
        found = {(one.kind, one.name) for one in self._withholding.found.get(server, ())}
        if ("server", "") in found:
            yield _whole(server, held, looked)
            return
        before = self._withholding.first.of(server) if self._withholding.first is not None else None
        for kind, name, item in definitions(offered):
            if (kind, name) in found:
                found.discard((kind, name))
                yield _one(server, held, looked, kind, name, item, before)

    def _take(self, server: str, chosen: list[Waiting], offered: ServerLists) -> None:
        withholding = self._withholding
        held, looked = withholding.held(server), withholding.examiner.of(server, offered)
        assert held is not None
        assert looked is not None
        assert withholding.first is not None
        before = withholding.first.of(server)
        if any(one.kind == "server" for one in chosen):
            withholding.first.keep(server, withholding.as_offered(held, looked, before, everything=True))
            return
        taken = {(one.kind, one.name) for one in chosen}
        assert before is not None
        withholding.first.keep(server, _added(withholding, held, before, looked, taken))


def _added(withholding: Withholding, held: Held, before: Seen, looked: Looked, taken: set[tuple[str, str]]) -> Seen:
    """*before*, with what was *taken* of what is offered now."""
    entry = before.held
    digests = {kind: dict(entry.of(kind)) for kind in ("tool", "prompt", "template")}
    texts = {kind: dict(named) for kind, named in before.texts.items()}
    instructions = entry.instructions
    for kind, name, item in definitions(looked.offered):
        if (kind, name) not in taken:
            continue
        taken.discard((kind, name))
        if kind == "instructions":
            instructions = looked.digest_of(item)
        else:
            digests[kind][name] = looked.digest_of(item)
        withholding.note(texts, kind, name, item)
    whole = {_ALIKE[kind]: held_now for kind, held_now in digests.items()}
    return Seen(locked_server(launch=held.launch, instructions=instructions, **whole), texts)


# --- forms --------------------------------------------------------------------------------------------------------------


def _one(
    server: str, held: Held, looked: Looked, kind: str, name: str, item: Any, before: Seen | None
) -> Waiting:
    findings = looked.of(kind, name)
    was = before.text(kind, name) if before is not None else None
    lines = [*(f"! {one}" for one in findings), *_difference(was, item)]
    return Waiting(server, kind, name, _hash(server, held, kind, name, looked.digest_of(item)), _text(lines), findings)


def _whole(server: str, held: Held, looked: Looked) -> Waiting:
    """A server as it is, each definition in full."""
    lines, digests = [], []
    for kind, name, item in definitions(looked.offered):
        digests.append([kind, name, looked.digest_of(item)])
        lines += [f"{kind} {name}", *(f"! {one}" for one in looked.of(kind, name)), *_pretty(item)]
    return Waiting(
        server, "server", "", _hash(server, held, "server", "", canonical(digests)), _text(lines),
        looked.examined.findings,
    )  # fmt: skip


def _hash(server: str, held: Held, kind: str, name: str, digest: str) -> str:
    return hashlib.sha256(canonical(["1", server, held.launch, kind, name, digest]).encode()).hexdigest()[:_HASH]


def _difference(was: str | None, item: Any) -> list[str]:
    if was is None:
        return _pretty(item)
    return list(difflib.unified_diff(_pretty(json.loads(was)), _pretty(item), "accepted", "now", lineterm="", n=1))


def _pretty(item: Any) -> list[str]:
    """In ASCII: nothing invisible, no letters that look like others, no line that passes for another one."""
    return json.dumps(item, indent=1, sort_keys=True, ensure_ascii=True).splitlines()


def _text(lines: list[str]) -> str:
    whole = "\n".join("".join(c if " " <= c <= "~" else json.dumps(c)[1:-1] for c in line) for line in lines)
    left = len(whole) - _LONGEST
    return whole if left <= 0 else f"{whole[:_LONGEST]}\n... and {left} more characters"
