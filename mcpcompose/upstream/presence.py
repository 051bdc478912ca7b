"""Whether a server is still there: looking for one that broke an exchange off, and for one that nobody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx2

from mcpcompose.upstream.connection import wording

_CONNECT_SECONDS: Final = 5.0
_CHECKS: Final = (0.0, 0.2, 0.5)
"""Pauses before each look whether a server that broke an exchange off is still there."""
_CHECK_SECONDS: Final = 5.0


async def why_gone(client: httpx2.AsyncClient, url: str, headers: dict[str, str]) -> str | None:
    """Why the server cannot be connected to, several times; None when it answers anything, or breaks that off."""
    why = None
    for pause in _CHECKS:
        await asyncio.sleep(pause)
        try:
            await client.options(url, headers=headers, timeout=_CHECK_SECONDS)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            why = f"cannot be reached: {wording(error)}"
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return None
        else:
            return None
    return why


async def until_gone(url: str, seconds: float, idle: Callable[[], bool]) -> None:
    """
    Look every so many *seconds*; returns when nothing listens at the place of *url*. No request, no log line there.

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


async def look_after(url: str, seconds: float, idle: Callable[[], bool], doubt: Callable[[], None]) -> None:
    """Notice that an instance ended that nobody asks anything."""
    while True:
        await until_gone(url, seconds, idle)
        doubt()
