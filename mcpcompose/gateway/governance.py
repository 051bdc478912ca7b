"""
Decides what every request passes: which interceptors, in which session, and that it is written down.

One choke point: whatever goes to a server, and whatever a server sends to clients, comes by here.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcpcompose.auth.tokens import DEFAULT_PROFILE
from mcpcompose.gateway.chain import Link, Links, Raised, isawaitable
from mcpcompose.gateway.definitions import Definitions
from mcpcompose.gateway.ledger import Ledger
from mcpcompose.gateway.matching import CALL, Subject, fits, hears, might, names_method
from mcpcompose.gateway.passage import Passage
from mcpcompose.gateway.question import Question
from mcpcompose.gateway.table import LISTS
from mcpcompose.interceptors.base import TO_CLIENT, TO_SERVER, Around, Change, Exchange, InterceptorFailed, Warn
from mcpcompose.interceptors.sessions import GovernedSessions
from mcpcompose.spec.project import Project
from mcpcompose.upstream.base import ServerLists
from mcpcompose.upstream.call import METHOD_NOT_FOUND, Ask, Call, Origin, Reply, failure
from mcpcompose.upstream.wire import encode

if TYPE_CHECKING:
    from mcpcompose.audit.log import AuditLog

_log: Final = logging.getLogger(__name__)
_KEPT: Final = 100_000
"""Chains that are remembered; more are made each time."""
Chain = tuple[Link, ...]
TASK_STATUS: Final = "notifications/tasks"
_BY_ASKING: Final = frozenset({"result", "error", "inputRequests"})
"""What a task's status may bring along; the client has to ask for it, so that it passes what its call would have."""


@dataclass(slots=True)
class Routing:
    """What chains are resolved by: the definitions of tools as they are now, and what was resolved before."""

    lists: Mapping[str, ServerLists] = field(default_factory=dict)
    chains: dict[tuple[str | None, str, str, str, str | None], Chain] = field(default_factory=dict)
    _tools: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _hears: bool | None = None

    def hears(self, links: Sequence[Link]) -> bool:
        """Whether some of *links* may be about what servers say during requests that none of them is about."""
        if self._hears is None:
            self._hears = any(hears(link.spec.match) for link in links)
        return self._hears

    def tool(self, server: str, name: str | None) -> dict[str, Any] | None:
        """A tool's definition, by the server's own name."""
        if name is None:
            return None
        found = self._tools.get(server)
        if found is None:
            lists = self.lists.get(server)
            items = lists.tools if lists is not None else ()
            found = self._tools[server] = {item["name"]: item for item in items if isinstance(item.get("name"), str)}
        return found.get(name)


