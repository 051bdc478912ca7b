"""Single requests to the engine's API on a connection of their own, for calls that may take long: no thread waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.errors import EngineError, EngineUnreachable, ImageMissing, InstanceMissing

LINE_LIMIT: Final = 1 << 20
ANSWER_LIMIT: Final = 1 << 20
MARGIN: Final = 30.0
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
    client: DockerClient, path: str, doing: str, headers: Mapping[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    """
    POST to *path* and yield what the engine tells line by line, for as long as it takes.

    The engine gives the work up when this is closed. Raises `ImageMissing`, `EngineError` and `EngineUnreachable`.
    """
    version = await client.ready()
    reader, writer = await client.address.open(LINE_LIMIT)
    try:
        # HTTP/1.0, so that the answer comes as it is and ends with the connection.
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head_lines = f"POST /v{version}{path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n{fields}\r\n"
        writer.write(head_lines.encode())
        status = _status(await reader.readuntil(b"\r\n\r\n"))
        if status >= _FAILED or not status:
            kind = ImageMissing if status == _NOT_FOUND else EngineError
            raise kind(f"cannot {doing}: {_message(await reader.read(ANSWER_LIMIT))}")
        async for line in reader:
            if line.strip():
                yield json.loads(line)
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        raise EngineUnreachable(f"cannot {doing}: the engine's answer broke off") from error
    finally:
        writer.close()


def _status(head: bytes) -> int:
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _message(body: bytes) -> str:
    start, end = body.find(b"{"), body.rfind(b"}")
    try:
        return str(json.loads(body[start : end + 1])["message"])
    except (ValueError, KeyError, TypeError):
        return "the engine refused"
