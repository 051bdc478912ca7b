"""
The one way out of a server with an allow list: a container of its own between the server's network and another one.

Alone, on the standard library: `python3 -I -c <leg_names and this> <settings>`. To the server it is the resolver, which
answers its own address for allowed names and nothing for others, and what the server then connects to. It reads the
name a connection is for (TLS: server name, RFC 6066; HTTP: `Host`), looks that name up on its own side, and passes
bytes on. What is not allowed is closed, and said on standard output.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mcpcompose.engine.leg_names import Allowed, Unsaid, answer, http_host, server_name

INBOUND: Final = 20_000
"""The server's own port is at this port and the place of its address in the subnet, on the outer side."""
_MOST: Final = 512
"""Connections at once."""
_HELLO: Final = 16 << 10
_PATIENCE: Final = 10.0
_BRIEF: Final = 0.3
_IDLE: Final = 3600.0
_CONNECT: Final = 15.0
_CHUNK: Final = 64 << 10
_SAID_PER_SECOND: Final = 20
_NEVER: Final = tuple(
    ipaddress.ip_network(one)
    for one in ("0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/3")
)
"""This host, carrier networks (clouds keep metadata there), link-local (cloud metadata), multicast and reserved."""


class Resolver(asyncio.DatagramProtocol):
    """DNS over UDP."""

    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one query."""
        found = self._reply(data) if len(data) <= 1232 else None  # noqa: PLR2004  no query of one name is longer
        if found is not None and self._transport is not None:
            self._transport.sendto(found, addr)


# --- connections ------------------------------------------------------------------------------------------------------


class Leg:
    """
    Both sides of one way out.

    *inside* is our address in the server's network *subnet*, *outside* our own on the other side; *gateway* is who
    alone may come in from there, to the server's *port*.
    """

    def __init__(self, settings: Mapping[str, Any], outside: str, gateway: str) -> None:
        self.allowed = Allowed(settings["allow"])
        self.inside: str = settings["inside"]
        self.subnet = ipaddress.IPv4Network(settings["subnet"])
        self.port: int | None = settings.get("port")
        self.outside = outside
        self.gateway = gateway
        self._open = 0
        self._said: list[float] = []

    async def serve(self) -> None:
        """Listen everywhere; never returns."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Resolver(self._named), local_addr=(self.inside, 53))
        await asyncio.start_server(self._counted(self._query, 53), self.inside, 53)
        for port in self.allowed.ports:
            if port != 53:  # noqa: PLR2004  DNS to elsewhere is a way out that nobody reads
                await asyncio.start_server(self._counted(self._outgoing, port), self.inside, port, limit=_CHUNK)
        if self.port is not None:
            for place in range(2, min(self.subnet.num_addresses - 1, 2048)):
                handler = self._counted(self._incoming, place)
                await asyncio.start_server(handler, self.outside, INBOUND + place, limit=_CHUNK)
        self.say({"leg": "ready"})
        await asyncio.Event().wait()

    def say(self, what: Mapping[str, Any]) -> None:
        """One line for the server's log; not more than somebody can read."""
        now = time.monotonic()
        self._said = [one for one in self._said if now - one < 1.0]
        if len(self._said) < _SAID_PER_SECOND:
            self._said.append(now)
            sys.stdout.write(json.dumps(what) + "\n")
            sys.stdout.flush()

    def deny(self, name: str, why: str, port: int = 53) -> None:
        """Say what was not let through."""
        self.say({"denied": f"{name[:253]}:{port}", "why": why})

    # --- names

    def _named(self, query: bytes) -> bytes | None:
        try:
            return answer(query, self.allowed, self.inside, self.deny)
        except (IndexError, struct.error):
            return None

    async def _query(self, _port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """DNS over TCP, one query."""
        async with asyncio.timeout(_PATIENCE):
            length = struct.unpack("!H", await reader.readexactly(2))[0]
            found = self._named(await reader.readexactly(min(length, 1232)))
            if found is not None:
                writer.write(struct.pack("!H", len(found)) + found)
                writer.write_eof()
                await reader.read(1)  # until it has it, and goes

    # --- outwards

    def _counted(
        self, handler: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], number: int
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._open >= _MOST:
                writer.transport.abort()
                return
            self._open += 1
            try:
                await handler(number, reader, writer)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            finally:
                self._open -= 1
                writer.transport.abort()

        return handle

    async def _outgoing(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data, name, problem = await self._whom(port, reader)
        found = self.allowed.host(port, name) if name is not None else None
        only = self.allowed.only(port)
        if problem is None and name is None and only is not None:
            found = (only, True)
        if problem is not None or found is None:
            self.deny(name or "?", problem or "not allowed at this port", port)
            return
        address = await self._address(found[0], port, is_exact=found[1])
        if address is None:
            return
        async with asyncio.timeout(_CONNECT):
            there, to = await asyncio.open_connection(address, port, limit=_CHUNK)
        to.write(data)
        await _both(reader, writer, there, to)

    async def _whom(self, port: int, reader: asyncio.StreamReader) -> tuple[bytes, str | None, str | None]:
        """What was said so far, the name in it, and what is wrong with it."""
        data = b""
        only = self.allowed.only(port)
        deadline = time.monotonic() + _PATIENCE
        while len(data) < _HELLO:
            wait = _BRIEF if only is not None and not data else deadline - time.monotonic()
            try:
                async with asyncio.timeout(max(wait, 0.01)):
                    more = await reader.read(_HELLO - len(data))
            except TimeoutError:
                return data, None, None if only is not None and not data else "it does not say where it wants to go"
            if not more:
                return data, None, "it ended before it said where it wants to go"
            data += more
            try:
                return data, server_name(data) if data[0] == 0x16 else http_host(data), None  # noqa: PLR2004
            except Unsaid:
                continue
            except ValueError as error:
                return data, None, str(error)
        return data, None, "it does not say where it wants to go"

    async def _address(self, name: str, port: int, *, is_exact: bool) -> str | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT):
                found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, family=socket.AF_INET)
        except (OSError, TimeoutError, UnicodeError):
            self.deny(name, "it cannot be looked up", port)
            return None
        addresses = [str(one[4][0]) for one in found]
        for address in addresses:
            if self._is_outside(address, is_exact=is_exact):
                return address
        self.deny(name, f"its address ({addresses[0]}) is none of the outside", port)
        return None

    def _is_outside(self, address: str, *, is_exact: bool) -> bool:
        """Names of a person's own may lead to private networks; whatever a wildcard covers may not."""
        found = ipaddress.IPv4Address(address)
        if found in self.subnet or address in {self.gateway, self.outside} or any(found in one for one in _NEVER):
            return False
        return is_exact or found.is_global

    # --- inwards

    async def _incoming(self, place: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The gateway's own connections to an HTTP server."""
        peer = writer.get_extra_info("peername")
        if not peer or peer[0] != self.gateway:
            return
        async with asyncio.timeout(_CONNECT):
            there, to = await asyncio.open_connection(str(self.subnet[place]), self.port, limit=_CHUNK)
        await _both(reader, writer, there, to)


async def _both(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader, to: asyncio.StreamWriter
) -> None:
    """Pass bytes on in both directions until both have ended, or nothing came for an hour."""
    try:
        await asyncio.gather(_one(reader, to), _one(there, writer))
    finally:
        to.transport.abort()


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(_IDLE):
            data = await reader.read(_CHUNK)
        if not data:
            break
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def default_gateway(table: str) -> str | None:
    """The default route's gateway in the text of `/proc/net/route`."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and int(fields[3], 16) & 2:  # noqa: PLR2004
            return socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
    return None


def own_address(towards: str) -> str:
    """Our address on the way to *towards*."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((towards, 9))
        return str(probe.getsockname()[0])


def main() -> None:
    """Serve what the first argument says."""
    gateway = default_gateway(Path("/proc/net/route").read_text(encoding="ascii"))
    if gateway is None:
        sys.exit("there is no way out of this container")
    asyncio.run(Leg(json.loads(sys.argv[1]), own_address(gateway), gateway).serve())


if __name__ == "__main__":
    main()
