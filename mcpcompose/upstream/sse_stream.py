"""
The transport of 2024-11-05 (HTTP+SSE) as a byte stream: events of one GET come in, each line goes out as one POST.

The server names where to post in its first event, which must be of the same origin, as headers with secrets go there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

import httpx2

from mcpcompose.engine.base import Receiver
from mcpcompose.upstream.body import BodyTooLarge, advice, bounded
from mcpcompose.upstream.call import unavailable
from mcpcompose.upstream.connection import wording
from mcpcompose.upstream.sse import Event, EventParser
from mcpcompose.upstream.wire import read_message, response

_JSON: Final = "application/json"
_SSE: Final = "text/event-stream"
_LONGEST_ENDPOINT: Final = 8192
_POSTS: Final = 64
"""Messages that may be on their way at once."""
_POST_SECONDS: Final = 60.0
_RECEIPT: Final = 64 << 10
"""Bytes of an answer to a POST that are read, so that the connection can be used again."""
_PATIENCE: Final = 0.1
_PATIENCE_UNANSWERED: Final = 2.0
"""Seconds after which the next message goes out though the one before is not acknowledged: a request, another."""
_PORTS: Final = {"http": 80, "https": 443}


class SseStream:
    """A `ByteStream` to the server at *url*, through *client*, whose owner closes it."""

    def __init__(self, server: str, url: str, client: httpx2.AsyncClient, *, limit: int = 64 << 20) -> None:
        self._server = server
        self._url = url
        self._limit = limit
        self._client = client
        self._receiver: Receiver | None = None
        self._post_to: httpx2.URL | None = None
        self._queue: deque[bytes] = deque()
        self._backlog = 0
        self._outgoing = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._posting: set[asyncio.Task[Any]] = set()
        self._ended = False

    # --- the byte stream --------------------------------------------------------------------------------------------

    def listen(self, receiver: Receiver) -> None:
        """Connect, and hand over what comes."""
        self._receiver = receiver
        for work in (self._read(), self._write()):
            task = asyncio.create_task(work, name=f"sse of {self._server}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def write(self, data: bytes) -> None:
        """Each line is one message; it is posted after those before it."""
        if not self._ended:
            lines = [line for line in data.split(b"\n") if line]
            self._queue.extend(lines)
            self._backlog += sum(map(len, lines))
            self._outgoing.set()

    @property
    def write_backlog(self) -> int:
        """Bytes that the server has not acknowledged."""
        return self._backlog

    def close_input(self) -> None:
        """A stream of posts has no end of its own."""

    def pause_reading(self) -> None:
        """Take no more events."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._may_read.set()

    async def close(self) -> None:
        """Close the stream of events, which ends the session; nothing more is posted."""
        self._ended = True
        tasks = [*self._tasks, *self._posting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._queue.clear()
        for task in (*self._tasks, *self._posting):
            if task is not asyncio.current_task():
                task.cancel()
        if self._receiver is not None:
            self._receiver.stream_ended(reason)

    # --- from the server --------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        reason = "ended its stream of events"
        try:
            async with self._client.stream("GET", self._url, headers=_headers(accept=_SSE)) as answer:
                refusal = _refusal(answer)
                if refusal is None:
                    await self._take_events(answer)
                reason = refusal or reason
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            reason = f"cannot be reached: {wording(error)}"
        except (httpx2.TransportError, httpx2.StreamError) as error:
            reason = f"broke its stream of events off: {wording(error)}"
        except (httpx2.HTTPError, httpx2.InvalidURL, BodyTooLarge, ValueError) as error:
            reason = wording(error)
        self._end(reason)

    async def _take_events(self, answer: httpx2.Response) -> None:
        parser = EventParser(self._limit)
        async for chunk in bounded(answer, None):
            for event in parser.events(chunk):
                self._take(event)
            if self._ended:
                return
            await self._may_read.wait()

    def _take(self, event: Event) -> None:
        if event.name == "endpoint" and self._post_to is None:
            self._post_to = _endpoint(self._url, event.data)
            self._outgoing.set()
        elif event.name == "message" and event.data and self._receiver is not None:
            self._receiver.data_received(event.data.replace(b"\n", b" ") + b"\n")

    # --- towards the server -----------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Post in order: each message when the one before is acknowledged, or its acknowledgement is slow."""
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            while self._queue and self._post_to is not None:
                if len(self._posting) >= _POSTS:
                    await asyncio.wait(self._posting, return_when=asyncio.FIRST_COMPLETED)
                message = self._queue.popleft()
                task = asyncio.create_task(self._post(self._post_to, message))
                self._posting.add(task)
                task.add_done_callback(self._posting.discard)
                await asyncio.wait({task}, timeout=_PATIENCE if _is_request(message) else _PATIENCE_UNANSWERED)

    async def _post(self, url: httpx2.URL, message: bytes) -> None:
        """Who posts a request that is not taken gets an error instead of silence."""
        problem = None
        try:
            async with (
                asyncio.timeout(_POST_SECONDS),
                self._client.stream("POST", url, content=message, headers=_headers(accept=_JSON, kind=_JSON)) as answer,
            ):
                if answer.status_code in {httpx2.codes.NOT_FOUND, httpx2.codes.GONE}:
                    self._end(f"knows its session no more (HTTP status {answer.status_code})")
                elif not answer.is_success:
                    status = answer.status_code
                    problem = f"refused a message with HTTP status {status}{advice(status, sse=True)}"
                else:
                    with suppress(BodyTooLarge):
                        async for _ in bounded(answer, _RECEIPT):
                            pass
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self._end(f"cannot be reached: {wording(error)}")
        except TimeoutError:
            problem = f"did not take a message within {_POST_SECONDS:g} s"
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            problem = f"did not take a message: {wording(error)}"
        finally:
            self._backlog -= len(message)
        if problem is not None:
            self._refuse(message, problem)

    def _refuse(self, message: bytes, problem: str) -> None:
        read = read_message(message)
        if read is not None and read.id is not None and read.method is not None and not self._ended:
            reply = unavailable(self._server, f"server `{self._server}` {problem}")
            if self._receiver is not None:
                self._receiver.data_received(response(read.id, reply) + b"\n")


def _refusal(answer: httpx2.Response) -> str | None:
    """What is wrong with an answer that brings no events."""
    if answer.is_redirect:
        return "redirects to another address, which is not followed"
    if not answer.is_success:
        return f"answered with HTTP status {answer.status_code}{advice(answer.status_code, sse=True)}"
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if kind == _SSE else f"sends `{kind[:50]}`, no events: does it need `transport: sse`?"


def _headers(*, accept: str, kind: str | None = None) -> dict[str, str]:
    headers = {"accept": accept, "accept-encoding": "identity", "cache-control": "no-store"}
    return headers if kind is None else headers | {"content-type": kind}


def _is_request(message: bytes) -> bool:
    read = read_message(message)
    return read is not None and read.id is not None and read.method is not None


def _endpoint(base: str, data: bytes) -> httpx2.URL:
    """Where to post. Raises `ValueError` for an address of another origin: it would get our headers."""
    if len(data) > _LONGEST_ENDPOINT:
        raise ValueError("named an endpoint with a very long address")
    try:
        source = httpx2.URL(base)
        target = source.join(data.decode())
    except (httpx2.InvalidURL, UnicodeDecodeError, ValueError):
        raise ValueError("named an endpoint that is no address") from None
    if _origin(target) != _origin(source) or target.userinfo not in {b"", source.userinfo}:
        raise ValueError("named an endpoint of another origin, which is not used")
    return target.copy_with(fragment=None)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)
