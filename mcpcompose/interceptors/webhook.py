"""
Webhooks (`url`): each question is posted as JSON, the answer is the body of a 2xx answer.

Anything else is a failure: another status, a redirect, a packed or too large body, no answer. Connections are kept, at
most `concurrency` of them; nothing but our own headers and those of the file is sent.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2

from mcpcompose.interceptors.base import Around, InterceptorFailed
from mcpcompose.interceptors.outside import Outside, Variables, refuse_secrets, too_much
from mcpcompose.spec.interceptor import Interceptor as Spec

_CONNECT_SECONDS: Final = 10.0
_NO_CONTENT: Final = frozenset({204, 205})
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_TRIES: Final = 2


class Webhook(Outside):
    """A `url` interceptor."""

    def __init__(self, spec: Spec, around: Around) -> None:
        super().__init__(spec, around)
        if spec.keep:
            raise InterceptorFailed("`keep` is of programs and containers; a webhook's connections are always kept")
        self._url = spec.url or ""
        refuse_secrets("url", [self._url])
        self._variables = Variables(spec, lambda: self.around)
        self._headers = {name: f"${{{name}}}" if text is None else text for name, text in spec.headers.items()}
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def ask(self, payload: bytes, _id: str) -> bytes:
        """The body of its answer."""
        url = await self._target()
        headers = await self._sent()
        client = self._client(is_local=url.host in _LOCAL)
        for left in reversed(range(_TRIES)):
            try:
                return await self._exchange(client, url, headers, payload)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                raise InterceptorFailed(f"`{url.host}` cannot be reached: {_reason(error)}") from None
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError) as error:
                if not left:  # else: a kept connection that the other side had closed
                    raise InterceptorFailed(f"`{url.host}` broke off: {_reason(error)}") from None
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
                raise InterceptorFailed(f"`{url.host}` cannot be asked: {_reason(error)}") from None
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _target(self) -> httpx2.URL:
        text = await self._variables.text(self._url)
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL:
            raise InterceptorFailed("its `url` is not a URL") from None
        if url.scheme not in {"https", "http"} or not url.host:
            raise InterceptorFailed("its `url` is not an http or https URL")
        if url.userinfo:
            raise InterceptorFailed("its `url` has credentials in it", hint="send them in `headers`, as a secret")
        return url

    async def _sent(self) -> dict[str, str]:
        headers = {"user-agent": "mcp-compose", "accept": "application/json", "content-type": "application/json"}
        for name, template in self._headers.items():
            value = await self._variables.text(template)
            if not value.isascii() or any(ord(character) < ord(" ") and character != "\t" for character in value):
                raise InterceptorFailed(f"the value of header `{name}` has a character that no header can have")
            headers[name.lower()] = value
        return {**headers, "accept-encoding": "identity"}

    async def _exchange(
        self, client: httpx2.AsyncClient, url: httpx2.URL, headers: Mapping[str, str], payload: bytes
    ) -> bytes:
        async with client.stream("POST", url, headers=dict(headers), content=payload) as response:
            if not response.is_success:
                raise InterceptorFailed(f"`{url.host}` answered {response.status_code}{_advice(response)}")
            if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
                raise InterceptorFailed(f"`{url.host}` answered packed although it was not asked to")
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > self.spec.output:
                    raise too_much(self.spec.output)
                parts.append(part)
            return b"" if response.status_code in _NO_CONTENT else b"".join(parts)

    def _client(self, *, is_local: bool) -> httpx2.AsyncClient:
        """Only what is on another machine is reached through the proxy that the environment names."""
        if is_local not in self._clients:
            most = self.spec.concurrency
            self._clients[is_local] = httpx2.AsyncClient(
                verify=_trusted(trust_env=not is_local),
                trust_env=not is_local,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
                limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
            )
        return self._clients[is_local]


@cache
def _trusted(*, trust_env: bool) -> ssl.SSLContext:
    """Reading all certificates takes a while."""
    return httpx2.create_ssl_context(trust_env=trust_env)


def _advice(response: httpx2.Response) -> str:
    return "; redirects are not followed, write where it leads to" if response.is_redirect else ""


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(error) or str(cause) or type(error).__name__
