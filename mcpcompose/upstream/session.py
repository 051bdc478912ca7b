"""The session that a handshake server opens over HTTP: its id, and another one when it is gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Final

import httpx2

from mcpcompose.upstream.body import BodyTooLarge
from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import wording
from mcpcompose.upstream.handshake import error_text

_ID: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_SECONDS: Final = 30.0


def session_id(response: httpx2.Response) -> str | None:
    """The id that comes with the answer to `initialize`. Raises `BodyTooLarge` for one that cannot be sent back."""
    session = response.headers.get("mcp-session-id") or None
    if session is not None and not _ID.fullmatch(session):
        raise BodyTooLarge("gave out a session id that no header can carry")
    return session


async def greeted_again(call: Call, sent: Awaitable[object]) -> str | None:
    """Wait for the answer to *call*, an `initialize`, that *sent* brings. Returns why no session was opened."""
    why = ""
    try:
        async with asyncio.timeout(_SECONDS):
            await sent
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, BodyTooLarge, TimeoutError) as error:
        why = wording(error)
    if call.reply is not None and call.reply.result is not None:
        return None
    return f"ended its session and opened no other: {why or error_text(call.reply.error if call.reply else None)}"
