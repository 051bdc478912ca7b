"""
Requests that reach no server: they pass the project's interceptors, and a made-up answer comes back through them.

The pipeline is the gateway's own (`governance`, `passage`): what is decided here is decided there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec

from mcpcompose.gateway.fragments import is_allowed
from mcpcompose.gateway.governance import Governance
from mcpcompose.gateway.matching import CALL
from mcpcompose.interceptors.base import Around
from mcpcompose.interceptors.sessions import GovernedSessions
from mcpcompose.spec.project import Project
from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.call import Ask, Call, Origin, Reply

if TYPE_CHECKING:
    from mcpcompose.audit.log import AuditLog

NOBODY = "(nobody)"
"""A client that the file does not name."""
THE_FILE = "(file)"
"""Who decided where a profile or the rules for tools let nothing through."""


@dataclass(slots=True)
class Outcome:
    """What became of a request: *sent* is what the server got, *reply* what the client got."""

    outcome: str = "failed"
    decisions: Sequence[Mapping[str, Any]] = ()
    sent: dict[str, Any] | None = None
    reply: Reply | None = None
    questions: list[str] = field(default_factory=list)

    def text(self) -> str:
        """What the client was told, as JSON."""
        found = self.reply
        return ((found.result or found.error or b"") if found is not None else b"").decode()


class Rehearsal:
    """One session of each client; *tools* are definitions by server."""

    def __init__(self, project: Project, around: Around, tools: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        self._project = project
        self._last = Outcome()
        self._tokenless = False
        self._governance = Governance(
            GovernedSessions(), cast("AuditLog", _Listener(self)), tokenless=lambda _client: self._tokenless
        )
        kept = project.model_copy(update={"audit": project.audit.model_copy(update={"enabled": True})})
        self._governance.follow(kept, around)
        lists = {server: ServerLists(tools=tuple(items)) for server, items in tools.items()}
        self._governance.routes(self._governance.definitions.shown(lists))

    def problems(self) -> list[str]:
        """Interceptors that could not be made."""
        return [f"`{one['name']}`: {one['problem']}" for one in self._governance.problems()]

    async def close(self) -> None:
        """End the interceptors."""
        await self._governance.close()

    async def request(  # noqa: PLR0917  the whole of a request
        self,
        client: str | None,
        profile: str,
        method: str,
        server: str,
        params: dict[str, Any],
        answer: Reply,
        *,
        yes: bool,
    ) -> Outcome:
        """Let one request pass, with *answer* in the server's place. *client* None has no token of its own."""
        outcome = self._last = Outcome()
        if (why := self._is_kept_away(profile, method, server, params.get("name"))) is not None:
            self.ended("refused", [{"interceptor": THE_FILE, "decision": "refused", "note": why}])
            return outcome
        self._tokenless = client is None
        origin = Origin(client or NOBODY, capabilities={"elicitation": {"form": {}}})
        call = Call(method, params, origin=origin)

        def submit(one: Call) -> None:
            outcome.sent = one.params
            one.finish(answer)

        self._governance.begin(call, method, origin, profile, server, None, submit)
        while call.reply is None:
            await call.news()
            for note in call.take_notes():
                if isinstance(note, Ask):
                    outcome.questions.append(str(msgspec.json.decode(note.params).get("message", "")))
                    note.answer(_YES if yes else _NO)
        outcome.reply = call.reply
        return outcome

    def _is_kept_away(self, profile: str, method: str, server: str, name: str | None) -> str | None:
        """Why no such request gets as far as an interceptor, where that is so."""
        given = self._project.profiles[profile]
        if server not in given.servers:
            return f"profile `{profile}` has no server `{server}`"
        if method == CALL and not is_allowed(str(name), self._project.servers[server].tools, given.tools.get(server)):
            return f"the rules for tools keep `{name}` from profile `{profile}`"
        return None

    def ended(self, outcome: str, decisions: Sequence[Mapping[str, Any]]) -> None:
        """What the audit log would be told."""
        self._last.outcome, self._last.decisions = outcome, list(decisions)


class _Listener:
    """Stands where the audit log stands, and writes nothing."""

    problem = None

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def follow(self, settings: object) -> None:
        """Nothing is kept."""

    def began(self, **_request: object) -> None:
        """Nothing is kept."""

    def ended(self, *, outcome: str, decisions: Sequence[Mapping[str, Any]], **_rest: object) -> None:
        """Tell the rehearsal."""
        self._rehearsal.ended(outcome, decisions)

    def write(self) -> None:
        """Nothing is kept."""

    def forget(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


_YES = Reply(result=b'{"action":"accept","content":{"allow":true}}')
_NO = Reply(result=b'{"action":"decline"}')
