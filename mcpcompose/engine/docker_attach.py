"""
The data plane: a container's standard streams over the engine's own socket.

One connection per container, taken over from HTTP (`Upgrade: tcp`), demultiplexed in the
protocol itself: no thread, no task and no queue between the socket and the receiver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from mcpcompose.engine.docker_host import Address
from mcpcompose.engine.streams import HeldOutput, Lifetime
from mcpcompose.errors import EngineError, EngineUnreachable, InstanceMissing

HEADER: Final = 8
STDERR: Final = 2
HEAD_LIMIT: Final = 64 << 10
ANSWER_SECONDS: Final = 30.0
_SWITCHED: Final = frozenset({200, 101})
_NOT_FOUND: Final = 404


class AttachedStream(HeldOutput, asyncio.Protocol):
    """A `ByteStream` over an attach connection; standard error goes to *log*."""

    def __init__(
        self, log: Callable[[bytes], None], lost: Callable[[AttachedStream], None], *, all_to_log: bool
    ) -> None:
        super().__init__()
        self._log = log
        self._lost = lost
        self._all_to_log = all_to_log
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._switched = False
        self._channel = 0
        self._left = 0
        self._discarding = False
        self.closed = False
        """Let go of by us."""
        self.life = Lifetime()
        self.gone = False
        """The connection has ended."""

    # --- ByteStream ---

    def write(self, data: bytes) -> None:
        """Write to standard input; buffers when the instance does not read."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken by the other side."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take no more output until `resume_reading`."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    async def close(self) -> None:
        """Close standard input and let go; the instance goes on or ends as it likes."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    # --- for the engine ---

    async def open(self, path: str) -> None:
        """Ask the engine for the streams. Raises `InstanceMissing` and `EngineError`."""
        self.write(f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, body = await self._answered
        except TimeoutError as error:
            self.abort()
            raise EngineUnreachable("the engine did not answer a request for a container's streams") from error
        except BaseException:
            self.abort()
            raise
        if status not in _SWITCHED:
            await self.close()
            kind = InstanceMissing if status == _NOT_FOUND else EngineError
            raise kind(f"the engine does not give a container's streams: {body.decode(errors='replace').strip()[:300]}")

    def abort(self) -> None:
        """Drop the connection at once, with what was not sent."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def close_input(self) -> None:
        """Let the instance see the end of its input, and go on reading what it still says."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def discard(self) -> None:
        """Read on and drop it: an engine cannot end a container whose output nobody takes."""
        self._discarding = True
        self.resume_reading()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take frames apart and hand on what is in them."""
        if not self._switched:
            self._take_answer(data)
            return
        if self._head:
            data, self._head = self._head + data, b""
        position, size = 0, len(data)
        while position < size:
            if not self._left:
                if size - position < HEADER:
                    self._head = data[position:]
                    return
                self._channel = data[position]
                self._left = int.from_bytes(data[position + 4 : position + HEADER], "big")
                position += HEADER
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            if self._all_to_log or self._channel == STDERR:
                self._log(piece)
            elif not self._discarding:
                self.deliver(piece)

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the engine, which finds out why."""
        self.gone = True
        if not self._answered.done():
            self._answered.set_result((0, str(exc or "it closed the connection").encode()))
        if self._switched:
            self._lost(self)

    def _take_answer(self, data: bytes) -> None:
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            if len(self._head) > HEAD_LIMIT and self._transport is not None:
                self._transport.abort()
            return
        self._head = b""
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        self._switched = status in _SWITCHED
        if not self._answered.done():
            self._answered.set_result((status, rest))
        if self._switched and rest:
            self.data_received(rest)


async def attach(
    address: Address,
    version: str,
    container: str,
    *,
    stdin: bool,
    log: Callable[[bytes], None],
    lost: Callable[[AttachedStream], None],
) -> AttachedStream:
    """Hold the streams of *container*: with *stdin* its standard streams, without it everything it says for its log."""
    stream = await address.connect(lambda: AttachedStream(log, lost, all_to_log=not stdin))
    flags = "stream=1&stdout=1&stderr=1" + ("&stdin=1" if stdin else "")
    await stream.open(f"/v{version}/containers/{container}/attach?{flags}")
    return stream
