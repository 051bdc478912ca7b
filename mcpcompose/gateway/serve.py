"""
Run an ASGI application on a socket that is already bound: uvicorn's protocol, and nothing else of it.

No signal handlers, no ticking loop, no access log. The application learns of a client that went away through
the callback it puts into `scope[ON_DISCONNECT]`, so that no task has to wait for it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.errors import McpComposeError

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from mcpcompose.gateway.protocol import Protocol

ON_DISCONNECT: Final = "mcpcompose.on_disconnect"
_KEEP_ALIVE: Final = 75
_CREDENTIALS: Final = struct.Struct("3i")


def protocol_class() -> type[Protocol]:
    """The protocol of one connection; uvicorn loads with it."""
    from mcpcompose.gateway.protocol import Protocol  # noqa: PLC0415  heavy, only when serving

    return Protocol


class Listening:
    """A server that runs until it is stopped."""

    def __init__(self, server: asyncio.Server, state: ServerState, bound: socket.socket) -> None:
        self._server = server
        self._state = state
        self._bound = bound

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._bound.getsockname()

    async def stop(self, drain: float = 5.0) -> None:
        """Take no new connections, let requests end for *drain* seconds, then cut them off."""
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2.0)
        for connection in tuple(self._state.connections):
            if connection.transport is not None:  # uvicorn sets it late
                connection.transport.abort()
        await asyncio.sleep(0)


async def listen(
    app: Any, bound: socket.socket, *, protocol: Callable[..., asyncio.Protocol] | None = None
) -> Listening:
    """Serve *app* on the bound socket *bound*."""
    from uvicorn.config import Config  # noqa: PLC0415  heavy, only when serving
    from uvicorn.server import ServerState  # noqa: PLC0415

    kind = protocol or protocol_class()
    config = Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        return kind(config=config, server_state=state, app_state={}, _loop=loop)

    if bound.family == socket.AF_UNIX:
        server: asyncio.Server = await loop.create_unix_server(connection, sock=bound)
    else:
        server = await loop.create_server(connection, sock=bound, backlog=1024)
    return Listening(server, state, bound)


def bind(address: str, port: int | None) -> socket.socket:
    """Bind a loopback address; without *port* a free one. Raises `McpComposeError` when the port is taken."""
    family = socket.AF_INET6 if address == "::1" else socket.AF_INET
    host = "127.0.0.1" if address == "localhost" else address
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by the protocol
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port or 0))
        bound.listen(1024)
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
