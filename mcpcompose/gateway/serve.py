"""
Serve an ASGI application on a socket that is already bound, in a loop that is not its own.

The application learns of a client that went away through the callback it puts into `scope[ON_DISCONNECT]`, so that
no task has to wait for it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mcpcompose.errors import McpComposeError
from mcpcompose.gateway.cycle import ON_DISCONNECT, App
from mcpcompose.gateway.protocol import Bounds, HttpProtocol, Served

__all__ = ["ON_DISCONNECT", "Bounds", "Listening", "bind", "is_same_user", "listen", "unix_socket"]

_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 1024


class Listening:
    """A server that runs until it is stopped."""

    def __init__(self, server: asyncio.Server, served: Served, bound: socket.socket) -> None:
        self._server = server
        self._served = served
        self._bound = bound

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._bound.getsockname()

    @property
    def connections(self) -> frozenset[HttpProtocol]:
        """Who is connected now."""
        return frozenset(self._served.connections)

    async def stop(self, drain: float = 5.0) -> None:
        """Take no new connections, let requests end for *drain* seconds, then cut them off."""
        self._server.close()
        for connection in tuple(self._served.connections):
            connection.shutdown()
        tasks = set(self._served.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2.0)
        for connection in tuple(self._served.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


async def listen(
    app: App,
    bound: socket.socket,
    *,
    bounds: Bounds | None = None,
    protocol: Callable[[Served, asyncio.AbstractEventLoop], asyncio.Protocol] = HttpProtocol,
) -> Listening:
    """Serve *app* on the bound socket *bound*."""
    served = Served(app, bounds or Bounds())
    loop = asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        return protocol(served, loop)

    if bound.family == socket.AF_UNIX:
        server: asyncio.Server = await loop.create_unix_server(connection, sock=bound)
    else:
        server = await loop.create_server(connection, sock=bound, backlog=_BACKLOG)
    return Listening(server, served, bound)


def bind(address: str, port: int | None) -> socket.socket:
    """Bind a loopback address; without *port* a free one. Raises `McpComposeError` when the port is taken."""
    family = socket.AF_INET6 if address == "::1" else socket.AF_INET
    host = "127.0.0.1" if address == "localhost" else address
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by the protocol
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port or 0))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise McpComposeError(
                f"port `{port}` on `{host}` is taken by another program",
                hint="set `gateway.port` to another port, or end the program that holds it",
            ) from error
        raise McpComposeError(f"cannot listen on `{host}` port `{port or 'any'}`: {error.strerror}") from error
    bound.setblocking(False)  # noqa: FBT003  the standard library's own signature
    return bound


def unix_socket(path: Path) -> socket.socket:
    """A listening unix socket at *path* that only this user can connect to."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)  # noqa: FBT003  the standard library's own signature
    return listening


def is_same_user(connection: Any) -> bool:
    """Whether the process at the other end of a unix socket is this user's (or root's)."""
    option: int | None = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # not on macOS: there the socket's own mode and its folder's keep others out
        return True
    try:
        _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    except OSError:
        return False
    return user in {os.getuid(), 0}
