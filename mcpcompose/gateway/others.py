"""
Requests beside calls and lists: completion, single resources to hear of, log levels, tasks, and what nobody knows.

Each finds its server by what it names; on a server's own endpoint what is not known goes there as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.gateway.capabilities import can_subscribe
from mcpcompose.gateway.envelope import INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND, Failure, Request
from mcpcompose.gateway.peers import Peers
from mcpcompose.gateway.subscribers import Holder, Subscribers
from mcpcompose.gateway.table import EndpointTable, Place
from mcpcompose.gateway.tasks import METHODS as TASK_METHODS
from mcpcompose.gateway.tasks import TaskIds
from mcpcompose.gateway.uris import Links
from mcpcompose.upstream.call import PROGRESS, Call, Reply
from mcpcompose.upstream.levels import LEVELS, SET_LEVEL
from mcpcompose.upstream.supervisor import Supervisor

if TYPE_CHECKING:
    from mcpcompose.gateway.asks import OpenAsks
    from mcpcompose.gateway.kernel import Caller, Forwarded

_OURS: Final = frozenset(
    {"initialize", "ping", "server/discover", "subscriptions/listen", "resources/subscribe", "resources/unsubscribe"}
) | {SET_LEVEL}
"""What is between a client and us, and never a server's to answer."""
_SUBSCRIBING: Final = frozenset({"resources/subscribe", "resources/unsubscribe"})
_NOTICES: Final = frozenset({"notifications/cancelled", "notifications/initialized"})
_TO_ALL: Final = frozenset({"notifications/roots/list_changed", PROGRESS})
"""What a client tells servers that it has a conversation of its own with."""


