"""
One long-lived process or container that answers many questions: a line of JSON for each, by id, in any order.

One that ends, or says what it was not asked, is ended and started anew, with pauses while it never answers. Its open
questions are asked again, once and one at a time: whichever makes it end fails alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from mcpcompose.errors import McpComposeError
from mcpcompose.interceptors.base import InterceptorFailed
from mcpcompose.interceptors.outside import line_id, too_much
from mcpcompose.interceptors.running import Chores, Launch, Running, ended_when_started, launched

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
START_SECONDS: Final = 30.0
"""How long one may take to answer for the first time: many load a lot before they read."""
_BACKLOG: Final = 128 << 20
"""Bytes of questions that it has not taken."""
_LATE: Final = 1024
"""How many questions nobody waits for any more may still be answered."""


class _Ended(InterceptorFailed):
    """It ended while it was asked; another one may answer."""


class Keeper:
    """
    Keeps one running. *launch* starts it, *version* says what it is made of: when that is another than before, it is
    started anew. *limit* bounds a line's bytes. One that for half of *patience* seconds answers nothing hangs, when
    somebody gives up waiting, unless it has just been started. Who gives up does not end a start.
    """

    def __init__(
        self,
        launch: Launch,
        limit: int,
        patience: float,
        version: Callable[[], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launch, self._limit, self._patience = launch, limit, patience
        self._version, self._clock = version, clock
        self._chores = Chores()
        self._talk: _Talk | None = None
        self._launched: asyncio.Task[Running] | None = None
        """One that nobody talks with yet."""
        self._starting = asyncio.Lock()
        self._again = asyncio.Lock()
        self._made_of: object = None
        self._pause = 0.0
        self._not_before = 0.0
        self._why = ""

    async def ask(self, payload: bytes, id_: str) -> bytes:
        """The line that answers *payload*. Raises `McpComposeError`."""
        try:
            return await self._once(payload, id_)
        except _Ended:
            async with self._again:
                return await self._once(payload, id_)

    async def close(self) -> None:
        """End it."""
        if self._talk is not None:
            self._talk.end("was closed")
        self._drop()
        await self._chores.close()

    async def _once(self, payload: bytes, id_: str) -> bytes:
        talk = await self._running()
        return await talk.ask(payload, id_)

    async def _running(self) -> _Talk:
        async with self._starting:
            made_of = await self._version()
            if self._talk is not None and self._talk.is_open and made_of == self._made_of:
                return self._talk
            if self._talk is not None and self._talk.is_open:
                self._talk.end("was given other variables")
            if (wait := self._not_before - self._clock()) > 0:
                raise InterceptorFailed(f"{self._why}; it is started again in {wait:.1f} s")
            running = await self._begun(made_of)
            self._talk = talk = _Talk(running, self._limit, self._patience / 2, self._gone, self._clock)
            running.listen(talk)  # which may be its end already
            return talk

    async def _begun(self, made_of: object) -> Running:
        """Another one; the start that an earlier question began, when there is one."""
        if self._launched is not None and made_of != self._made_of:
            self._drop()
        if self._launched is None or _has_failed(self._launched):
            self._made_of = made_of
            self._launched = self._chores.begin(launched(self._launch))
        try:
            running = await asyncio.shield(self._launched)
        except McpComposeError as error:
            self._put_off(f"it could not be started: {error}")
            raise
        self._launched = None
        return running

    def _drop(self) -> None:
        if self._launched is not None:
            launching, self._launched = self._launched, None
            self._chores.begin(ended_when_started(launching))

    def _gone(self, talk: _Talk, why: str) -> None:
        """It is over with this one: whether the next one may begin at once, what it has answered says."""
        self._chores.begin(talk.running.end())
        if self._talk is talk:
            self._talk = None
        if talk.answered:
            self._pause = self._not_before = 0.0
        else:
            self._put_off(f"it {why}")

    def _put_off(self, why: str) -> None:
        """The first try after one that answered comes at once, the next ones later and later."""
        self._not_before = self._clock() + self._pause
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._why = why


def _has_failed(task: asyncio.Task[Running]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


class _Talk:
    """The questions and answers of one that runs."""

    def __init__(
        self,
        running: Running,
        limit: int,
        silence: float,
        gone: Callable[[_Talk, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.running, self._limit, self._silence = running, limit, silence
        self._gone, self._clock = gone, clock
        self.is_open = True
        self.answered = 0
        self._held = bytearray()
        self._open: dict[str, asyncio.Future[bytes]] = {}
        self._late: dict[str, None] = {}
        self._since = clock()

    async def ask(self, payload: bytes, id_: str) -> bytes:
        """
        The answer to one question.

        When nobody waits for it any more and nothing at all was answered for long enough, it hangs, and is ended;
        one that has not answered yet may still be starting.
        """
        if not self.is_open:
            raise _Ended("it ended")
        if self.running.write_backlog > _BACKLOG:
            self.end("does not read what it is asked")
        waiter = self._open[id_] = asyncio.get_running_loop().create_future()
        before, since = self.answered, self._clock()
        try:
            self.running.write(payload + b"\n")
            answer: bytes = await waiter
        except asyncio.CancelledError:
            if self.is_open:
                self._late[id_] = None
                now = self._clock()
                has_begun = self.answered > 0 or now - self._since >= START_SECONDS
                is_silent = self.answered == before and now - since >= self._silence
                if (is_silent and has_begun) or len(self._late) > _LATE:
                    self._open.pop(id_, None)
                    self.end("did not answer in time")
            raise
        finally:
            self._open.pop(id_, None)
        return answer

    def end(self, why: str, error: InterceptorFailed | None = None) -> None:
        """It is over; who waits hears *error*, or that it ended."""
        if not self.is_open:
            return
        self.is_open = False
        self._held.clear()
        waiting, self._open = self._open, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(error or _Ended(f"it {why}; see its log: `mcp-compose logs`"))
        self._gone(self, why)

    # --- engine.base.Receiver ---

    def data_received(self, data: bytes) -> None:
        """More of its output."""
        if not self.is_open:
            return
        looked = len(self._held)
        self._held += data
        while (cut := self._held.find(b"\n", looked)) >= 0:
            line = bytes(self._held[:cut])
            del self._held[: cut + 1]
            looked = 0
            self._take(line)
        if len(self._held) > self._limit:
            self.end("answered too much", too_much(self._limit))

    def stream_ended(self, reason: str) -> None:
        """It has ended."""
        self.end(reason)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        if len(line) > self._limit:
            self.end("answered too much", too_much(self._limit))
            return
        id_ = line_id(line)
        waiter = self._open.pop(id_, None) if id_ is not None else None
        if waiter is not None:
            self.answered += 1
            if not waiter.done():
                waiter.set_result(line)
        elif id_ is not None and id_ in self._late:
            del self._late[id_]
            self.answered += 1
        else:
            wrong = "said what is no answer: a line of JSON with the `id` of a question"
            self.end(wrong, InterceptorFailed(f"it {wrong}"))
