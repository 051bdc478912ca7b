"""
What speaks HTTP to one server, for all conversations with it: our own headers only, no redirects, no cookies.

A request of a call goes to the transport itself, past all that `httpx2.AsyncClient` does for a browser's sake.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

import httpx2

from mcpcompose.upstream.wire import own_info

if TYPE_CHECKING:
    import ssl

_KEPT: Final = 32
"""Idle connections that are kept."""
_KEPT_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 60.0
_QUIET_SECONDS: Final = 15.0
_END_SECONDS: Final = 2.0
_NOTHING: Final[Mapping[str, Any]] = {}


def http_client(headers: Mapping[str, str], *, connect: float, remote: bool, most: int = 4096) -> HttpClient:
    """
    The client for one server; *headers* are sent with every request.

    Only a *remote* server is reached through the proxy that the environment names.
    """
    return HttpClient(headers, connect=connect, remote=remote, most=most)


class HttpClient(httpx2.AsyncClient):
    """Several connections to one server."""

    def __init__(self, headers: Mapping[str, str], *, connect: float, remote: bool, most: int) -> None:
        proxied = remote and bool(getproxies())
        self._direct = None if proxied else Connections(most, _trusted(remote=remote))
        limits = httpx2.Timeout(None, connect=connect, write=_WRITE_SECONDS)
        self._timeouts = {"timeout": limits.as_dict()}
        super().__init__(
            headers={**headers, "user-agent": f"mcp-compose/{own_info()['version']}"},
            timeout=limits,
            limits=httpx2.Limits(max_connections=most, max_keepalive_connections=_KEPT),
            follow_redirects=False,
            trust_env=remote,
            transport=self._direct,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._ours = dict(self.headers)

    async def exchange(
        self, url: httpx2.URL, headers: Mapping[str, str], content: bytes, extensions: Mapping[str, Any] = _NOTHING
    ) -> httpx2.Response:
        """Post *content*; the body of the answer is still to be read, and the answer to be closed."""
        fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in {**self._ours, **headers}.items()]
        request = httpx2.Request(
            "POST",
            url,
            headers=[(b"host", url.netloc), *fields, (b"content-length", b"%d" % len(content))],
            stream=httpx2.ByteStream(content),
            extensions={**self._timeouts, **extensions},
        )
        if self._direct is None or url.userinfo:
            return await self.send(request, stream=True)
        return await self._direct.handle_async_request(request)

    async def post_quietly(self, url: httpx2.URL, headers: Mapping[str, str], content: bytes) -> None:
        """Post what has no answer; whether it arrives, other exchanges will show."""
        with contextlib.suppress(httpx2.HTTPError, httpx2.InvalidURL, TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                await (await self.exchange(url, headers, content)).aclose()

    async def end_session(self, url: str, headers: Mapping[str, str]) -> None:
        """Say that a conversation is over."""
        with contextlib.suppress(httpx2.HTTPError, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self.delete(url, headers=dict(headers))


@cache
def _trusted(*, remote: bool) -> ssl.SSLContext:
    """Reading all certificates takes longer than starting a server."""
    return httpx2.create_ssl_context(trust_env=remote)


class Connections(httpx2.AsyncBaseTransport):
    """
    At most *most* connections, each a transport of its own; the one used last is used next.

    One transport with many connections looks at all of them, and asks the system about each idle one, twice per
    request.
    """

    def __init__(self, most: int, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        self._room = asyncio.Semaphore(most)
        self._idle: deque[tuple[httpx2.AsyncHTTPTransport, float]] = deque()
        self._closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request* over one that is idle, or over a new one; waits while there are too many."""
        await self._room.acquire()
        one = self._idle.pop()[0] if self._idle else self._another()
        try:
            response = await one.handle_async_request(request)
        except BaseException:
            await self._drop(one)
            raise
        response.stream = _Held(response.stream, one, self)
        return response

    def _another(self) -> httpx2.AsyncHTTPTransport:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_SECONDS)
        return httpx2.AsyncHTTPTransport(verify=self._trusted, limits=limits)

    async def _give_back(self, one: httpx2.AsyncHTTPTransport) -> None:
        self._room.release()
        now = time.monotonic()
        self._idle.append((one, now))
        while self._idle and (self._closed or len(self._idle) > _KEPT or self._idle[0][1] < now - _KEPT_SECONDS):
            await self._idle.popleft()[0].aclose()

    async def _drop(self, one: httpx2.AsyncHTTPTransport) -> None:
        """Whatever broke an exchange off, nothing of it is left for the next one."""
        self._room.release()
        await one.aclose()

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.popleft()[0].aclose()


class _Held(httpx2.AsyncByteStream):
    """The body of an answer, which has its connection for itself until it is closed."""

    def __init__(self, stream: Any, one: httpx2.AsyncHTTPTransport, owner: Connections) -> None:
        self._stream = stream
        self._one: httpx2.AsyncHTTPTransport | None = one
        self._owner = owner

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        return chunks

    async def aclose(self) -> None:
        one, self._one = self._one, None
        if one is not None:
            try:
                await self._stream.aclose()
            except BaseException:
                await self._owner._drop(one)  # noqa: SLF001  its other half
                raise
            await self._owner._give_back(one)  # noqa: SLF001  its other half
