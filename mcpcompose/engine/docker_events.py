"""The engine's event stream as an async iterator: one connection, no thread, opened again when it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final, Literal
from urllib.parse import quote

from mcpcompose.engine.base import EngineEvent
from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.errors import EngineUnreachable
from mcpcompose.spec.identity import OWNER_LABEL, PROJECT_LABEL, Owner

ACTIONS: Final[dict[str, Literal["died", "removed", "started", "health"]]] = {
    "die": "died",
    "destroy": "removed",
    "remove": "removed",
    "start": "started",
    "health_status": "health",
}
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
LINE_LIMIT: Final = 1 << 20


async def events(client: DockerClient, owner: Owner) -> AsyncIterator[EngineEvent]:
    """What happens to *owner*'s containers; after a break, from where it broke."""
    pause, since = FIRST_PAUSE, 0
    while True:
        try:
            async for event in _connection(client, owner, since):
                pause = FIRST_PAUSE
                since = max(since, int(event.get("timeNano") or 0) + 1)
                said = str(event.get("Action") or event.get("status") or "").partition(":")[0]
                if (action := ACTIONS.get(said)) is not None:
                    yield EngineEvent(event.get("Actor", {}).get("Attributes", {}).get("name", ""), action)
        except (OSError, EngineUnreachable, ValueError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _connection(client: DockerClient, owner: Owner, since: int) -> AsyncIterator[dict[str, Any]]:
    version = await client.ready()
    filters = {
        "type": ["container"],
        "event": sorted(ACTIONS),
        "label": [f"{OWNER_LABEL}={owner.id}", f"{PROJECT_LABEL}={owner.project}"],
    }
    path = f"/v{version}/events?filters={quote(json.dumps(filters))}"
    if since:
        path += f"&since={since // 1_000_000_000}.{since % 1_000_000_000:09}"
    reader, writer = await client.address.open(LINE_LIMIT)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: docker\r\nAccept: application/json\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise OSError("the engine gives no events")
        rest = b""
        async for chunk in _chunks(reader):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    finally:
        writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The body of an answer with `Transfer-Encoding: chunked`."""
    while size := int((await reader.readline()).split(b";")[0].strip() or b"0", 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
