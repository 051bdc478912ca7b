"""
The one way out for catalogs, artifacts and signatures: guarded, bounded, and without surprises.

https only, except to a loopback address that is written out. A name is looked up once, every address it has is judged,
and the connection goes to the address that was judged. Redirects are judged the same way and lose credentials when
they leave the host. Sizes and times have caps; an answer that breaks off is no answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

import httpx2

from mcpcompose.errors import FetchFailed

if TYPE_CHECKING:
    import ssl

MAX_BYTES: Final = 16 << 20
"""The largest catalog."""
MAX_REDIRECTS: Final = 5
SECONDS: Final = 60.0
"""How long one exchange may take, redirects included."""
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 15.0
"""How long the other side may say nothing."""
PRIVATE_VARIABLE: Final = "MCP_COMPOSE_PRIVATE_HOSTS"
"""Hosts, separated by commas, that may have private addresses."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_MODIFIED: Final = 304
_FAILED: Final = 400
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Progress = Callable[[int, int | None], None]
"""Told how many bytes there are so far, and how many there will be where that is known."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def quiet(_done: int, _whole: int | None) -> None:
    """Nobody wants to know."""


def _nobody(_host: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole. *headers* have lower-case names; *url* is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and what to ask with the next time."""

    data: bytes = field(repr=False)
    etag: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What we have is still what there is."""


def allowed_private(environ: Mapping[str, str]) -> Callable[[str], bool]:
    """Which hosts may have private addresses: the person's environment says so, never a project's file."""
    hosts = {host.strip().lower() for host in environ.get(PRIVATE_VARIABLE, "").split(",") if host.strip()}
    return lambda host: bool(hosts & {host.lower(), re.sub(r":\d+$", "", host.lower())})


class Egress:
    """
    Requests to the outside. *private*: which hosts (with their port) may have addresses of a private network.

    Raises `FetchFailed` for everything that goes wrong, never an error of the library's.
    """

    def __init__(self, private: Callable[[str], bool] = _nobody, *, seconds: float = SECONDS) -> None:
        self._private = private
        self._seconds = seconds

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = MAX_BYTES,
        progress: Progress = quiet,
    ) -> Answer:
        """One exchange, redirects of `GET` and `HEAD` followed. Any status is an answer."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._followed(method, url, dict(headers or {}), content, limit, progress)
        except TimeoutError as error:
            raise FetchFailed(f"`{shown(url)}` took longer than {self._seconds:g} s") from error

    async def _followed(  # noqa: PLR0917  the parts of one exchange
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | None,
        limit: int,
        progress: Progress,
    ) -> Answer:
        target = _parsed(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._once(method, target, headers, content, limit, progress)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or method not in {"GET", "HEAD"} or not location:
                return answer
            following = _parsed(str(target.join(location)))
            if target.scheme == "https" and following.scheme != "https":
                raise FetchFailed(f"`{shown(url)}` leads to `{shown(str(following))}`, which is not https")
            if not is_loopback(target.host) and is_loopback(following.host):
                raise FetchFailed(f"`{shown(url)}` leads to this machine (`{shown(str(following))}`)")
            if _origin(following) != _origin(target):
                headers = {
                    key: value for key, value in headers.items() if key.lower() not in {"authorization", "cookie"}
                }
            target = following
        raise FetchFailed(f"`{shown(url)}` leads on and on ({MAX_REDIRECTS} redirects)")

    async def _once(  # noqa: PLR0917  the same
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        limit: int,
        progress: Progress,
    ) -> Answer:
        """One exchange without redirects, with the first address that takes the connection."""
        proxy = _proxy_for(url)
        if proxy is not None:
            _refuse_literal(url, self._private)
            return await _exchange(url, None, proxy, method, headers, content, limit, progress)
        failed: FetchFailed | None = None
        for address in await _addresses(url, self._private):
            try:
                return await _exchange(url, address, None, method, headers, content, limit, progress)
            except _NotConnected as error:
                failed = error
        raise failed or FetchFailed(f"`{url.host}` has no address")


class _NotConnected(FetchFailed):
    """Nothing was sent yet: another address may do."""


async def fetch(
    url: str, egress: Egress, *, etag: str | None = None, modified: str | None = None, progress: Progress = quiet
) -> Fetched | Unchanged:
    """The document at *url*, unless it is still the one with *etag*. Raises `FetchFailed`."""
    headers = {"accept": "application/yaml, application/json, text/plain, */*"}
    if etag is not None:
        headers["if-none-match"] = etag
    if modified is not None:
        headers["if-modified-since"] = modified
    answer = await egress.ask("GET", url, headers=headers, progress=progress)
    if answer.status == _NOT_MODIFIED and (etag is not None or modified is not None):
        return Unchanged()
    if answer.status != 200:  # noqa: PLR2004  a part, an empty answer, an error: not the document
        raise FetchFailed(f"`{shown(url)}` answered {answer.status}", hint=_hint(answer.status))
    return Fetched(answer.body, answer.headers.get("etag"), answer.headers.get("last-modified"))


def _hint(status: int) -> str | None:
    if status in {401, 403}:
        return "a catalog at a URL is fetched without credentials; keep a private one in a registry (`oci:`)"
    return "check the address" if status == 404 else None  # noqa: PLR2004  not found


def shown(url: str) -> str:
    """*url* for a message: without user and without query, where credentials stand."""
    return url.partition("?")[0].partition("#")[0] if "@" not in url.partition("?")[0] else url.rpartition("@")[2]


def _parsed(url: str) -> httpx2.URL:
    """*url*, judged as far as its text says. Raises `FetchFailed`."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise FetchFailed(f"`{shown(url)}` is not a URL") from error
    if parsed.scheme not in {"https", "http"} or not parsed.host:
        raise FetchFailed(f"`{shown(url)}` is not an https URL")
    if parsed.userinfo:
        raise FetchFailed(f"`{shown(url)}` has credentials in it", hint="`docker login` keeps them outside of the file")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise FetchFailed(f"`{shown(url)}` is not https", hint="only a registry on this machine may speak http")
    return parsed


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def is_loopback(host: str) -> bool:
    """It is written as a loopback address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    address = _literal(host)
    return address is not None and address.is_loopback


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """It is everybody's internet: no private network, and no other way to write an address of one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _refuse_literal(url: httpx2.URL, private: Callable[[str], bool]) -> None:
    address = _literal(url.host)
    if address is not None and not is_public(address) and not private(url.netloc.decode()):
        raise _private_address(url)


def _private_address(url: httpx2.URL) -> FetchFailed:
    return FetchFailed(
        f"`{url.host}` is an address of a private network",
        hint=f"if it is yours, name it in `{PRIVATE_VARIABLE}`, or `docker login {url.netloc.decode()}`",
    )


async def _addresses(url: httpx2.URL, private: Callable[[str], bool]) -> list[str]:
    """The addresses to connect to; one that is not allowed refuses them all."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"`{url.host}` cannot be found", hint="check the name and your network") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    is_local = is_loopback(url.host)
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        is_fine = address.is_loopback if is_local else is_public(address) or private(url.netloc.decode())
        if not is_fine:
            raise _private_address(url)
    return addresses


def _proxy_for(url: httpx2.URL) -> str | None:
    if is_loopback(url.host):
        return None
    proxy = getproxies().get(url.scheme)
    return proxy if proxy and not proxy_bypass(url.host) else None


async def _exchange(  # noqa: PLR0917  the parts of one exchange
    url: httpx2.URL,
    address: str | None,
    proxy: str | None,
    method: str,
    headers: Mapping[str, str],
    content: bytes | None,
    limit: int,
    progress: Progress,
) -> Answer:
    target = url if address is None else url.copy_with(host=address)
    sent = {
        "user-agent": "mcp-compose",
        **headers,
        "host": url.netloc.decode("ascii"),
        "accept-encoding": "identity",
        "connection": "close",
    }
    extensions = {"sni_hostname": url.host} if address is not None and url.scheme == "https" else {}
    try:
        async with _client(proxy) as client:
            request = client.build_request(method, target, headers=sent, content=content, extensions=extensions)
            response = await client.send(request, stream=True)
            try:
                body = b"" if method == "HEAD" else await _body(response, url, limit, progress)
            finally:
                await response.aclose()
            lowered = {key.lower(): value for key, value in response.headers.items()}
            return Answer(response.status_code, lowered, body, str(url))
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise _NotConnected(f"`{shown(str(url))}` cannot be reached: {_reason(error)}") from error
    except httpx2.TimeoutException as error:
        raise FetchFailed(f"`{shown(str(url))}` does not answer") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise FetchFailed(f"`{shown(str(url))}` broke off: {_reason(error)}") from error


@asynccontextmanager
async def _client(proxy: str | None) -> AsyncIterator[httpx2.AsyncClient]:
    limits = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    async with httpx2.AsyncClient(
        verify=_trusted(), trust_env=False, follow_redirects=False, timeout=limits, proxy=proxy
    ) as client:
        yield client


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=True)


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    return str(error) or str(cause) or type(error).__name__


async def _body(response: httpx2.Response, url: httpx2.URL, limit: int, progress: Progress) -> bytes:
    """The whole body. Raises `FetchFailed` when it is too large, packed, or nothing says where it ends."""
    name = shown(str(url))
    if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
        raise FetchFailed(f"`{name}` answered packed although it was not asked to")
    said = response.headers.get("content-length")
    whole = int(said) if said is not None and said.isascii() and said.isdigit() else None
    has_end = whole is not None or "chunked" in response.headers.get("transfer-encoding", "").lower()
    if not has_end and response.status_code not in {204, _NOT_MODIFIED}:
        raise FetchFailed(f"`{name}` does not say where its answer ends")
    if whole is not None and whole > limit:
        raise FetchFailed(f"`{name}` is larger than {limit >> 10} KiB")
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > limit:
            raise FetchFailed(f"`{name}` is larger than {limit >> 10} KiB")
        parts.append(part)
        progress(size, whole)
    return b"".join(parts)
