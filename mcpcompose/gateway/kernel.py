"""
Answer or route one request: the same for HTTP and stdio, both eras, and the command line's `tools call`.

What the table knows is answered at once; what a server must answer becomes a `Forwarded` call.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.gateway import bridge
from mcpcompose.gateway.asks import with_title
from mcpcompose.gateway.capabilities import has_tasks
from mcpcompose.gateway.compiler import RoutingTable
from mcpcompose.gateway.envelope import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    Answer,
    Failure,
    Request,
    Result,
)
from mcpcompose.gateway.fragments import Route
from mcpcompose.gateway.governance import Governance
from mcpcompose.gateway.listeners import Listeners
from mcpcompose.gateway.others import Others
from mcpcompose.gateway.outward import Outward
from mcpcompose.gateway.peers import Peers
from mcpcompose.gateway.polling import Poller
from mcpcompose.gateway.rounds import INTERACTIVE, Rounds
from mcpcompose.gateway.seal import Sealer
from mcpcompose.gateway.table import LISTS, EndpointTable
from mcpcompose.spec.limits import Limits, exceeded
from mcpcompose.upstream.allowance import Gauge
from mcpcompose.upstream.call import Ask, Call, Origin, Reply, moved
from mcpcompose.upstream.headers import param_mismatch
from mcpcompose.upstream.levels import LEVELS
from mcpcompose.upstream.supervisor import Supervisor
from mcpcompose.upstream.wire import (
    HANDSHAKE_VERSIONS,
    META_CAPABILITIES,
    META_CLIENT,
    META_LOG_LEVEL,
    MODERN_VERSIONS,
    encode,
    modern_envelope,
)

_LONGEST_URI: Final = 64 << 10


class Caller(msgspec.Struct, frozen=True):
    """
    Who asks, on which endpoint, in which revision; *headers* are those of a modern HTTP request.

    *envelope* is what a modern server is told of a handshake client.
    """

    profile: str
    server: str | None
    version: str
    origin: Origin
    envelope: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None

    @property
    def modern(self) -> bool:
        """Whether the revision is stateless."""
        return self.origin.modern

    @property
    def client(self) -> str:
        """Whose token it came with."""
        return self.origin.client

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the client says it can do."""
        return self.origin.capabilities


def handshake_caller(origin: Origin, profile: str, server: str | None, version: str) -> Caller:
    """A client of the handshake revisions; made once for a session."""
    return Caller(profile, server, version, origin, modern_envelope(origin))


def modern_caller(  # noqa: PLR0917  who, where, how
    client: str,
    profile: str,
    server: str | None,
    version: str,
    meta: Mapping[str, Any],
    headers: Mapping[str, str] | None,
) -> Caller:
    """A client of the stateless revision, which says with each request what it can do; *meta* is the request's."""
    capabilities, info, level = meta.get(META_CAPABILITIES), meta.get(META_CLIENT), meta.get(META_LOG_LEVEL)
    origin = Origin(
        client,
        None,
        modern=True,
        capabilities=capabilities if isinstance(capabilities, dict) else {},
        info=info if isinstance(info, dict) else None,
        level=level if isinstance(level, str) else None,
    )
    return Caller(profile, server, version, origin, None, headers)


@dataclass(slots=True)
class Forwarded:
    """
    A request that is with a server, or waits for one to start; *params* are as the client sent them.

    *title* is what people are shown of the server, where there is more than one, and *outward* what a result is then.
    """

    call: Call
    method: str
    params: dict[str, Any] = field(repr=False)
    caller: Caller
    server: str
    title: str | None
    info: bytes = field(repr=False)
    rounds: Rounds = field(repr=False)
    outward: Outward | None = field(default=None, repr=False)

    @property
    def modern(self) -> bool:
        """Whether the client's revision is stateless."""
        return self.caller.origin.modern

    def shape(self, reply: Reply) -> Answer:
        """The server's reply as this client must see it."""
        modern = self.caller.origin.modern
        if self.outward is not None and reply.result is not None:
            shown = self.outward(reply.result, self.method)
            if shown is not reply.result:
                reply = Reply(result=shown, era=reply.era)
        if modern and self.method in INTERACTIVE:
            reply = self.rounds.prepared(self, reply)
        return bridge.answer(reply, self.method, modern=modern, info=self.info)

    def shown(self, ask: Ask) -> Ask:
        """*ask* as people shall see it."""
        ask.server = self.server
        if self.title is not None:
            with_title(ask, self.title)
        return ask

    def park(self, asks: list[Ask]) -> Answer | None:
        """Let the call wait for answers; returns what a modern client gets, None when it can answer nothing."""
        return self.rounds.parked.park(self, [self.shown(ask) for ask in asks])