class Governance:
    """
    Of one project. *sessions* are what clients have read and are pinned to, *audit* writes requests down; None does
    not. *tokenless* says whether a client has no token of its own.
    """

    def __init__(
        self,
        sessions: GovernedSessions | None = None,
        audit: AuditLog | None = None,
        tokenless: Callable[[str], bool] = lambda _client: False,
    ) -> None:
        self.sessions = sessions or GovernedSessions()
        self.ledger = Ledger(audit)
        self.definitions = Definitions()
        self.links = Links()
        self.active = False
        """Whether requests have to come by at all."""
        self._tokenless = tokenless
        self._routing = Routing()
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._said: dict[str, str] = {}
        self._tasks: dict[tuple[str, str], str] = {}
        self._profiles: Mapping[str, str] = {}

    @property
    def audit(self) -> AuditLog | None:
        """Where requests are written down."""
        return self.ledger.audit

    @audit.setter
    def audit(self, audit: AuditLog | None) -> None:
        self.ledger.audit = audit

    # --- what it works from -----------------------------------------------------------------------------------------

    def follow(self, project: Project, around: Around | None) -> None:
        """Requests pass what *project* says, from now on; those on their way pass what they began with."""
        self.sessions.idle = project.session.idle
        self._profiles = {name: client.profile for name, client in project.clients.items()}
        if self.audit is not None:
            self.audit.follow(project.audit)
        if around is not None:
            self.links.follow(project.interceptors, around)
        self.definitions.follow(self.links.all)
        self.active = bool(self.links.all) or (self.audit is not None and project.audit.enabled)
        self.ledger.keeps = self.audit is not None and project.audit.enabled
        self._routing = Routing(self._routing.lists)

    def routes(self, lists: Mapping[str, ServerLists]) -> None:
        """What servers offer now, as clients see it."""
        self._routing = Routing(lists)

    async def close(self) -> None:
        """End the interceptors, and keep what is to be kept."""
        await self.links.close()
        try:
            self.sessions.save()
        except OSError as error:
            _log.warning("what clients have read could not be kept", extra={"reason": str(error)})
        self.ledger.close()

    def problems(self) -> list[dict[str, Any]]:
        """What went wrong with interceptors and the audit log, for `ps`."""
        found = [link.as_json() for link in self.links.all if link.problem is not None]
        problem = getattr(self.audit, "problem", None)
        if problem is not None:
            found.append({"name": "audit", "problem": problem, "count": 1, "last": 0.0})
        return found

    # --- requests of clients ----------------------------------------------------------------------------------------

    def begin(  # noqa: PLR0917  the whole of a request
        self,
        call: Call,
        method: str,
        origin: Origin,
        profile: str,
        server: str,
        exposed: str | None,
        submit: Callable[[Call], None],
        deliver: Callable[[Reply], None] | None = None,
    ) -> None:
        """Let *call* go its way, and at its end to *submit*; *deliver* is given the answer in the call's place."""
        params = call.params
        name = params.get("name")
        if not isinstance(name, str):
            name = params.get("uri")
        client = None if self._tokenless(origin.client) else origin.client
        tool_name = name if method == CALL else None
        chain = self.chain(client, profile, server, method, tool_name)
        ahead = len(chain)
        task = params.get("taskId") if method.startswith("tasks/") else None
        if task is not None and self.links.all:
            tool = self._tasks.get((server, str(task)))
            subject = Subject(client, profile, server, CALL)
            unknown = tuple(link for link in self.links.all if might(link.spec.match, subject))
            beside = unknown if tool is None else self.chain(client, profile, server, CALL, tool)
            chain = (*chain, *(link for link in beside if link not in chain))
        if not chain and not self.ledger.keeps and not self._routing.hears(self.links.all):
            submit(call)
            return
        exchange = Exchange(
            f"{self._run}-{next(self._numbers)}", method, server, name if isinstance(name, str) else None, exposed,
            params, origin.client, profile, self.sessions.of(client), self._routing.tool(server, tool_name), TO_SERVER,
            origin.modern, client is not None,
        )  # fmt: skip
        show = _nobody if deliver is not None else None
        Passage(self, chain, exchange, call, submit, deliver, show, ahead).begin()

    def began_task(self, server: str, task: str, tool: str) -> None:
        """A call of *tool* became a task: its result passes what the call's own would have passed."""
        self._tasks[server, task] = tool
        if len(self._tasks) > _KEPT:
            del self._tasks[next(iter(self._tasks))]

    def lists(self, method: str) -> bool:
        """Whether some interceptor wants to see the list *method* answers with."""
        return any(names_method(link.spec.match, method) for link in self.links.all)

    def chain(self, client: str | None, profile: str, server: str, method: str, name: str | None) -> Chain:
        """The interceptors of such a request, outermost first."""
        if not self.links.all:
            return ()
        routing = self._routing
        key = (client, profile, server, method, name)
        found = routing.chains.get(key)
        if found is None:
            subject = Subject(client, profile, server, method, name, routing.tool(server, name))
            explicit = method in LISTS
            found = tuple(
                link
                for link in self.links.all
                if fits(link.spec.match, subject) and (not explicit or names_method(link.spec.match, method))
            )
            if len(routing.chains) < _KEPT:
                routing.chains[key] = found
        return found

    def refused(self, origin: Origin, profile: str, method: str, name: object, why: str) -> None:
        """A request was refused before it had a server; it is written down too."""
        if not self.ledger.keeps:
            return
        client = None if self._tokenless(origin.client) else origin.client
        exchange = Exchange(
            self._id(), method, "", str(name)[:4096] if name is not None else None, None, {}, origin.client, profile,
            self.sessions.of(client),
        )  # fmt: skip
        self.ledger.began(exchange, lambda _refused: None)
        self.ledger.ended(exchange, "refused", [{"decision": "refused", "note": why[:200]}], 0.0, None, None)
        self.ledger.write()

    # --- what servers say and ask -----------------------------------------------------------------------------------

    def asked(
        self,
        server: str,
        origin: Origin | None,
        ask: Ask,
        show: Callable[[Ask], None],
        profile: str | None = None,
    ) -> None:
        """A server's question on its way to a client, and the answer on its way back; *profile* is that of its call."""
        client, profile = self._whose(origin, profile)
        chain = self.chain(client, profile, server, ask.method, None)
        if not chain and not self.ledger.keeps:
            show(ask)
            return
        try:
            params = msgspec.json.decode(ask.params) if ask.params else {}
        except (msgspec.MsgspecError, ValueError, RecursionError):
            params = None
        if not isinstance(params, dict):
            ask.answer(failure(-32602, "the parameters are not an object"))
            return
        exchange = Exchange(
            self._id(), ask.method, server, None, None, params, _name(origin), profile, self.sessions.of(client), None,
            TO_CLIENT, origin is not None and origin.modern, client is not None,
        )  # fmt: skip
        Question(ask, show).govern(self, chain, exchange, origin)

    def said(
        self, server: str, origin: Origin | None, method: str, params: bytes, profile: str | None = None
    ) -> bytes | None:
        """A notification on its way to a client, or to several; None when it is not passed on."""
        client, profile = self._whose(origin, profile)
        chain = self.chain(client, profile, server, method, None)
        if not chain and (method != TASK_STATUS or not self.links.all):
            return params
        try:
            decoded = msgspec.json.decode(params) if params else {}
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if not isinstance(decoded, dict):
            return None
        if method == TASK_STATUS and not decoded.keys().isdisjoint(_BY_ASKING):
            decoded = {key: value for key, value in decoded.items() if key not in _BY_ASKING}
            params = encode(decoded)
        exchange = Exchange(
            "", method, server, None, None, decoded, _name(origin), profile, self.sessions.of(client), None, TO_CLIENT,
        )  # fmt: skip
        return self._told(chain, exchange, params)

    def tells(
        self, server: str, origin: Origin, profile: str, method: str, params: dict[str, Any]
    ) -> dict[str, Any] | None:
        """A notification of a client on its way to a server; None when it is not passed on."""
        client = None if self._tokenless(origin.client) else origin.client
        chain = self.chain(client, profile, server, method, None)
        if not chain:
            return params
        exchange = Exchange(
            "", method, server, None, None, params, origin.client, profile, self.sessions.of(client), None, TO_SERVER,
        )  # fmt: skip
        return dict(exchange.params) if self._told(tuple(reversed(chain)), exchange, b"") is not None else None

    def _told(self, chain: Sequence[Link], exchange: Exchange, params: bytes) -> bytes | None:
        """Innermost first: it comes from the server. Who has to wait is not asked."""
        changed = False
        for link in reversed(chain):
            answer = link.ask(exchange, before=True)
            if isinstance(answer, Raised):
                link.failed(answer.error)
                if link.spec.on_failure == "deny":
                    return None
            elif isawaitable(answer):
                if (close := getattr(answer, "close", None)) is not None:
                    close()
                if names_method(link.spec.match, exchange.method):  # asked for by name, and cannot be asked
                    link.failed(InterceptorFailed("it cannot be waited for in a notification"))
                    if link.spec.on_failure == "deny":
                        return None
            elif isinstance(answer, Change) and answer.params is not None:
                exchange.params, changed = answer.params, True
            elif answer is not None and not isinstance(answer, Warn):
                return None
        return encode(exchange.params) if changed else params

    def _whose(self, origin: Origin | None, profile: str | None) -> tuple[str | None, str]:
        if origin is None or self._tokenless(origin.client):
            return None, ""
        return origin.client, profile or self._profiles.get(origin.client, DEFAULT_PROFILE)

    # --- for the passages --------------------------------------------------------------------------------------------

    def reported(self, link: Link) -> None:
        """Say in the log what went wrong, once for each thing."""
        problem = link.problem or ""
        if self._said.get(link.label) != problem:
            self._said[link.label] = problem
            _log.warning("interceptor `%s`: %s", link.label, problem)

    def _id(self) -> str:
        return f"{self._run}-{next(self._numbers)}"


def _nobody(ask: Ask) -> None:
    ask.answer(failure(METHOD_NOT_FOUND, "nobody can be asked here"))


def _name(origin: Origin | None) -> str:
    return origin.client if origin is not None else ""
