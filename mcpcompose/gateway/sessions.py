"""Sessions of the handshake revisions over HTTP: unguessable, bound to a client and an endpoint, bounded, expiring."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mcpcompose.gateway.envelope import RequestId
from mcpcompose.gateway.listeners import Listener
from mcpcompose.upstream.call import Call

_MOST: Final = 1000
_IDLE: Final = 3600.0


@dataclass(eq=False, slots=True)
class Session:
    """One client's session."""

    id: str
    client: str
    profile: str
    server: str | None
    version: str
    used: float
    listener: Listener | None = None
    calls: dict[RequestId, Call] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Somebody waits on it right now."""
        return self.listener is not None or bool(self.calls)


class Sessions:
    """All sessions; the longest idle one of the client that holds the most makes room for a new one."""

    def __init__(self, *, most: int = _MOST, idle: float = _IDLE, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._idle = idle
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, client: str, profile: str, server: str | None, version: str) -> Session | None:
        """A new session; None when every one of them is busy."""
        now = self._clock()
        if len(self._sessions) >= self._most:
            self._expire(now)
        if len(self._sessions) >= self._most:
            idle = self._longest_idle(client)
            if idle is None:
                return None
            self.close(idle)
        session = Session(secrets.token_urlsafe(24), client, profile, server, version, now)
        self._sessions[session.id] = session
        return session

    def get(self, id_: str, client: str, profile: str, server: str | None) -> Session | None:
        """The session, when it is this client's on this endpoint."""
        session = self._sessions.get(id_)
        if session is None or (session.client, session.profile, session.server) != (client, profile, server):
            return None
        now = self._clock()
        if now - session.used > self._idle and not session.busy:
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

    def _longest_idle(self, client: str) -> Session | None:
        """Who makes room: the client itself when it holds more than half, else whoever holds the most."""
        held = Counter(session.client for session in self._sessions.values())
        clients = [client] if held[client] * 2 > self._most else [name for name, _ in held.most_common()]
        for name in clients:
            for session in self._sessions.values():
                if session.client == name and not session.busy:
                    return session
        return None

    def _expire(self, now: float) -> None:
        for session in tuple(self._sessions.values()):
            if now - session.used > self._idle and not session.busy:
                self.close(session)
