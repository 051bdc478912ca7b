"""
Which port the gateway listens on: the file's, else the one remembered, else a free one that stays this project's.

Chosen below the range that outgoing connections take theirs from, so that it is free again the next time.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from mcpcompose.errors import McpComposeError
from mcpcompose.spec.project import Gateway

_FIRST: Final = 20_000
_COUNT: Final = 12_000


def port_for(gateway: Gateway, remembered: int | None, owner_id: str) -> int:
    """The port to listen on, free just now. Raises `McpComposeError` when it is taken."""
    wanted = gateway.port or remembered
    if wanted is None:
        return _free_one(gateway.listen, owner_id)
    if not _is_free(gateway.listen, wanted):
        whose = "from `gateway.port`" if gateway.port else "remembered from the last `up`"
        raise McpComposeError(
            f"port {wanted} ({whose}) is taken by another program",
            hint="end the program that holds it, or set `gateway.port` in the file to another port",
        )
    return wanted


def _free_one(listen: str, owner_id: str) -> int:
    start = int(owner_id, 16) % _COUNT
    for step in range(_COUNT):
        port = _FIRST + (start + step * 7) % _COUNT
        if _is_free(listen, port):
            return port
    raise McpComposeError("there is no free port", hint="set `gateway.port` in the file")


def _is_free(listen: str, port: int) -> bool:
    family = socket.AF_INET6 if listen == "::1" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1" if listen == "localhost" else listen, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise McpComposeError(f"cannot listen on `{listen}`: {error.strerror}") from error
    return True
