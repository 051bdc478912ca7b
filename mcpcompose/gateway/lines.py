"""Lines from and to one client on a socket: bounded in size, and in how long they may stay unread."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

from mcpcompose.gateway.envelope import INVALID_REQUEST, Failure, answer_bytes
from mcpcompose.spec.limits import exceeded, size
from mcpcompose.spec.project import Gateway

_LINE, _RETURN = b"\n\r"
_BUFFERED: Final = 64 << 10
"""Bytes that a client may leave unread for as long as it likes, and that it has to read of more in the time it has."""


class Lines:
    """One connection; *gateway* is what the file says now."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gateway: Callable[[], Gateway]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._gateway = gateway

    async def read(self) -> bytes:
        """The next line, empty at the end; one over the limit is skipped to its end, refused, and costs no other."""
        kept, length = bytearray(), 0
        while True:
            try:
                part, is_whole = await self._reader.readuntil(), True
            except asyncio.IncompleteReadError as end:
                part, is_whole = end.partial, True
            except asyncio.LimitOverrunError as error:
                part, is_whole = await self._reader.readexactly(error.consumed), False
            most = self._gateway().limits.body
            length += len(part)
            if length <= most:
                kept += part
            else:
                kept.clear()
            if not is_whole:
                continue
            if len(kept) == length:
                return bytes(kept)
            kept, length = bytearray(), 0
            text = exceeded("the message is too large", size(most), "gateway.limits.body")
            await self.write(answer_bytes(None, Failure(INVALID_REQUEST, text)))

    async def write(self, line: bytes) -> None:
        """
        Send *line*. Raises `OSError` when the client is gone, or has not read for too long.

        Bytes that came with line breaks lose them: outside of strings they mean nothing, inside there are none.
        """
        if _LINE in line or _RETURN in line:
            line = line.replace(b"\n", b" ").replace(b"\r", b" ")
        self._writer.write(line + b"\n")
        if self._writer.transport.get_write_buffer_size() <= _BUFFERED:
            await self._writer.drain()
        else:
            await self._drain_slowly()

    async def _drain_slowly(self) -> None:
        transport, stalled = self._writer.transport, self._gateway().timeouts.stalled
        while (unread := transport.get_write_buffer_size()) > _BUFFERED:
            try:
                async with asyncio.timeout(stalled):
                    await self._writer.drain()
            except TimeoutError:
                if unread - transport.get_write_buffer_size() < _BUFFERED:
                    transport.abort()
                    raise ConnectionAbortedError("the client does not read") from None

    @property
    def is_gone(self) -> bool:
        """Whether the other side is closed as a whole, not only for writing."""
        socket = self._writer.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(socket.fileno(), 0)
        return bool(poll.poll(0))
