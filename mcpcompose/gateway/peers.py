"""The handshake clients that are there, by session: who hears what a server says to one of them outside of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from mcpcompose.upstream.call import METHOD_NOT_FOUND, Ask, Origin, failure
from mcpcompose.upstream.levels import MESSAGE, is_severe
from mcpcompose.upstream.subscriptions import UPDATED

if TYPE_CHECKING:
    from mcpcompose.gateway.governance import Governance


class Peer(Protocol):
    """One client's session, over HTTP or stdio."""

    def said(self, method: str, params: bytes) -> None:
        """A server says something to it."""

    def asked(self, ask: Ask) -> None:
        """A server asks it something."""

    @property
    def listens(self) -> bool:
        """Whether it hears anything outside of its calls."""

    @property
    def level(self) -> str | None:
        """The least severe log messages it wants; None when it did not say."""


class Peers:
    """All of them (`upstream.supervisor.Heard` by structure)."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self.ended: Callable[[str], None] = lambda _session: None
        """Told of sessions that are over."""
        self.everybody: Callable[[str, str | None, str, bytes], None] = lambda *_said: None
        """Told what a server says to nobody in particular, or from an instance that a session has for itself."""
        self.governance: Governance | None = None
        """What everything passes that a server says or asks outside of calls."""

    def add(self, session: str, peer: Peer) -> None:
        """A session begins."""
        self._peers[session] = peer

    def remove(self, session: str) -> None:
        """A session is over."""
        if self._peers.pop(session, None) is not None:
            self.ended(session)

    def said(self, server: str, origin: Origin | None, method: str, params: bytes) -> None:
        """A notification of *server*, to the client of *origin* or to whomever it concerns."""
        if self.governance is not None and self.governance.active:
            passed = self.governance.said(server, origin, method, params)
            if passed is None:
                return
            params = passed
        if origin is None or method == UPDATED:
            self.everybody(server, None if origin is None else origin.session, method, params)
        elif origin.session is not None:
            self.tell(origin.session, method, params)

    def tell(self, session: str, method: str, params: bytes) -> None:
        """A notification to one client; log messages as far as it wants them."""
        peer = self._peers.get(session)
        if peer is not None and (method != MESSAGE or peer.level is None or is_severe(params, peer.level)):
            peer.said(method, params)

    def asked(self, server: str, origin: Origin, ask: Ask) -> None:
        """A question of *server* to the client of *origin*."""
        ask.server = server
        peer = self._peers.get(origin.session) if origin.session is not None else None
        if peer is None:
            ask.answer(failure(METHOD_NOT_FOUND, "the client is not there"))
        elif self.governance is not None and self.governance.active:
            self.governance.asked(server, origin, ask, peer.asked)
        else:
            peer.asked(ask)

    def listens(self, origin: Origin) -> bool:
        """Whether that client hears anything outside of its calls."""
        peer = self._peers.get(origin.session) if origin.session is not None else None
        return peer is not None and peer.listens
