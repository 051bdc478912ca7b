"""
The names on a server's way out: the allow list, DNS queries, and whom a connection is for.

Pure, on the standard library, and without imports of ours: it runs inside of the container, see `engine.leg`.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

_TTL: Final = 5
_A, _IN = 1, 1
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_METHOD: Final = re.compile(rb"[A-Z]{3,16} ")


class Allowed:
    """The allow list: `host:port` and `*.domain:port`."""

    def __init__(self, destinations: Sequence[str]) -> None:
        self.exact: dict[int, list[str]] = {}
        self.domains: dict[int, list[str]] = {}
        for one in destinations:
            host, _, port = one.lower().rpartition(":")
            if host.startswith("*."):
                self.domains.setdefault(int(port), []).append(host[1:])
            else:
                self.exact.setdefault(int(port), []).append(host)

    @property
    def ports(self) -> list[int]:
        """All of them, once."""
        return sorted({*self.exact, *self.domains})

    def names(self, name: str) -> bool:
        """Whether *name* may be looked up, for any port."""
        return any(self.host(port, name) is not None for port in self.ports)

    def host(self, port: int, name: str) -> tuple[str, bool] | None:
        """Where a connection for *name* goes, and whether the list has the very name; None for nowhere."""
        if _NAME.fullmatch(name) is None:
            return None  # a lookup would end at a NUL, and with it outside of the list
        if name in self.exact.get(port, ()):
            return name, True
        under = any(name.endswith(suffix) and len(name) > len(suffix) for suffix in self.domains.get(port, ()))
        return (name, False) if under else None

    def only(self, port: int) -> str | None:
        """The one host of a port that no other may have; None where a connection has to say a name."""
        exact = self.exact.get(port, [])
        return exact[0] if len(exact) == 1 and port not in self.domains else None


# --- names ------------------------------------------------------------------------------------------------------------


def answer(query: bytes, allowed: Allowed, address: str, denied: Callable[[str, str], None]) -> bytes | None:
    """The answer to a DNS query (RFC 1035); None for what is none."""
    if len(query) < 17 or query[2] & 0x80 or struct.unpack_from("!H", query, 4)[0] != 1:  # noqa: PLR2004  header, root
        return None
    labels: list[str] = []
    at = 12
    while query[at]:
        length = query[at]
        if length > 63 or at + 1 + length >= len(query):  # noqa: PLR2004  a compressed question is nobody's
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
    if at + 5 > len(query):
        return None
    kind, family = struct.unpack_from("!HH", query, at + 1)
    question, name = query[12 : at + 5], ".".join(labels)
    known = family == _IN and _NAME.fullmatch(name) is not None and allowed.names(name)
    if not known:
        denied(name, "this name is not allowed")
    is_answered = known and kind == _A
    flags = 0x8580 | (0 if known else 3) | (query[2] & 0x01) << 8
    head = query[:2] + struct.pack("!HHHHH", flags, 1, int(is_answered), 0, 0)
    if not is_answered:
        return head + question
    return head + question + struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, 4) + socket.inet_aton(address)


# --- whom a connection is for -----------------------------------------------------------------------------------------


class Unsaid(Exception):  # noqa: N818  no error: the bytes so far do not say it yet
    """More bytes are needed."""


def server_name(data: bytes) -> str | None:
    """The server name of a TLS ClientHello; None when it gives none. Raises `Unsaid`, and `ValueError` for nonsense."""
    hello = b""
    while data:
        if len(data) < 5:  # noqa: PLR2004  a record's head
            raise Unsaid
        if data[0] != 0x16 or data[1] != 3:  # noqa: PLR2004  handshake, any TLS
            raise ValueError("no ClientHello")
        length = struct.unpack_from("!H", data, 3)[0]
        hello += data[5 : 5 + length]
        if len(hello) >= 4 and len(hello) >= 4 + int.from_bytes(hello[1:4], "big"):  # noqa: PLR2004
            break
        if len(data) < 5 + length:
            raise Unsaid
        data = data[5 + length :]
    else:
        raise Unsaid
    if hello[0] != 1:
        raise ValueError("no ClientHello")
    try:
        return _of_hello(hello[4 : 4 + int.from_bytes(hello[1:4], "big")])
    except (IndexError, struct.error) as error:
        raise ValueError("a broken ClientHello") from error


def _of_hello(body: bytes) -> str | None:
    at = 34
    at += 1 + body[at]
    at += 2 + struct.unpack_from("!H", body, at)[0]
    at += 1 + body[at]
    if at >= len(body):
        return None
    end = at + 2 + struct.unpack_from("!H", body, at)[0]
    at += 2
    found: str | None = None
    while at + 4 <= min(end, len(body)):
        kind, length = struct.unpack_from("!HH", body, at)
        if kind == 0:
            if found is not None or length < 5 or body[at + 6] != 0:  # noqa: PLR2004  list, type, length
                raise ValueError("a broken server name")
            size = struct.unpack_from("!H", body, at + 7)[0]
            found = body[at + 9 : at + 9 + size].decode("ascii", "replace").lower()
        at += 4 + length
    return found


def http_host(data: bytes) -> str | None:
    """The host of an HTTP/1 request; None for what is no HTTP/1. Raises `Unsaid`, and `ValueError` for two hosts."""
    if not _METHOD.match(data):
        if len(data) < 17 and re.fullmatch(rb"[A-Z]{0,16}", data):  # noqa: PLR2004
            raise Unsaid
        return None
    line, is_line, _ = data.partition(b"\n")
    if is_line and not re.fullmatch(rb"[A-Z]+ \S+ HTTP/1\.[01]\r?", line):
        return None
    head, complete, _ = data.partition(b"\r\n\r\n")
    if not complete:
        raise Unsaid
    first, _, rest = head.partition(b"\r\n")
    named = [line.partition(b":") for line in rest.split(b"\r\n")]
    hosts = [value.strip() for key, _, value in named if key.lower() == b"host"]
    target = first.split(b" ")[1]
    if target.startswith((b"http://", b"https://")):
        hosts.append(target.partition(b"://")[2].partition(b"/")[0].rpartition(b"@")[2])
    found = {_bare(one.decode("ascii", "replace").lower()) for one in hosts}
    if len(found) != 1 or any(line.startswith((b" ", b"\t")) for line in rest.split(b"\r\n")):
        raise ValueError("it names no host, or several")
    return found.pop()


def _bare(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
