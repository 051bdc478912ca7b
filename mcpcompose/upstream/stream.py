"""Speak to a server over the standard streams of its instance: newline-delimited JSON, one writer, no tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from mcpcompose.engine.base import ByteStream
from mcpcompose.spec.limits import exceeded, size
from mcpcompose.upstream.allowance import Allowance, default_allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.batch import batch_is_over
from mcpcompose.upstream.call import Call, Reply, failure, unavailable
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.levels import MESSAGE, concerned
from mcpcompose.upstream.questions import Questions
from mcpcompose.upstream.wire import (
    HANDSHAKE_VERSIONS,
    LineSplitter,
    Message,
    notification,
    progress_token,
    read_message,
    request,
    request_params,
    with_progress_token,
)

_MANY_LINES: Final = 500
_PAUSE: Final = 20e-6
"""Seconds of a pause for each of them: a multiple of what reading one takes."""
_GARBAGE_LINES: Final = 1000
"""Lines that are no messages before we give a server up."""


class StreamConnection:
    """
    A server on a byte stream; a `Receiver` of it.

    Calls in flight end at once when the stream ends. Lines that are no messages are counted and skipped. *own* says
    that one client has it for itself: only then a question of the server has somebody to answer it, as nothing on a
    stream says to which call it belongs.
    """

    def __init__(
        self,
        server: str,
        stream: ByteStream,
        watcher: Watcher,
        *,
        allowance: Allowance | None = None,
        own: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.era = Era.LEGACY
        self.version = HANDSHAKE_VERSIONS[-1]
        self.pending: dict[str, Call] = {}
        self.garbage = 0
        self.first_garbage: str | None = None
        self._server = server
        self._stream = stream
        self._watcher = watcher
        self._allowance = allowance = allowance or default_allowance(server)
        self._lines = LineSplitter(allowance.result)
        self._clock = clock
        self._own = own
        self._questions = Questions(self._write, watcher.asked)
        self._number = 0
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._ended: str | None = None
        stream.listen(self)

    # --- towards the server -----------------------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Write the request."""
        if self._ended is not None:
            call.finish(unavailable(self._server, f"server `{self._server}` is gone: {self._ended}"))
            return
        limits = self._allowance.limits
        if self._unsent_size + self._stream.write_backlog > limits.backlog:
            what = f"server `{self._server}` does not read its input"
            text = exceeded(what, size(limits.backlog), self._allowance.key("backlog"))
            call.finish(unavailable(self._server, text))
            return
        self._number += 1
        id_ = f"gw-{self._number}"
        try:
            line = request(id_, call.method, request_params(call, id_, self.era, self.version))
        except (ValueError, TypeError, RecursionError) as error:
            call.finish(failure(-32602, f"the request is not JSON: {error}"))
            return
        if limits.body is not None and len(line) > limits.body:
            text = exceeded("the request is too large", size(limits.body), self._allowance.key("body"))
            call.finish(failure(-32602, text))
            return
        self.pending[id_] = call
        call.began(self._clock(), partial(self._forget, id_))
        self._send(line)

    def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Write a notification."""
        self._write(notification(method, params))

    def expire(self, call: Call) -> None:
        """The server is told that nobody waits any more; the caller, that the time is over."""
        text = f"server `{self._server}` did not answer in time"
        call.give_up(unavailable(self._server, text, reason="timeout"), "timeout")

    def greeted(self, era: Era, version: str) -> None:
        """The handshake is done."""
        self.era = era
        self.version = version

    def learned(self, lists: ServerLists) -> None:
        """Nothing of the lists matters on a stream."""

    async def close(self, reason: str) -> None:
        """Close the server's input and let go."""
        self._end(reason)
        self._flush()
        await self._stream.close()

    def _forget(self, id_: str, _call: Call, reason: str) -> None:
        if self.pending.pop(id_, None) is not None:
            self._write(notification("notifications/cancelled", {"requestId": id_, "reason": reason}))

    def _write(self, line: bytes) -> None:
        """What is no call: cancellations, answers. Who makes us answer without ever reading is given up."""
        if self._ended is None:
            self._send(line)
            if self._stream.write_backlog > 2 * self._allowance.limits.backlog:
                self._give_up("it does not read its input")

    def _send(self, line: bytes) -> None:
        """What is sent in one turn of the loop goes out together: a write costs more than the bytes in it."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += (line, b"\n")
        self._unsent_size += len(line)

    def _flush(self) -> None:
        lines, self._unsent = self._unsent, []
        self._unsent_size = 0
        if lines:
            self._stream.write(b"".join(lines))

    # --- from the server (Receiver) ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """More of its output."""
        if self._ended is not None:
            return
        self._lines.limit = self._allowance.result
        try:
            lines = self._lines.feed(data)
        except ValueError as error:
            self._give_up(f"its output has {error} (`{self._allowance.result_key}`)")
            return
        for line in lines:
            if not line or line.isspace():
                continue
            message = read_message(line)
            if message is not None:
                self._take(message)
            else:
                self._count_garbage(line)
            if self._ended is not None:
                return
        batch_is_over()
        if len(lines) > _MANY_LINES:
            self._read_more_slowly(len(lines))

    def _read_more_slowly(self, lines: int) -> None:
        """Who sends so many messages at once is read with pauses, so that the loop has time for others."""
        self._stream.pause_reading()
        asyncio.get_running_loop().call_later(lines * _PAUSE, self._stream.resume_reading)

    def stream_ended(self, reason: str) -> None:
        """Nothing more will come."""
        if self._end(reason):
            self._watcher.lost(reason)

    def _take(self, message: Message) -> None:
        if message.method is None:
            self._take_answer(message)
        elif message.id is not None:
            self._take_request(message.id, message.method, bytes(message.params))
        elif message.method == "notifications/progress":
            self._take_progress(message)
        else:
            self._take_notification(message.method, bytes(message.params))

    def _take_answer(self, message: Message) -> None:
        """Answers to what was never asked, or was answered before, are ignored."""
        if not isinstance(message.id, str):
            return
        result, error = bytes(message.result), bytes(message.error)
        if not (result or error):
            return
        call = self.pending.pop(message.id, None)
        if call is not None:
            call.finish(Reply(error=error, era=self.era) if error else Reply(result=result, era=self.era))

    def _take_request(self, id_: str | float, method: str, params: bytes) -> None:
        """A question goes to the client of the call that came last, where one client is alone with the server."""
        theirs = (call for call in reversed(self.pending.values()) if call.origin is not None)
        call = next(theirs, None) if self._own else None
        self._questions.take(id_, method, params, call, self._clock())

    def _take_notification(self, method: str, params: bytes) -> None:
        if method == "notifications/cancelled":
            self._questions.withdraw(params)
        elif method == MESSAGE and (call := concerned(self.pending.values(), self.era, own=self._own)) is not None:
            call.note(method, params)
        else:
            self._watcher.notified(method, params)

    def _take_progress(self, message: Message) -> None:
        params = bytes(message.params)
        token = progress_token(params)
        call = self.pending.get(token) if isinstance(token, str) else None
        if call is not None:
            call.renewed(self._clock())
        if call is not None and call.progress_token is not None:
            call.note("notifications/progress", with_progress_token(params, call.progress_token))

    def _count_garbage(self, line: bytes) -> None:
        self.garbage += 1
        if self.first_garbage is None:
            self.first_garbage = line[:120].decode("utf-8", "replace").strip()
        if self.garbage > _GARBAGE_LINES:
            self._give_up(f"it prints lines on standard output that are no messages, the first: `{self.first_garbage}`")

    def _give_up(self, reason: str) -> None:
        if self._end(reason):
            self._watcher.lost(reason)

    def _end(self, reason: str) -> bool:
        if self._ended is not None:
            return False
        self._ended = reason
        self._questions.close()
        calls, self.pending = self.pending, {}
        for call in calls.values():
            call.finish(unavailable(self._server, f"server `{self._server}` went away during the call: {reason}"))
        return True
