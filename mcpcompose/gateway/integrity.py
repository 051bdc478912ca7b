"""Whether what servers offer was accepted, and what is strange in it: the lock, first sight and signs in one place."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mcpcompose.errors import UsageError
from mcpcompose.gateway.accepting import Accepting, Waiting
from mcpcompose.gateway.examiner import Examiner
from mcpcompose.gateway.first_sight import FirstSight
from mcpcompose.gateway.withholding import Held, Withholding, command, summed
from mcpcompose.spec.canonical import canonical
from mcpcompose.spec.fingerprint import fingerprint
from mcpcompose.spec.lockfile import accept_command
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import Server
from mcpcompose.upstream.base import Finding, ServerLists, Status

_log: Final = logging.getLogger(__name__)
_SHOWN: Final = 20
_MOST_SIGNS: Final = 200
"""So many are told of one server, the gravest first."""
_ORDER: Final = {"high": 0, "medium": 1, "low": 2}


class Integrity:
    """
    Of one gateway. *accepted* is the file of what was seen first; without it nothing is held unless a lock does.

    *done* is told when something that took longer has been looked at.
    """

    def __init__(self, accepted: Path | None, redact: Callable[[str], str], done: Callable[[], None]) -> None:
        self._examiner = Examiner(done)
        self.holds_without_lock = accepted is not None
        self._withholding = Withholding(FirstSight(accepted), self._examiner, redact)
        self._accepting = Accepting(self._withholding)
        self._reported: dict[str, tuple[str, ...]] = {}
        self._signs: dict[str, tuple[Finding, ...]] = {}
        self.accepted, self.changes = self._withholding.accepted, self._withholding.changes
        self.admits = self._withholding.admits
        self.close = self._examiner.close

    @property
    def looks(self) -> bool:
        """Something is held."""
        return self._withholding.looks

    def follow(self, project: Project, launches: Mapping[str, str], written: Mapping[str, str]) -> None:
        """Servers are held as *project* says from now on; *written* are their identities as far as the file tells."""
        held = {
            name: Held(_launch(server, written.get(name)), on_sight=server.integrity == "first-sight")
            for name, server in project.servers.items()
            if self.holds_without_lock and server.integrity != "off"
        }
        self._withholding.follow(project.lock, launches, held)
        self._withholding.forget(project.servers)

    def told(self, line: Status, served: ServerLists | None) -> Status:
        """*line* with what is withheld of the server, and what was found in what it offers."""
        signs = sorted(self._examiner.findings().get(line.server, ()), key=lambda one: _ORDER[one.level])
        line = replace(line, findings=tuple(signs[:_MOST_SIGNS]))
        if not (found := self._withholding.found.get(line.server)):
            return line
        accept = command(line.server, found, is_locked=self._withholding.is_locked)
        return replace(line, tools=len(served.tools) if served is not None else 0, withheld=found, accept=accept)

    def why(self, server: str, kind: str, name: str) -> str | None:
        """Why *server* does not seem to offer it, where that is because nobody accepted it; for clients."""
        found = self._withholding.found.get(server, ())
        if all(one.kind != "server" and (one.kind, one.name) != (kind, name) for one in found):
            return None
        return f"what `{server}` offers there is withheld until a person accepts it, who can look with `mcp-compose ps`"

    def reason(self, line: Status) -> str | None:
        """What is withheld, in one line."""
        return summed(line.withheld, line.accept or "") if line.withheld else None

    def findings_of(self, server: str, kind: str, name: str) -> list[dict[str, Any]]:
        """What was found in one definition, as JSON."""
        found = self._examiner.findings().get(server, ())
        return [finding_as_json(one) for one in found if (one.kind, one.name) == (kind, name)]

    def waiting(self, lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """What waits for a person's acceptance, as it is offered now."""
        return () if self._withholding.is_locked else self._accepting.waiting(lists)

    def accept(self, hashes: Collection[str], lists: Mapping[str, ServerLists]) -> tuple[Waiting, ...]:
        """Accept exactly these. Raises `UsageError`."""
        if self._withholding.is_locked:
            raise UsageError("this project has a lock", hint=f"accept with `{accept_command('SERVER')}`")
        return self._accepting.accept(hashes, lists)

    def report(self) -> None:
        """Say once in the log what is withheld, and which definitions look poisoned."""
        withheld = {server: tuple(map(str, found)) for server, found in self._withholding.found.items()}
        why = "the lock does not hold it" if self._withholding.is_locked else "it was not accepted"
        for server, found in withheld.items():
            if found != self._reported.get(server):
                step = command(server, self._withholding.found[server], is_locked=self._withholding.is_locked)
                look = "" if self._withholding.is_locked else "look with `mcp-compose trust`, "
                said = ", ".join(found[:_SHOWN])
                _log.warning("server `%s`: withheld, as %s: %s; %saccept with `%s`", server, why, said, look, step)
        self._reported = withheld
        for server, signs in self._examiner.findings().items():
            grave = tuple(one for one in signs if one.level != "low")
            if grave and grave != self._signs.get(server):
                said = "; ".join(f"{one.kind} `{one.name}` {one}" for one in grave[:_SHOWN])
                _log.warning("server `%s`: signs of poisoning: %s", server, said)
            self._signs[server] = grave


def finding_as_json(one: Finding) -> dict[str, Any]:
    """A finding as the admin API and `--format json` have it; names here are stable."""
    return {
        "code": one.code, "level": one.level, "kind": one.kind, "name": one.name, "place": one.place,
        "reason": one.reason,
    }  # fmt: skip


def _launch(server: Server, written: str | None) -> str:
    """How the file says that *server* is launched; texts with references as they are written."""
    whole = [written or fingerprint(server), dict(server.environment), dict(server.headers), list(server.env_file)]
    return "sha256:" + hashlib.sha256(canonical(whole).encode("utf-8", "surrogatepass")).hexdigest()