class Others:
    """*forward* sends a request to a server, *wait* shows a call that we finish ourselves, by what it is given."""

    def __init__(
        self,
        supervisor: Supervisor,
        peers: Peers,
        key: bytes,
        forward: Callable[[Request, Caller, EndpointTable, str, dict[str, Any]], Forwarded | Failure],
        wait: Callable[[Call, Request, Caller, EndpointTable, str, Callable[[Call], None] | None], Forwarded],
    ) -> None:
        self.links = Links()
        self.task_ids = TaskIds(key)
        self.subscribers = Subscribers(supervisor, self.task_ids, peers)
        self._supervisor = supervisor
        self._peers = peers
        self._forward = forward
        self._wait = wait

    def begin(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Forwarded | Failure:
        """Send *request* to where it belongs."""
        method = request.method
        if method == "completion/complete" and endpoint.server is None and _any_completes(endpoint):
            return self._complete(request, caller, endpoint)
        if method in _SUBSCRIBING and caller.origin.session is not None and _any_subscribes(endpoint):
            return self._subscription(request, caller, endpoint)
        if method == SET_LEVEL and caller.origin.session is not None:
            return self._level(request, caller, endpoint)
        if method in TASK_METHODS and caller.modern and endpoint.server is None:
            return self._task(request, caller, endpoint)
        if endpoint.server is not None and method not in _OURS:
            return self._forward(request, caller, endpoint, endpoint.server, request.params)
        return Failure(METHOD_NOT_FOUND, f"`{method}` is not offered here")

    def noticed(
        self, method: str, params: dict[str, Any], caller: Caller, endpoint: EndpointTable, asks: OpenAsks
    ) -> None:
        """A notification of a handshake client that concerns servers; *asks* is what it is asked."""
        session = caller.origin.session
        if session is None or method in _NOTICES or (endpoint.server is None and method not in _TO_ALL):
            return
        servers: Iterable[str | None] = endpoint.servers
        if method == PROGRESS:
            servers = (asks.asker(params.get("progressToken")),)
        for server in servers:
            if server is None:
                continue
            told = self._govern(server, caller, method, params)
            if told is not None:
                self._supervisor.notify(server, session, method, told, shared=method not in _TO_ALL)

    def _govern(self, server: str, caller: Caller, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        governance = self._peers.governance
        if governance is None or not governance.active:
            return params
        return governance.tells(server, caller.origin, caller.profile, method, params)

    def place(self, uri: str, caller: Caller, endpoint: EndpointTable) -> Place | None:
        """Where a URI is that this client names."""
        return endpoint.place(uri, self.links.owner(caller.client, endpoint.profile, uri))

    # --- one by one -------------------------------------------------------------------------------------------------

    def _complete(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Forwarded | Failure:
        ref = request.params.get("ref")
        if not isinstance(ref, dict):
            return Failure(INVALID_PARAMS, "`ref` is not an object")
        name, uri = ref.get("name"), ref.get("uri")
        if ref.get("type") == "ref/prompt" and isinstance(name, str):
            route = endpoint.prompt_routes.get(name)
            if route is None:
                return Failure(INVALID_PARAMS, f"unknown prompt `{name}`")
            return self._completed(request, caller, endpoint, route.server, {**ref, "name": route.name})
        if ref.get("type") == "ref/resource" and isinstance(uri, str):
            place = endpoint.template(uri) or self.place(uri, caller, endpoint)
            if place is None:
                return Failure(INVALID_PARAMS, f"there is no resource or template `{uri}`", {"uri": uri})
            return self._completed(request, caller, endpoint, place.server, {**ref, "uri": place.uri})
        return Failure(INVALID_PARAMS, "`ref` is neither a prompt nor a resource")

    def _completed(
        self, request: Request, caller: Caller, endpoint: EndpointTable, server: str, ref: dict[str, Any]
    ) -> Forwarded | Failure:
        return self._forward(request, caller, endpoint, server, {**request.params, "ref": ref})

    def _task(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Forwarded | Failure:
        exposed = request.params.get("taskId")
        found = self.task_ids.opened(exposed, caller.client)
        if found is None or found[0] not in endpoint.servers:
            return Failure(INVALID_PARAMS, f"there is no task `{exposed}`")
        return self._forward(request, caller, endpoint, found[0], {**request.params, "taskId": found[1]})

    def _subscription(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Forwarded | Failure:
        uri = request.params.get("uri")
        place = self.place(uri, caller, endpoint) if isinstance(uri, str) else None
        if place is None:
            return Failure(RESOURCE_NOT_FOUND, f"there is no resource `{uri}`", {"uri": uri})
        said = endpoint.said.get(place.server)
        if said is not None and not can_subscribe(said):
            return Failure(METHOD_NOT_FOUND, f"server `{place.server}` does not say when resources change")
        holder, begins = self._holder(caller), request.method == "resources/subscribe"
        if not self._supervisor.is_shared(place.server):
            self.subscribers.note(holder, place.server, place.uri, endpoint, begins=begins)
            return self._forward(request, caller, endpoint, place.server, {**request.params, "uri": place.uri})
        call = Call(request.method, {**request.params, "uri": place.uri}, origin=caller.origin)

        def act(call: Call) -> None:
            if begins:
                shown = endpoint.rewriting.get(place.server)
                self.subscribers.hold(holder, place.server, place.uri, shown, call.finish)
            else:
                self.subscribers.let_go(holder, place.server, place.uri)
                call.finish(Reply(result=b"{}"))

        return self._wait(call, request, caller, endpoint, place.server, act)

    def _holder(self, caller: Caller) -> Holder:
        return self.subscribers.session(caller.origin.session or "", caller.client, self._peers.tell)

    def _level(self, request: Request, caller: Caller, endpoint: EndpointTable) -> Forwarded | Failure:
        """Told to every server that speaks of levels; answered when all of them know."""
        level, session = request.params.get("level"), caller.origin.session
        servers = [name for name, said in endpoint.said.items() if said is not None and said.get("logging") is not None]
        if not servers or session is None:
            return Failure(METHOD_NOT_FOUND, f"`{request.method}` is not offered here")
        if not isinstance(level, str) or level not in LEVELS:
            return Failure(INVALID_PARAMS, f"`level` is none of {', '.join(LEVELS)}")
        call = Call(request.method, request.params, origin=caller.origin)
        missing = len(servers)

        def told(reply: Reply) -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                call.finish(reply if endpoint.server is not None else Reply(result=b"{}"))

        def act(_call: Call) -> None:
            for server in servers:
                self._supervisor.level(server, session, level, told)

        return self._wait(call, request, caller, endpoint, servers[0] if len(servers) == 1 else "", act)


def _any_completes(endpoint: EndpointTable) -> bool:
    return any(said is None or said.get("completions") is not None for said in endpoint.said.values())


def _any_subscribes(endpoint: EndpointTable) -> bool:
    return any(said is None or can_subscribe(said) for said in endpoint.said.values())
