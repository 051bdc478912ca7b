"""
What `run --stdio` is: bytes between a client's pipes and the running gateway's stdio socket.

Light on purpose (standard library only): every client application spawns one of these.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 16
_LOOK: Final = 0.2
_ANSWERS: Final = 12.0
"""Seconds that answers may come after the client closed its side; the gateway gives up before."""


async def shim(socket: Path, hello: Mapping[str, str], stdin: int = 0, stdout: int = 1) -> int:
    """
    Say *hello* (`{"token": …}` or `{"profile": …}`) on *socket*, then carry lines both ways until either side ends.

    Returns the process's exit code: 0 when the client closed its side, 1 when the gateway went away or refused.
    *stdin* and *stdout* are file descriptors; anonymous pipes, files, sockets and terminals all work.
    """
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(json.dumps(dict(hello)).encode() + b"\n")
    upward = asyncio.create_task(_upward(stdin, writer))
    downward = asyncio.create_task(_downward(reader, stdout))
    done, _ = await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
    client_ended = upward in done and upward.exception() is None and not downward.done()
    if client_ended:
        await _last_words(downward, stdout)
    for task in (upward, downward):
        task.cancel()
    await asyncio.gather(upward, downward, return_exceptions=True)
    writer.close()
    return 0 if client_ended else 1


async def _last_words(downward: asyncio.Task[None], stdout: int) -> None:
    """Let answers come that somebody still reads."""
    poll = select.poll()
    poll.register(stdout, 0)
    loop = asyncio.get_running_loop()
    end = loop.time() + _ANSWERS
    while not downward.done() and loop.time() < end and not poll.poll(0):
        await asyncio.wait({downward}, timeout=_LOOK)


async def _upward(stdin: int, writer: asyncio.StreamWriter) -> None:
    """From the client to the gateway; a thread reads, because not every descriptor can be polled."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    room = asyncio.Semaphore(64)

    def take(chunk: bytes) -> None:
        chunks.put_nowait(chunk)

    def pump() -> None:
        while True:
            try:
                chunk = os.read(stdin, _CHUNK)
            except OSError:
                chunk = b""
            try:
                asyncio.run_coroutine_threadsafe(room.acquire(), loop).result()
                loop.call_soon_threadsafe(take, chunk)
            except (RuntimeError, asyncio.CancelledError):
                return
            if not chunk:
                return

    import threading  # noqa: PLC0415  the one place that needs it

    threading.Thread(target=pump, name="stdin", daemon=True).start()
    while chunk := await chunks.get():
        room.release()
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _downward(reader: asyncio.StreamReader, stdout: int) -> None:
    """
    From the gateway to the client.

    Never blocks, so that the process can end while a client does not read: what has room takes this much at once.
    """
    while chunk := await reader.read(_CHUNK):
        view = memoryview(chunk)
        while view:
            if not select.select((), (stdout,), (), 0)[1]:
                await _room(stdout)
            view = view[os.write(stdout, view[: select.PIPE_BUF]) :]


async def _room(stdout: int) -> None:
    """Wait until *stdout* takes something; only pipes, sockets and terminals are ever full."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(stdout, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(stdout)
