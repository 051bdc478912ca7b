"""
The serving side of one project: what the orchestrator tells it becomes a routing table that clients are served from.

The table is immutable and swapped as one reference; one coalesced word goes to those whose list changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from mcpcompose.auth.tokens import DEFAULT_PROFILE, Tokens
from mcpcompose.engine.base import Endpoint
from mcpcompose.engine.check import Health
from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.accepting import Waiting
from mcpcompose.gateway.compiler import RoutingTable, compile_table
from mcpcompose.gateway.fragments import Route
from mcpcompose.gateway.governance import Governance
from mcpcompose.gateway.http import HttpFront
from mcpcompose.gateway.integrity import Integrity
from mcpcompose.gateway.kernel import Answer, Failure, Forwarded, Kernel, Request, handshake_caller
from mcpcompose.gateway.listeners import Listeners
from mcpcompose.gateway.peers import Peers
from mcpcompose.gateway.serve import Bounds, Listening, bind, listen
from mcpcompose.gateway.stdio import StdioFront
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.gateway.withholding import fingerprints
from mcpcompose.interceptors.base import Around, unread
from mcpcompose.interceptors.sessions import GovernedSessions
from mcpcompose.redact import Redactor
from mcpcompose.spec.project import Project
from mcpcompose.upstream.base import Instances, Restart, State, Status
from mcpcompose.upstream.call import Call, Origin
from mcpcompose.upstream.supervisor import Supervisor

_COALESCE: Final = 0.02
"""Seconds in which changes of several servers become one swap."""
_REPORT_AFTER: Final = 1.0

_log: Final = logging.getLogger(__name__)


Expand = Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Governed:
    """Where governance keeps what it knows: the file of *sessions*, the folder of the *audit* log; and what it uses."""

    sessions: Path
    audit: Path
    redactor: Redactor
    environ: Callable[[], Mapping[str, str]]
    containers: Any = None
    log: Callable[[str, bytes], None] = unread


async def _as_written(_owner: str, text: str) -> str:
    return text


class ProjectGateway:
    """
    Serves one project (`orchestrator.serving.Serving` by structure).

    *cache* is the folder of tool lists, *restart* starts a server's instance again, *redact* hides secret values
    in reasons that come from servers. *instances* runs further instances, *key* seals what clients hold for servers.
    *accepted* is the file of what servers offered when they were first seen (see `gateway.integrity`).
    """

    def __init__(
        self,
        *,
        cache: Path,
        tokens: Tokens,
        restart: Restart,
        redact: Callable[[str], str] | None = None,
        instances: Instances | None = None,
        key: bytes | None = None,
        governed: Governed | None = None,
        accepted: Path | None = None,
    ) -> None:
        self.tokens = tokens
        peers = Peers()
        self._governed = governed
        self._expand: Expand | None = None
        self.governance = Governance(
            GovernedSessions(governed.sessions if governed is not None else None), tokenless=self._is_tokenless
        )
        self.supervisor = Supervisor(
            cache=cache,
            restart=restart,
            changed=self._lists_changed,
            redactor=redact,
            instances=instances,
            heard=peers,
            admits=self._admits,
        )
        self.listeners = Listeners()
        self.kernel = Kernel(self.supervisor, self.listeners, peers, key, self.governance)
        self.bounds = Bounds()
        self._front = HttpFront(self.kernel, tokens)
        self._stdio = StdioFront(self.kernel, tokens)
        self._project: Project | None = None
        self._listening: Listening | None = None
        self._swap: asyncio.TimerHandle | None = None
        self._report: asyncio.TimerHandle | None = None
        self._reported: dict[str, str] = {}
        self.integrity = Integrity(accepted, redact or str, self._lists_changed)
        self.supervisor.lists_first = self.integrity.holds_without_lock
        self.kernel.admits, self.kernel.withheld = self._admits, self.integrity.why
        self.url: str | None = None

    # --- what the orchestrator tells --------------------------------------------------------------------------------

    def declare(
        self, project: Project, fingerprints: Mapping[str, str], written: Mapping[str, str] | None = None
    ) -> None:
        """Serve *project* from now on; see `orchestrator.serving.Serving`."""
        self._govern(project)
        self._project = project
        self.tokens.bind({name: client.profile for name, client in project.clients.items()})
        self.bounds.follow(project.gateway.limits, project.gateway.timeouts)
        self._front.configure(project.gateway)
        self._stdio.configure(project.gateway)
        self.kernel.follow(project.gateway.limits)
        self.supervisor.declare(project, fingerprints)
        self.integrity.follow(project, fingerprints, written or {})
        self._swap_now()

    def resolving(self, expand: Expand) -> None:
        """How texts of interceptors get their values, for what is declared next."""
        self._expand = expand

    def _govern(self, project: Project) -> None:
        """Requests pass what *project* says of interceptors and the audit log, from now on."""
        governed = self._governed
        if governed is not None and self.governance.audit is None and project.audit.enabled:
            from mcpcompose.audit.log import AuditLog  # noqa: PLC0415  only where it is kept

            self.governance.audit = AuditLog(governed.audit, project.audit, governed.redactor)
        around = None
        if project.interceptors or self.governance.links.all:
            around = Around(
                project=project,
                directory=project.directory,
                redactor=governed.redactor if governed is not None else Redactor(),
                environ=governed.environ() if governed is not None else {},
                expand=self._resolved,
                containers=governed.containers if governed is not None else None,
                log=governed.log if governed is not None else unread,
            )
        self.governance.follow(project, around)

    async def _resolved(self, owner: str, text: str) -> str:
        """*text* with the values that its references have now: interceptors are kept while values change."""
        return await (self._expand or _as_written)(owner, text)

    def _is_tokenless(self, client: str) -> bool:
        """Whether it has no token of its own: a shim of this user, the command line, anybody (`auth: none`)."""
        return client not in self.tokens.clients

    def starting(self, server: str) -> None:
        """Its instance is being made."""
        self.supervisor.starting(server)

    async def attach(self, server: str, endpoint: Endpoint) -> None:
        """Its instance runs and is reached here."""
        await self.supervisor.attach(server, endpoint)

    async def detach(self, server: str) -> None:
        """Its instance is about to go: calls in flight end first, new ones wait for the next instance."""
        await self.supervisor.detach(server)

    def health(self, server: str, health: Health, complaint: str) -> None:
        """What the check of its instance says."""
        self.supervisor.health(server, health, complaint)

    def failed(self, server: str, reason: str) -> None:
        """Its instance cannot be had."""
        self.supervisor.failed(server, reason)

    def stopped(self, server: str) -> None:
        """Its instance was stopped on purpose."""
        self.supervisor.stopped(server)

    # --- what the process that holds it does ------------------------------------------------------------------------

    async def start(
        self, listen_on: str = "127.0.0.1", port: int | None = None, stdio_socket: Path | None = None
    ) -> str:
        """
        Listen on the loopback address *listen_on*, and on *stdio_socket* for shims. Returns the endpoint's URL.

        Raises `McpComposeError` when *port* is taken; without one a free port is chosen (see `port`).
        """
        url = await self._listen(listen_on, port)
        if stdio_socket is not None:
            await self._stdio.start(stdio_socket)
        self.supervisor.start()
        return url

    async def move(self, listen_on: str, port: int, drain: float = 5.0) -> str:
        """Listen elsewhere from now on; requests in flight end where they are. Raises as `start` does."""
        before = self._listening
        url = await self._listen(listen_on, port)
        if before is not None:
            await before.stop(drain)
        return url

    async def _listen(self, listen_on: str, port: int | None) -> str:
        self._listening = await listen(self._front, bind(listen_on, port), bounds=self.bounds)
        host = f"[{listen_on}]" if ":" in listen_on else listen_on
        self.url = f"http://{host}:{self.port}/mcp"
        return self.url

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._listening is None:
            raise McpComposeError("the gateway does not listen")
        return int(self._listening.address[1])

    async def stop(self, drain: float = 5.0) -> None:
        """Take no new requests, let those in flight end for *drain* seconds, let go of every server."""
        for timer in (self._swap, self._report):
            if timer is not None:
                timer.cancel()
        self.listeners.close()
        self.kernel.rounds.parked.close()
        await self._stdio.stop(drain)
        if self._listening is not None:
            await self._listening.stop(drain)
        await self.supervisor.close()
        await self.integrity.close()
        await self.governance.close()

    async def settled(self, seconds: float) -> bool:
        """Wait until no server is waiting or starting any more."""
        return await self.supervisor.settled(seconds)

    def status(self) -> tuple[Status, ...]:
        """How each server is doing, in the file's order; of one that is well, what of it could not be exposed."""
        hidden = self._hidden()
        return tuple(self._told(line, hidden.get(line.server)) for line in self.supervisor.status())

    def _told(self, line: Status, hidden: list[str] | None) -> Status:
        line = self.integrity.told(line, self.kernel.table.lists.get(line.server))
        if line.state is not State.READY or line.reason is not None:
            return line
        return replace(line, reason=self.integrity.reason(line) or (_summed(hidden) if hidden else None))

    def offers(self) -> dict[str, dict[str, Any]]:
        """By server whose lists are known, what a lock holds of them: fingerprints of what it offers itself."""
        return {name: fingerprints(offered) for name, offered in self.supervisor.lists().items()}

    def _hidden(self) -> dict[str, list[str]]:
        """By server, what could not be exposed as it is in any profile."""
        table = self.kernel.table
        found: dict[str, list[str]] = {}
        for profile in table.project.profiles if table.project is not None else ():
            endpoint = table.endpoint(profile)
            for server, text in endpoint.collisions if endpoint is not None else ():
                if text not in (texts := found.setdefault(server, [])):
                    texts.append(text)
        return found

    def _report_hidden(self) -> None:
        """Say once in the log what could not be exposed."""
        self._report = None
        for server, texts in self._hidden().items():
            if (said := _summed(texts)) != self._reported.get(server):
                self._reported[server] = said
                _log.warning("server `%s`: %s", server, said)
        self.integrity.report()

    # --- for the command line ---------------------------------------------------------------------------------------

    def tools(self, profile: str = DEFAULT_PROFILE, server: str | None = None) -> tuple[dict[str, Any], ...]:
        """The tools as clients see them; each with its server and own name under `_mcpcompose`."""
        endpoint = self._endpoint(profile, server)
        return tuple(
            {**tool, "_mcpcompose": {"server": route.server, "name": route.name, **self._signs(route)}}
            for tool in endpoint.tools
            if (route := endpoint.tool_routes.get(tool["name"])) is not None
        )

    def _signs(self, route: Route) -> dict[str, Any]:
        found = self.integrity.findings_of(route.server, "tool", route.name)
        return {"findings": found} if found else {}

    def waiting(self) -> tuple[Waiting, ...]:
        """What is withheld until a person accepts it, where there is no lock."""
        return self.integrity.waiting(self.supervisor.lists())

    def accept(self, hashes: Collection[str]) -> tuple[Waiting, ...]:
        """Accept exactly these forms of `waiting`, and serve them. Raises `McpComposeError`."""
        try:
            return self.integrity.accept(hashes, self.supervisor.lists())
        finally:
            self._swap_now()

    async def call(
        self, method: str, params: dict[str, Any], *, profile: str = DEFAULT_PROFILE, server: str | None = None
    ) -> dict[str, Any]:
        """
        One request through the same pipeline as every client's, such as `tools/call` with an exposed name.

        With *server* on that server's own endpoint. Returns `{"result": …}` or `{"error": …}`.
        """
        endpoint = self._endpoint(profile, server)
        caller = handshake_caller(Origin("command line"), profile, server, "2025-11-25")
        outcome = self.kernel.begin(Request(1, method, params), caller, endpoint)
        answer: Answer = outcome.shape(await outcome.call.answer()) if isinstance(outcome, Forwarded) else outcome
        if isinstance(answer, Failure):
            return {"error": answer.fields()}
        return {"result": msgspec.json.decode(answer.raw)}

    def _endpoint(self, profile: str, server: str | None) -> EndpointTable:
        endpoint = self.kernel.table.endpoint(profile, server)
        if endpoint is None:
            what = f"server `{server}` in profile `{profile}`" if server else f"profile `{profile}`"
            raise McpComposeError(f"there is no {what}")
        return endpoint

    def flush(self) -> None:
        """Let changes that wait to become one swap take effect now."""
        if self._swap is not None:
            self._swap_now()

    # --- swapping the table -----------------------------------------------------------------------------------------

    def _admits(self, server: str, call: Call) -> bool:
        return self.integrity.admits(server, call.method, call.params, self.supervisor.lists_of(server))

    def _lists_changed(self) -> None:
        """Together with others that come soon; at once where something is to be withheld."""
        if self.integrity.looks and self.integrity.changes(self.supervisor.lists()):
            self._swap_now()
        elif self._swap is None:
            self._swap = asyncio.get_running_loop().call_later(_COALESCE, self._swap_now)

    def _swap_now(self) -> None:
        if self._swap is not None:
            self._swap.cancel()
            self._swap = None
        if self._project is None:
            return
        before: RoutingTable = self.kernel.table
        shown = self.governance.definitions.shown(self.integrity.accepted(self.supervisor.lists()))
        self.governance.routes(shown)
        self.kernel.table = compile_table(self._project, shown, before)
        self.listeners.table_changed(before, self.kernel.table)
        if self._report is None:
            self._report = asyncio.get_running_loop().call_later(_REPORT_AFTER, self._report_hidden)


def _summed(texts: list[str]) -> str:
    more = len(texts) - 1
    return f"{texts[0]} (and {more} more)" if more else texts[0]