class Kernel:
    """Serves from *table*, which is replaced as a whole; a request keeps the one it began with."""

    def __init__(
        self,
        supervisor: Supervisor,
        listeners: Listeners,
        peers: Peers | None = None,
        key: bytes | None = None,
        governance: Governance | None = None,
    ) -> None:
        self.table = RoutingTable()
        self.listeners = listeners
        self.peers = peers or Peers()
        key = key or secrets.token_bytes(32)
        self.rounds = Rounds(Sealer(key))
        self.others = Others(supervisor, self.peers, key, self._forward, self._waiting)
        self.peers.ended = self._session_ended
        self.peers.everybody = self.others.subscribers.heard
        self.governance = self.peers.governance = governance or Governance()
        self.limits = Limits()
        self.admits: Callable[[str, Call], bool] = lambda _server, _call: True
        """Whether a server still offers what a call is about that waited for an interceptor."""
        self.withheld: Callable[[str, str, str], str | None] = lambda *_what: None
        """Why a server's tool or prompt is not offered although it has it."""
        self._gauges: dict[str, Gauge] = {}
        self._supervisor = supervisor

    def follow(self, limits: Limits) -> None:
        """What the file says that clients may do, from now on."""
        self.limits = limits
        self.listeners.most = limits.streams
        self.others.subscribers.most = limits.subscriptions
        self.rounds.parked.most = limits.parked
        for gauge in self._gauges.values():
            gauge.most = limits.calls

    def begin(  # noqa: PLR0911  one line per method
        self, request: Request, caller: Caller, endpoint: EndpointTable
    ) -> Answer | Forwarded:
        """Answer *request*, or send it on. Never raises."""
        method = request.method
        if "requestState" in request.params and caller.modern:
            resumed = self.rounds.resumed(request, caller, self._leads_to(request, caller, endpoint))
            if resumed is not None:
                return resumed
        if method == "tools/call":
            return self._named(request, caller, endpoint, endpoint.tool_routes, "tool")
        if method in LISTS:
            return self._list(request, caller, endpoint)
        if method == "resources/read":
            return self._read(request, caller, endpoint)
        if method == "prompts/get":
            return self._named(request, caller, endpoint, endpoint.prompt_routes, "prompt")
        if method == "ping" and not caller.modern:
            return Result(b"{}")
        if method == "server/discover" and caller.modern:
            return discovered(endpoint)
        return self.others.begin(request, caller, endpoint)

    def status(self, endpoint: EndpointTable) -> dict[str, str]:
        """How the servers of an endpoint are."""
        return {s.server: s.state.value for s in self._supervisor.status() if s.server in endpoint.servers}

    def _list(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Answer | Forwarded:
        self._supervisor.wanted(endpoint.servers, LISTS[request.method][0])
        cursor = request.params.get("cursor")
        page = endpoint.page(request.method, cursor, self.limits.page, modern=caller.modern)
        if page is None:
            return Failure(INVALID_PARAMS, "this cursor was not given out here")
        if not self.governance.lists(request.method):
            return Result(page)
        call = Call(request.method, bridge.without_envelope(request.params)[0], origin=caller.origin)
        self._pass(call, caller, endpoint.server or "", None, lambda call: call.finish(Reply(result=page)))
        return self._waiting(call, request, caller, endpoint, endpoint.server or "")

    def _pass(self, call: Call, caller: Caller, server: str, exposed: object, submit: Callable[[Call], None]) -> None:
        """Let *call* pass the interceptors, then *submit* it."""
        governance = self.governance
        if governance.active:
            shown = exposed if isinstance(exposed, str) else None
            send = partial(self._send, self.table, server, submit)
            governance.begin(call, call.method, caller.origin, caller.profile, server, shown, send)
        else:
            submit(call)

    def _send(self, table: RoutingTable, server: str, submit: Callable[[Call], None], call: Call) -> None:
        """*submit* what interceptors let through, unless its server meanwhile offers something else under that name."""
        if self.table is table or self.admits(server, call):
            submit(call)
        else:
            call.finish(moved(server))

    def _named(
        self, request: Request, caller: Caller, endpoint: EndpointTable, routes: Mapping[str, Route], what: str
    ) -> Answer | Forwarded:
        params = request.params
        name = params.get("name")
        route = routes.get(name) if isinstance(name, str) else None
        if route is None:
            unknown = self._unknown(name, endpoint, what)
            self.governance.refused(caller.origin, caller.profile, request.method, name, unknown.message)
            return unknown
        if route.headers and caller.headers is not None:
            mismatch = param_mismatch(route.headers, params.get("arguments"), caller.headers)
            if mismatch is not None:
                return Failure(HEADER_MISMATCH, mismatch)
        params = {**params, "name": route.name}
        if "task" in params and endpoint.server is None:
            del params["task"]  # of 2025-11-25, and not offered here: such a call is one like any other
        return self._forward(request, caller, endpoint, route.server, params)

    def _leads_to(self, request: Request, caller: Caller, endpoint: EndpointTable) -> str | None:
        """The server that *request* would go to now; None where this client may not make it."""
        name, uri = request.params.get("name"), request.params.get("uri")
        if request.method == "resources/read":
            place = self.others.place(uri, caller, endpoint) if isinstance(uri, str) else None
            return place.server if place is not None else None
        routes = endpoint.tool_routes if request.method == "tools/call" else endpoint.prompt_routes
        route = routes.get(name) if isinstance(name, str) else None
        return route.server if route is not None else None

    def hears(self, session: str) -> None:
        """A session's client listens outside of its calls from now on."""
        self._supervisor.session_hears(session)

    def _unknown(self, name: object, endpoint: EndpointTable, what: str) -> Failure:
        """Names of a server whose lists are not there may well exist: its state is the answer then."""
        if not isinstance(name, str):
            return Failure(INVALID_PARAMS, "`name` is not a string")
        server = endpoint.named(name)
        excuse = self._supervisor.excuse(server) if server is not None else None
        if excuse is None:
            why = (self.withheld(one, what, own) for one, own in endpoint.meant(name))
            return Failure(INVALID_PARAMS, "; ".join([f"unknown {what} `{name}`", *filter(None, why)][:2]))
        return Failure(INTERNAL_ERROR, excuse, {"server": server, "retryable": True})

    def _read(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Answer | Forwarded:
        uri = request.params.get("uri")
        if not isinstance(uri, str) or len(uri) > _LONGEST_URI:
            return Failure(INVALID_PARAMS, f"`uri` is not a string of at most {_LONGEST_URI} characters")
        place = self.others.place(uri, caller, endpoint)
        if place is None:
            code, text = INVALID_PARAMS if caller.modern else RESOURCE_NOT_FOUND, f"there is no resource `{uri}`"
            self.governance.refused(caller.origin, caller.profile, request.method, uri, text)
            return Failure(code, text, {"uri": uri})
        params = request.params if place.uri == uri else {**request.params, "uri": place.uri}
        return self._forward(request, caller, endpoint, place.server, params)

    def _session_ended(self, session: str) -> None:
        self.others.subscribers.session_ended(session)
        self._supervisor.session_ended(session)

    def _waiting(  # noqa: PLR0917  who asks what, where, and what is done then
        self,
        call: Call,
        request: Request,
        caller: Caller,
        endpoint: EndpointTable,
        server: str,
        act: Callable[[Call], None] | None = None,
    ) -> Forwarded:
        """A call that we finish ourselves, once *act* is done."""
        if act is not None:
            self._pass(call, caller, server, None, act)
        return Forwarded(call, request.method, request.params, caller, server, None, endpoint.info_json, self.rounds)

    def _forward(
        self, request: Request, caller: Caller, endpoint: EndpointTable, server: str, params: dict[str, Any]
    ) -> Forwarded | Failure:
        modern, interactive = caller.origin.modern, request.method in INTERACTIVE
        if modern and "requestState" in params and interactive:
            state = self.rounds.state(request, caller.client, server)
            if not isinstance(state, str):
                return state
            params = {**params, "requestState": state}
        clean, envelope, token = bridge.without_envelope(params)
        idle, total = self._supervisor.timeouts(server)
        call = Call(
            request.method,
            clean,
            envelope=envelope if modern else dict(caller.envelope or {}),
            progress_token=token,
            origin=caller.origin,
            driver=None if modern or not interactive else Poller(self._resubmit(server)),
            idle=idle,
            total=total,
        )
        gauge = self._gauges.get(caller.origin.client)
        if gauge is None:
            gauge = self._gauges[caller.origin.client] = Gauge(self.limits.calls)
        if not gauge.take(call):
            text = exceeded("this client has too many calls under way", gauge.most, "gateway.limits.calls")
            return Failure(INTERNAL_ERROR, text, {"retryable": True})
        self._pass(call, caller, server, request.params.get("name"), self._resubmit(server))
        several = len(endpoint.servers) > 1
        title = server if endpoint.server is None and several else None
        outward = None
        if endpoint.server is None and (several or has_tasks(endpoint.said.get(server))):
            outward = Outward(endpoint, server, caller.origin.client, self.others.links, self.others.task_ids)
        return Forwarded(
            call, request.method, request.params, caller, server, title, endpoint.info_json, self.rounds, outward
        )

    def _resubmit(self, server: str) -> Callable[[Call], None]:
        return partial(self._supervisor.submit, server)


def leveled(caller: Caller, params: Mapping[str, Any]) -> Caller:
    """The client of a session after its `logging/setLevel`."""
    level = params.get("level")
    if not isinstance(level, str) or level not in LEVELS:
        return caller
    origin = msgspec.structs.replace(caller.origin, level=level)
    return msgspec.structs.replace(caller, origin=origin, envelope=modern_envelope(origin))


def initialized(params: Mapping[str, Any], endpoint: EndpointTable) -> tuple[str, Result]:
    """Answer `initialize` from the table: the revision, and the result."""
    wanted = params.get("protocolVersion")
    version = wanted if isinstance(wanted, str) and wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    greeting = endpoint.greeting(modern=False)
    return version, Result(encode({"protocolVersion": version, "serverInfo": endpoint.info, **greeting}))


def discovered(endpoint: EndpointTable) -> Result:
    """Answer `server/discover` from the table."""
    return Result(encode({"supportedVersions": list(MODERN_VERSIONS), **endpoint.greeting(modern=True)}))


__all__ = ["Answer", "Caller", "Failure", "Forwarded", "Kernel", "Request", "Result", "discovered", "initialized"]
