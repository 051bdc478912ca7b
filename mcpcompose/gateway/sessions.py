"""Sessions of the handshake revisions over HTTP: unguessable, bound to a client and an endpoint, bounded, expiring."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.gateway.asks import OpenAsks
from mcpcompose.gateway.envelope import RequestId
from mcpcompose.gateway.eventlog import EventLog, EventStore
from mcpcompose.gateway.kernel import Caller, handshake_caller
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.peers import Peers
from mcpcompose.upstream.call import METHOD_NOT_FOUND, Ask, Call, Origin, failure

_MOST: Final = 1000
_IDLE: Final = 3600.0
_LOOK: Final = 60.0
_SOONEST: Final = 0.05
"""Seconds between two looks for idle ones, at most and at least."""


@dataclass(eq=False, slots=True)
class Session:
    """One client's session."""

    id: str
    client: str
    profile: str
    server: str | None
    version: str
    used: float
    caller: Caller
    asks: OpenAsks
    log: EventLog
    listener: Listener | None = None
    heard: dict[str, int] = field(default_factory=dict)
    """Marks of the lists that its client could know of when it stopped listening."""
    calls: dict[RequestId, Call] = field(default_factory=dict)

    def said(self, method: str, params: bytes) -> None:
        """A server says something to this client, outside of its calls; who does not listen misses it."""
        if self.listener is not None:
            self.listener.say(method, params)

    def asked(self, ask: Ask) -> None:
        """A server asks this client something, outside of its calls."""
        if self.listener is None or not self.listener.ask(ask):
            ask.answer(failure(METHOD_NOT_FOUND, "the client does not listen"))

    @property
    def level(self) -> str | None:
        """The least severe log messages it wants."""
        return self.caller.origin.level

    @property
    def listens(self) -> bool:
        """Whether its stream is open."""
        return self.listener is not None

    @property
    def busy(self) -> bool:
        """Somebody waits on it right now."""
        return self.listener is not None or bool(self.calls)


class Sessions:
    """All sessions; the longest idle one of the client that holds the most makes room for a new one."""

    def __init__(
        self,
        *,
        most: int = _MOST,
        idle: float = _IDLE,
        clock: Callable[[], float] = time.monotonic,
        peers: Peers | None = None,
    ) -> None:
        self._peers = peers or Peers()
        self.most = most
        self._idle_seconds = idle
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.events = EventStore()

    def follow(self, most: int, idle: float) -> None:
        """How many there may be, and how long one may be idle, from now on."""
        self.most = most
        self._idle_seconds = idle

    def __len__(self) -> int:
        return len(self._sessions)

    def open(  # noqa: PLR0917  who, where, how
        self,
        client: str,
        profile: str,
        server: str | None,
        version: str,
        capabilities: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """A new session of a client that can do and calls itself so; None when every one of them is busy."""
        now = self._clock()
        if len(self._sessions) >= self.most:
            self._expire(now)
        if len(self._sessions) >= self.most:
            idle = self._longest_idle(client)
            if idle is None:
                return None
            self.close(idle)
        id_, can = secrets.token_urlsafe(24), capabilities or {}
        caller = handshake_caller(Origin(client, id_, capabilities=can, info=info), profile, server, version)
        session = Session(id_, client, profile, server, version, now, caller, OpenAsks(can), self.events.log(version))
        self._sessions[id_] = session
        self._peers.add(id_, session)
        return session

    def get(self, id_: str, client: str, profile: str, server: str | None) -> Session | None:
        """The session, when it is this client's on this endpoint."""
        session = self._sessions.get(id_)
        if session is None or (session.client, session.profile, session.server) != (client, profile, server):
            return None
        now = self._clock()
        if now - session.used > self._idle_seconds and not session.busy:
            self.close(session)
            return None
        session.used = now
        self._sessions[id_] = self._sessions.pop(id_)  # the least recently used comes first
        return session

    def close(self, session: Session) -> None:
        """It ends, and with it what its client waits for."""
        self._sessions.pop(session.id, None)
        if session.listener is not None:
            session.listener.close()
        for call in tuple(session.calls.values()):
            call.cancel("the session ended")
        session.asks.close()
        session.log.close()
        self._peers.remove(session.id)

    def watch(self) -> None:
        """End those that are idle for too long from now on, as long as there are any."""
        if self._timer is None and self._sessions:
            seconds = max(min(self._idle_seconds / 2, _LOOK), _SOONEST)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        self._expire(self._clock())
        self.watch()

    def _longest_idle(self, client: str) -> Session | None:
        """Who makes room: the client itself when it holds more than half, else whoever holds the most."""
        held = Counter(session.client for session in self._sessions.values())
        clients = [client] if held[client] * 2 > self.most else [name for name, _ in held.most_common()]
        for name in clients:
            for session in self._sessions.values():
                if session.client == name and not session.busy:
                    return session
        return None

    def _expire(self, now: float) -> None:
        for session in tuple(self._sessions.values()):
            if now - session.used > self._idle_seconds and not session.busy:
                self.close(session)
