"""
Clients that want to hear of single resources and tasks: who they are, and what of a server's word concerns whom.

A holder is a session, or one `subscriptions/listen`; what it holds ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.gateway.capabilities import can_subscribe, has_tasks
from mcpcompose.gateway.peers import Peers
from mcpcompose.gateway.table import EndpointTable, Place
from mcpcompose.gateway.tasks import NOTIFICATION, TaskIds, task_id, with_task_id
from mcpcompose.gateway.uris import Rewriting
from mcpcompose.spec.limits import exceeded
from mcpcompose.upstream.call import INTERNAL_ERROR, Call, Origin, Reply, failure, unavailable
from mcpcompose.upstream.subscriptions import UPDATED, prefixes
from mcpcompose.upstream.supervisor import Supervisor
from mcpcompose.upstream.wire import META_SUBSCRIPTION, encode, members

_PATIENCE: Final = 2.0
"""Seconds in which servers say whether they will tell; later they may still do so."""
LISTS: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
"""The filters about lists, and our words for them."""

Say = Callable[[str, bytes, object], None]
"""Hand on a notification: method, params, and a key of which the last one counts."""


@dataclass(eq=False, slots=True)
class _Held:
    """One resource: how the URIs of its server are shown to the holder, and what lets go of it."""

    shown: Rewriting | None
    let_go: Callable[[], None] = lambda: None


@dataclass(eq=False, slots=True)
class Holder:
    """Who holds subscriptions; *client* is whose."""

    client: str
    say: Say
    resources: dict[tuple[str, str], _Held] = field(default_factory=dict)
    """By server and its own URI."""
    tasks: dict[tuple[str, str], str] = field(default_factory=dict)
    """By server and its own id: the id it has here."""
    calls: list[Call] = field(default_factory=list)


class Subscribers:
    """All holders, by what they wait for."""

    def __init__(self, supervisor: Supervisor, task_ids: TaskIds, peers: Peers) -> None:
        self._peers = peers
        self.most = 1000
        """Resources and tasks that one holder may wait for."""
        self._supervisor = supervisor
        self._task_ids = task_ids
        self._resources: dict[tuple[str, str], set[Holder]] = {}
        self._tasks: dict[tuple[str, str], set[Holder]] = {}
        self._sessions: dict[str, Holder] = {}

    # --- sessions of the handshake revisions ------------------------------------------------------------------------

    def session(self, id_: str, client: str, say: Callable[[str, str, bytes], None]) -> Holder:
        """The holder of a session, whose client is told by *say*."""
        holder = self._sessions.get(id_)
        if holder is None:
            holder = self._sessions[id_] = Holder(client, lambda method, params, _key: say(id_, method, params))
        return holder

    def session_ended(self, id_: str) -> None:
        """What it held is let go of."""
        holder = self._sessions.pop(id_, None)
        if holder is not None:
            self.drop(holder)

    # --- holding ----------------------------------------------------------------------------------------------------

    def hold(
        self, holder: Holder, server: str, uri: str, shown: Rewriting | None, told: Callable[[Reply], None]
    ) -> None:
        """Wait for changes of the server's *uri*; *told* says whether there will be any."""
        key = (server, uri)
        if key in holder.resources:
            told(Reply(result=b"{}"))
            return
        subscriptions = self._supervisor.subscriptions(server)
        if subscriptions is None:
            told(unavailable(server, f"server `{server}` is no longer declared"))
            return
        if len(holder.resources) >= self.most:
            what = exceeded("too many subscriptions", self.most, "gateway.limits.subscriptions")
            told(failure(INTERNAL_ERROR, what))
            return
        held = holder.resources[key] = _Held(shown)
        self._resources.setdefault(key, set()).add(holder)

        def answered(reply: Reply) -> None:
            if reply.error is not None:
                holder.resources.pop(key, None)
                _discard(self._resources, key, holder)
            told(reply)

        held.let_go = subscriptions.subscribe(uri, answered)

    def note(self, holder: Holder, server: str, uri: str, endpoint: EndpointTable, *, begins: bool) -> None:
        """The holder's own instance of *server* is asked by itself; what that says of *uri* concerns the holder."""
        if not begins:
            self.let_go(holder, server, uri)
        elif len(holder.resources) < self.most:
            holder.resources.setdefault((server, uri), _Held(endpoint.rewriting.get(server)))
            self._resources.setdefault((server, uri), set()).add(holder)

    def let_go(self, holder: Holder, server: str, uri: str) -> None:
        """Wait for it no longer."""
        key = (server, uri)
        held = holder.resources.pop(key, None)
        if held is not None:
            _discard(self._resources, key, holder)
            held.let_go()

    def drop(self, holder: Holder) -> None:
        """Let go of everything."""
        for server, uri in tuple(holder.resources):
            self.let_go(holder, server, uri)
        for key in holder.tasks:
            _discard(self._tasks, key, holder)
        for call in holder.calls:
            call.cancel("the subscription ended")

    # --- `subscriptions/listen` -------------------------------------------------------------------------------------

    async def honour(
        self, holder: Holder, wanted: Mapping[str, Any], endpoint: EndpointTable, envelope: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The part of a filter that will be delivered; servers are asked at once, and given a moment to answer."""
        honoured: dict[str, Any] = {name: True for name in LISTS if wanted.get(name) is True}
        resources, tasks = wanted.get("resourceSubscriptions"), wanted.get("taskIds")
        if isinstance(resources, list):
            honoured["resourceSubscriptions"] = await self._hold_all(holder, _texts(resources, self.most), endpoint)
        if isinstance(tasks, list):
            honoured["taskIds"] = self._follow(holder, _texts(tasks, self.most), endpoint, envelope)
        return honoured

    async def _hold_all(self, holder: Holder, uris: list[str], endpoint: EndpointTable) -> list[str]:
        refused: set[str] = set()
        waiting = 0
        answered = asyncio.Event()

        def told(uri: str, reply: Reply) -> None:
            nonlocal waiting
            waiting -= 1
            if reply.error is not None:
                refused.add(uri)
            if not waiting:
                answered.set()

        possible = []
        for uri in uris:
            place = endpoint.place(uri)
            if place is None or not can_subscribe(endpoint.said.get(place.server)):
                continue
            possible.append(uri)
            waiting += 1
            shown = endpoint.rewriting.get(place.server)
            self._hold_governed(holder, endpoint.profile, place, shown, partial(told, uri))
        if waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await answered.wait()
        return [uri for uri in possible if uri not in refused]

    def _hold_governed(
        self,
        holder: Holder,
        profile: str,
        place: Place,
        shown: Rewriting | None,
        told: Callable[[Reply], None],
    ) -> None:
        """As `hold`, once the interceptors have let it."""
        governance = self._peers.governance
        if governance is None or not governance.active:
            self.hold(holder, place.server, place.uri, shown, told)
            return
        method, origin = "resources/subscribe", Origin(holder.client, modern=True)
        call = Call(method, {"uri": place.uri}, origin=origin)
        holder.calls.append(call)

        def act(call: Call) -> None:
            self.hold(holder, place.server, place.uri, shown, call.finish)

        governance.begin(call, method, origin, profile, place.server, None, act, told)

    def _follow(
        self, holder: Holder, ids: list[str], endpoint: EndpointTable, envelope: Mapping[str, Any]
    ) -> list[str]:
        """One subscription upstream for each server whose tasks these are."""
        by_server: dict[str, list[str]] = {}
        honoured = []
        for id_ in ids:
            found = self._task(id_, holder.client, endpoint)
            if found is None or len(holder.tasks) >= self.most or not has_tasks(endpoint.said.get(found[0])):
                continue
            holder.tasks[found] = id_
            self._tasks.setdefault(found, set()).add(holder)
            by_server.setdefault(found[0], []).append(found[1])
            honoured.append(id_)
        for server, own in by_server.items():
            params = {"notifications": {"taskIds": own}}
            call = Call("subscriptions/listen", params, envelope=dict(envelope), idle=None, total=None)
            holder.calls.append(call)
            governance, submit = self._peers.governance, partial(self._supervisor.submit, server)
            if governance is not None and governance.active:
                origin = Origin(holder.client, modern=True)
                governance.begin(call, call.method, origin, endpoint.profile, server, None, submit)
            else:
                submit(call)
        return honoured

    def _task(self, id_: str, client: str, endpoint: EndpointTable) -> tuple[str, str] | None:
        if endpoint.server is not None:
            return (endpoint.server, id_)
        found = self._task_ids.opened(id_, client)
        return found if found is not None and found[0] in endpoint.servers else None

    # --- what servers say -------------------------------------------------------------------------------------------

    def heard(self, server: str, session: str | None, method: str, params: bytes) -> None:
        """A notification of *server* to nobody in particular, or from an instance that *session* has for itself."""
        if method == UPDATED:
            self._updated(server, params, self._sessions.get(session) if session is not None else None)
        elif method == NOTIFICATION:
            id_ = task_id(params)
            for holder in self._tasks.get((server, id_), ()) if id_ is not None else ():
                shown = holder.tasks[server, str(id_)]
                holder.say(method, params if shown == id_ else with_task_id(params, shown), None)

    def _updated(self, server: str, params: bytes, only: Holder | None) -> None:
        found = members(params)
        try:
            uri = msgspec.json.decode(found["uri"], type=str) if found is not None else None
        except (KeyError, msgspec.MsgspecError):
            uri = None
        if uri is None or found is None:
            return
        told: set[Holder] = set()
        for part in prefixes(uri):
            for holder in self._resources.get((server, part), set()) - told:
                if only not in {None, holder}:
                    continue
                told.add(holder)
                mark = holder.resources[server, part].shown
                shown = uri if mark is None else mark.out(uri)
                holder.say(UPDATED, _shown(found, params, uri, shown), (UPDATED, shown))


def _shown(found: Mapping[str, msgspec.Raw], params: bytes, uri: str, shown: str) -> bytes:
    """The params with the URI as it is shown here, without the mark of our own subscription."""
    if shown == uri and "_meta" not in found:
        return params
    changed: dict[str, Any] = {**found, "uri": shown}
    meta = members(bytes(found["_meta"])) if "_meta" in found else None
    if meta is not None:
        meta.pop(META_SUBSCRIPTION, None)
        changed["_meta"] = meta
        if not meta:
            del changed["_meta"]
    return encode(changed)


def _texts(values: list[Any], most: int) -> list[str]:
    return list(dict.fromkeys(value for value in values if isinstance(value, str)))[:most]


def _discard(index: dict[tuple[str, str], set[Holder]], key: tuple[str, str], holder: Holder) -> None:
    holders = index.get(key)
    if holders is not None:
        holders.discard(holder)
        if not holders:
            del index[key]


__all__ = ["LISTS", "Holder", "Subscribers"]
