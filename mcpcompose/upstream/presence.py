"""Notice that nothing listens any more where an instance did; one connection at a time, no request, no log line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

_CONNECT_SECONDS: Final = 5.0


async def until_gone(url: str, seconds: float, idle: Callable[[], bool]) -> None:
    """
    Look every so many *seconds*; returns when nothing listens at the place of *url*.

    Only while it is *idle*: an exchange tells by itself when it breaks, and a server that takes one connection at a
    time must not have its queue filled with ours. For the same reason a busy one that lets us wait is not gone.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    while True:
        await asyncio.sleep(seconds)
        if not idle():
            continue
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except TimeoutError:
            continue
        except OSError:
            return
        writer.close()
