"""
Which engine to speak to, and how to open a connection to it.

In this order: `DOCKER_HOST`, the Docker context in use, Docker's own socket, Podman's sockets.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from mcpcompose.errors import EngineUnreachable

Proto = TypeVar("Proto", bound=asyncio.Protocol)

DEFAULT_SOCKET: Final = Path("/var/run/docker.sock")
PORT: Final = 2375
CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """A folder with `ca.pem`, `cert.pem` and `key.pem`, as Docker lays them out."""

    folder: Path
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """What a connection needs to use them."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem") if self.verify else None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine answers: `unix:///path` or `tcp://host:port`."""

    url: str
    certificates: Certificates | None = None

    @property
    def socket(self) -> Path | None:
        """The engine's unix socket."""
        return Path(self.url.removeprefix("unix://")) if self.url.startswith("unix://") else None

    @property
    def is_local(self) -> bool:
        """The engine sees this machine's files."""
        if self.socket is not None:
            return True
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    async def connect(self, protocol: Callable[[], Proto]) -> Proto:
        """Open a connection of its own. Raises `EngineUnreachable`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self.socket is not None:
                    return (await loop.create_unix_connection(protocol, str(self.socket)))[1]
                parts = urlsplit(self.url)
                context = self.certificates.context() if self.certificates else None
                host, port = parts.hostname or "", parts.port or PORT
                return (await loop.create_connection(protocol, host, port, ssl=context))[1]
        except (OSError, TimeoutError) as error:
            raise unreachable(self, str(error)) from error

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection for a stream of lines. Raises `EngineUnreachable`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        protocol = await self.connect(lambda: _Streams(reader, loop))
        return reader, protocol.writer


class _Streams(asyncio.StreamReaderProtocol):
    """A stream protocol that knows its writer."""

    writer: asyncio.StreamWriter

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self._own_reader, self._own_loop = reader, loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        writing = cast("asyncio.WriteTransport", transport)
        self.writer = asyncio.StreamWriter(writing, self, self._own_reader, self._own_loop)


def unreachable(address: Address, why: str) -> EngineUnreachable:
    """The error for an engine that does not answer."""
    return EngineUnreachable(
        f"no container engine answers at `{address.url}`: {why}",
        hint="start Docker or Podman, set `DOCKER_HOST`, or run without isolation: `--engine process`",
    )


def find(environ: Mapping[str, str], home: Path) -> Address:
    """The engine to speak to. Raises `EngineUnreachable` for an address that cannot be used."""
    if host := environ.get("DOCKER_HOST"):
        return _usable(host, _environment_certificates(environ, home))
    config = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    context = environ.get("DOCKER_CONTEXT") or _current_context(config)
    if context and context != "default":
        return _from_context(config, context)
    for socket in _sockets(environ, home):
        if socket.exists():
            return Address(f"unix://{socket}")
    return Address(f"unix://{DEFAULT_SOCKET}")


def wants_headers(environ: Mapping[str, str], home: Path) -> bool:
    """Docker's configuration adds headers of its own to every request, as the library does."""
    found = _read(Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json")
    return isinstance(found, dict) and bool(found.get("HttpHeaders"))


def _sockets(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    yield DEFAULT_SOCKET
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    yield runtime / "docker.sock"
    yield home / ".docker/run/docker.sock"
    yield runtime / "podman/podman.sock"
    yield Path("/run/podman/podman.sock")


def _usable(host: str, certificates: Certificates | None) -> Address:
    if host.startswith(("http://", "https://")):
        host = "tcp://" + host.split("://", 1)[1]
    if host.startswith("unix://") or (host.startswith("tcp://") and urlsplit(host).hostname):
        return Address(host.rstrip("/"), certificates if host.startswith("tcp://") else None)
    raise EngineUnreachable(
        f"the engine address `{host}` is not supported",
        hint="use `unix:///path` or `tcp://host:port`; for ssh, forward its socket: `ssh -L`",
    )


def _environment_certificates(environ: Mapping[str, str], home: Path) -> Certificates | None:
    verify, folder = environ.get("DOCKER_TLS_VERIFY"), environ.get("DOCKER_CERT_PATH")
    if not verify and not folder:
        return None
    return Certificates(Path(folder or environ.get("DOCKER_CONFIG") or home / ".docker"), verify=bool(verify))


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def _current_context(config: Path) -> str | None:
    found = _read(config / "config.json")
    name = found.get("currentContext") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _from_context(config: Path, name: str) -> Address:
    key = hashlib.sha256(name.encode()).hexdigest()
    found = _read(config / "contexts" / "meta" / key / "meta.json")
    endpoint = found.get("Endpoints", {}).get("docker", {}) if isinstance(found, dict) else {}
    if not (host := endpoint.get("Host")):
        raise EngineUnreachable(f"the Docker context `{name}` has no engine", hint="see `docker context ls`")
    folder = config / "contexts" / "tls" / key / "docker"
    certificates = Certificates(folder, verify=not endpoint.get("SkipTLSVerify")) if folder.is_dir() else None
    return _usable(host, certificates)
