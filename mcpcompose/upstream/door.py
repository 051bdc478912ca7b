"""How one instance of a server is reached; every conversation with it begins here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from mcpcompose.engine.base import Endpoint, HttpEndpoint, StreamEndpoint
from mcpcompose.spec.server import Server
from mcpcompose.upstream.allowance import Allowance
from mcpcompose.upstream.call import Origin
from mcpcompose.upstream.connection import Connection, Watcher
from mcpcompose.upstream.stream import StreamConnection

if TYPE_CHECKING:
    from mcpcompose.upstream.http import HttpConnection
    from mcpcompose.upstream.http_client import HttpClient


class Door:
    """
    One endpoint of a server. A stream carries one conversation, HTTP as many as there are clients.

    *own*: the instance is there for one client alone; *copy* names it then.
    """

    def __init__(
        self,
        spec: Server,
        endpoint: Endpoint,
        allowance: Allowance,
        clock: Callable[[], float],
        *,
        own: bool = False,
        copy: str | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.copy = copy
        self._name = allowance.server
        self._allowance = allowance
        self._spec = spec
        self._clock = clock
        self._own = own
        self._client: HttpClient | None = None
        self._opened: WeakSet[HttpConnection] = WeakSet()
        self._follows = False

    @property
    def is_http(self) -> bool:
        """Whether it can carry several conversations."""
        return isinstance(self.endpoint, HttpEndpoint)

    @property
    def can_be_probed(self) -> bool:
        """Whether a request that it may not know does no harm."""
        return isinstance(self.endpoint, HttpEndpoint) and not self.endpoint.sse

    def open(self, watcher: Watcher, origin: Origin | None = None) -> Connection:
        """
        Begin a conversation, for *origin* alone or for all.

        Raises `OSError` and `ValueError`, such as for a header that cannot be sent.
        """
        match self.endpoint:
            case StreamEndpoint(stream):
                return StreamConnection(
                    self._name, stream, watcher, allowance=self._allowance, own=self._own, clock=self._clock
                )
            case HttpEndpoint(url, sse=True) as endpoint:
                from mcpcompose.upstream.sse_stream import SseStream  # noqa: PLC0415  heavy, only for such servers

                events = SseStream(self._name, url, self._http(endpoint), limit=self._allowance.result)
                return StreamConnection(
                    self._name, events, watcher, allowance=self._allowance, own=origin is not None, clock=self._clock
                )
            case HttpEndpoint() as endpoint:
                from mcpcompose.upstream.http import HttpConnection  # noqa: PLC0415  heavy, only for such servers

                connection = HttpConnection(
                    self._name,
                    endpoint,
                    watcher,
                    allowance=self._allowance,
                    client=self._http(endpoint),
                    origin=origin,
                    remote=self._spec.is_remote,
                    clock=self._clock,
                )
                self._opened.add(connection)
                if endpoint.life is not None and not self._follows:
                    self._follows = True
                    endpoint.life.on_end(self._ended)
                return connection

    def _ended(self, reason: str) -> None:
        """The instance has ended: nobody waits for what a dead address does not answer."""
        for connection in tuple(self._opened):
            connection.gone(reason)

    def _http(self, endpoint: HttpEndpoint) -> HttpClient:
        from mcpcompose.upstream.http_client import http_client  # noqa: PLC0415  heavy, only for such servers

        if self._client is None:
            connect, remote = self._spec.timeouts.connect, self._spec.is_remote
            most = self._allowance.limits.connections
            self._client = http_client(endpoint.headers, connect=connect, remote=remote, most=most)
        return self._client

    async def close(self) -> None:
        """After its conversations have ended: let go of what they shared."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
