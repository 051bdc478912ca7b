"""Single requests to the engine's API on a connection of their own, for calls that may take long: no thread waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Final

from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.errors import EngineError, EngineUnreachable, ImageMissing, InstanceMissing

LINE_LIMIT: Final = 1 << 20
ANSWER_LIMIT: Final = 1 << 20
MARGIN: Final = 30.0
PIECE: Final = 1 << 18
_NOT_FOUND: Final = 404
_FAILED: Final = 400


async def post(client: DockerClient, path: str, doing: str, *, seconds: float) -> None:
    """POST to *path* and wait up to *seconds* (and a margin). Raises `InstanceMissing` and `EngineError`."""
    version = await client.ready()
    reader, writer = await client.address.open(LINE_LIMIT)
    try:
        async with asyncio.timeout(seconds + MARGIN):
            head_lines = "Host: docker\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            writer.write(f"POST /v{version}{path} HTTP/1.1\r\n{head_lines}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = b"" if b" 204 " in head.split(b"\r\n", 1)[0] else await reader.read(ANSWER_LIMIT)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise EngineUnreachable(f"cannot {doing}: the engine does not answer") from error
    finally:
        writer.close()
    status = _status(head)
    if status == _NOT_FOUND:
        raise InstanceMissing(f"cannot {doing}: it is gone")
    if status >= _FAILED or not status:
        raise EngineError(f"cannot {doing}: {_message(body)}")


async def lines(
    client: DockerClient,
    path: str,
    doing: str,
    headers: Mapping[str, str],
    *,
    body: Iterator[bytes] | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """
    POST to *path* and yield what the engine tells line by line, for as long as it takes.

    *body* is read in threads and sent as it comes; what it raises is raised here, and the engine then never gets all
    of it. The engine gives the work up when this is closed. Raises `ImageMissing`, `EngineError`, `EngineUnreachable`.
    """
    version = await client.ready()
    reader, writer = await client.address.open(LINE_LIMIT)
    sender: asyncio.Task[None] | None = None
    try:
        writer.write(_head(f"/v{version}{path}", headers, chunked=body is not None))
        if body is not None:
            sender = asyncio.create_task(_send(writer, body))
        head = await reader.readuntil(b"\r\n\r\n")
        pieces = _pieces(reader, chunked=b"transfer-encoding: chunked" in head.lower())
        status = _status(head)
        if status >= _FAILED or not status:
            await _sent(sender)
            kind = ImageMissing if status == _NOT_FOUND else EngineError
            raise kind(f"cannot {doing}: {_message(b''.join([piece async for piece in pieces]))}")
        async for line in _split(pieces):
            yield json.loads(line)
        await _sent(sender)
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        await _sent(sender)
        raise EngineUnreachable(f"cannot {doing}: the engine's answer broke off") from error
    finally:
        if sender is not None:
            sender.add_done_callback(lambda task: task.cancelled() or task.exception())
            sender.cancel()
        writer.transport.abort()


def _head(path: str, headers: Mapping[str, str], *, chunked: bool) -> bytes:
    """Without a body HTTP/1.0, so that the answer comes as it is; only 1.1 knows a body of unknown length."""
    version, length = ("1.1", "Transfer-Encoding: chunked") if chunked else ("1.0", "Content-Length: 0")
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/{version}\r\nHost: docker\r\nConnection: close\r\n{length}\r\n{fields}\r\n".encode()


async def _send(writer: asyncio.StreamWriter, body: Iterator[bytes]) -> None:
    """Send *body*. When it raises the connection is dropped: the engine must not take a part for the whole."""
    try:
        while data := await asyncio.to_thread(_some, body):
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    except OSError:
        return  # the engine has closed its side: its answer says why
    except BaseException:
        writer.transport.abort()
        raise


def _some(body: Iterator[bytes]) -> bytes:
    """The next pieces of *body*, about `PIECE` of them; nothing at its end."""
    pieces, size = [], 0
    for piece in body:
        pieces.append(piece)
        if (size := size + len(piece)) >= PIECE:
            break
    return b"".join(pieces)


async def _sent(sender: asyncio.Task[None] | None) -> None:
    """Raise what went wrong while the body was read."""
    if sender is not None and sender.done():
        await sender


async def _pieces(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncGenerator[bytes, None]:
    """The answer's body as it comes."""
    if not chunked:
        while data := await reader.read(PIECE):
            yield data
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _split(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The lines in *pieces* that are not empty."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > LINE_LIMIT:
            raise ValueError("an endless line")
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _status(head: bytes) -> int:
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _message(body: bytes) -> str:
    start, end = body.find(b"{"), body.rfind(b"}")
    try:
        return str(json.loads(body[start : end + 1])["message"])
    except (ValueError, KeyError, TypeError):
        return "the engine refused"
