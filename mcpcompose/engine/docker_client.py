"""
The control plane: the engine's API behind a bounded pool of threads.

What starting servers consists of is said by `docker_quick`, the rest by the docker library. Nothing else calls either,
and only our own errors come out.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mcpcompose.engine.base import Values
from mcpcompose.engine.docker_host import Address, unreachable
from mcpcompose.engine.docker_quick import QuickApi, agreed_version
from mcpcompose.errors import EngineError, McpComposeError

if TYPE_CHECKING:
    from docker import APIClient

Answer = TypeVar("Answer")

THREADS: Final = 24
TIMEOUT: Final = 120
"""Seconds of silence after which a call is given up; pulls and builds are not such calls (`docker_http.lines`)."""


class DockerClient:
    """One engine's API. Its version is agreed on at the first call; without *quick* the library says everything."""

    def __init__(self, address: Address, *, quick: bool = True) -> None:
        self.address = address
        self._quick = quick
        self.version = ""
        """The API version, once a call was made."""
        self._api: APIClient | None = None
        self._library: APIClient | None = None
        self._first, self._loading = threading.Lock(), threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mcp-compose-engine")
        self._closing = threading.Event()

    async def call(self, doing: str, work: Callable[[APIClient], Answer], *, values: Values | None = None) -> Answer:
        """Do *work* in a thread; *doing* says what it is in an error, *values* must not show there."""
        self._refuse_when_closing(doing)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._do, doing, work, values)

    async def ready(self) -> str:
        """Agree on the API version and return it."""
        if not self.version:
            await self.call("reach the engine", lambda _api: None)
        return self.version

    async def close(self) -> None:
        """End the threads."""
        self._closing.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        if self._library is not None:
            self._library.close()

    def _do(self, doing: str, work: Callable[[APIClient], Answer], values: Values | None) -> Answer:
        with our_errors(doing, values):
            return work(self._connected(doing))

    def _refuse_when_closing(self, doing: str) -> None:
        if self._closing.is_set():
            raise EngineError(f"cannot {doing}: this engine was let go of")

    def _connected(self, doing: str) -> APIClient:
        with self._first:
            if self._api is None:
                self._refuse_when_closing(doing)  # who waited here while nobody answered does not wait again
                self._api = self._connect()
                self.version = self._api.api_version
            return self._api

    def _connect(self) -> APIClient:
        self._knock()
        path = self.address.socket
        if path is None or not self._quick or (version := self._agreed(path)) is None:
            return self._loaded()
        return cast("APIClient", QuickApi(path, version, TIMEOUT, self._loaded))

    def _agreed(self, path: Path) -> str | None:
        try:
            return agreed_version(path, TIMEOUT)
        except OSError as error:
            raise unreachable(self.address, error.strerror or str(error)) from error

    def _loaded(self) -> APIClient:
        """The library's client, loaded when it is first wanted."""
        with self._loading:
            if self._library is None:
                self._library = self._load()
            return self._library

    def _load(self) -> APIClient:
        import docker  # noqa: PLC0415  0.3 s, in a thread, only when it is needed
        from docker.tls import TLSConfig  # noqa: PLC0415  the same

        tls: Any = False
        if certificates := self.address.certificates:
            folder = certificates.folder
            tls = TLSConfig(
                client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
                ca_cert=str(folder / "ca.pem") if certificates.verify else None,
                verify=certificates.verify,
            )
        try:
            return docker.APIClient(self.address.url, version="auto", timeout=TIMEOUT, tls=tls, max_pool_size=THREADS)
        except (docker.errors.DockerException, OSError) as error:
            raise unreachable(self.address, _short(error)) from error

    def _knock(self) -> None:
        """Try the socket first: the library leaks one that nobody answers."""
        if self.address.socket is None:
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.address.socket))
            except OSError as error:
                raise unreachable(self.address, error.strerror or str(error)) from error


def credentials(api: APIClient, repository: str) -> dict[str, str]:
    """The header that lets the engine into the registry of *repository*, as `docker login` left it."""
    from docker import auth  # noqa: PLC0415  the same

    header = auth.get_config_header(api, auth.resolve_repository_name(repository)[0])
    return {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else header} if header else {}


def all_credentials(api: APIClient) -> dict[str, str]:
    """The header that lets a build into every registry that `docker login` knows."""
    headers: dict[str, Any] = {}
    api._set_auth_headers(headers)  # noqa: SLF001  what its own `build` does, and it reads the files anew
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}


@contextmanager
def our_errors(doing: str, values: Values | None = None) -> Iterator[None]:
    """Raise our error for whatever the library raises."""
    try:
        yield
    except McpComposeError:
        raise
    except _theirs() as error:
        from mcpcompose.engine.docker_errors import mapped  # noqa: PLC0415  loads the library

        raise mapped(error, doing, values) from (None if values is not None else error)


def _theirs() -> tuple[type[Exception], ...]:
    """Asked only when something was raised: whatever the library may raise."""
    from mcpcompose.engine.docker_errors import THEIRS  # noqa: PLC0415  loads the library

    return THEIRS


def _short(error: Exception) -> str:
    """The innermost reason of a chain of library errors."""
    text = str(error)
    for reason in ("No such file or directory", "Connection refused", "Permission denied", "timed out"):
        if reason in text:
            return reason
    return text
