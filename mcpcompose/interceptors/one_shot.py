"""One process or container for each question: the question on its standard input, the answer on its standard output."""

from __future__ import annotations

import asyncio

from mcpcompose.interceptors.base import InterceptorFailed
from mcpcompose.interceptors.outside import too_much
from mcpcompose.interceptors.running import FINE, Chores, Launch


class OneShot:
    """Starts one for each question; *limit* bounds an answer's bytes."""

    def __init__(self, launch: Launch, limit: int) -> None:
        self._launch, self._limit = launch, limit
        self._chores = Chores()

    async def ask(self, payload: bytes, _id: str) -> bytes:
        """
        The whole of its output once it has ended well. Raises `McpComposeError`.

        Broken off, it is ended at once; that its end takes time is nobody's wait.
        """
        running = await self._chores.start(self._launch)
        try:
            collected = _Collected(self._limit)
            running.listen(collected)
            running.write(payload)
            running.close_input()
            return await collected.whole
        finally:
            self._chores.begin(running.end())

    async def close(self) -> None:
        """Wait until all have ended."""
        await self._chores.close()


class _Collected:
    """Its output, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._parts: list[bytes] = []
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """More output; too much of it ends the wait."""
        if self.whole.done():
            return
        self._size += len(data)
        if self._size > self._limit:
            self._parts.clear()
            self.whole.set_exception(too_much(self._limit))
        else:
            self._parts.append(data)

    def stream_ended(self, reason: str) -> None:
        """It has ended."""
        if self.whole.done():
            return
        if reason == FINE:
            self.whole.set_result(b"".join(self._parts))
        else:
            self.whole.set_exception(InterceptorFailed(f"it {reason}; see its log: `mcp-compose logs`"))
