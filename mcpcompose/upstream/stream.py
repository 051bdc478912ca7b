"""Speak to a server over the standard streams of its instance: newline-delimited JSON, one writer, no tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mcpcompose.engine.base import ByteStream
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import METHOD_NOT_FOUND, Call, Reply, failure, unavailable
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.wire import (
    HANDSHAKE_VERSIONS,
    LONGEST_ID,
    LineSplitter,
    Message,
    encode,
    notification,
    progress_token,
    read_message,
    request,
    request_params,
    with_progress_token,
)

_GARBAGE_LINES: Final = 1000
"""Lines that are no messages before we give a server up."""
_BACKLOG: Final = 64 << 20
"""Bytes a server may leave unread before calls to it fail; with twice as many it is given up."""
_PENDING: Final = 4096
"""Calls that a server may have at once."""


class StreamConnection:
    """
    A server on a byte stream; a `Receiver` of it.

    Calls in flight end at once when the stream ends. Lines that are no messages are counted and skipped.
    """

    def __init__(
        self,
        server: str,
        stream: ByteStream,
        watcher: Watcher,
        *,
        limit: int = 64 << 20,
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
        self._lines = LineSplitter(limit)
        self._clock = clock
        self._number = 0
        self._ended: str | None = None
        stream.listen(self)

    # --- towards the server -----------------------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Write the request."""
        if self._ended is not None:
            call.finish(unavailable(self._server, f"server `{self._server}` is gone: {self._ended}"))
            return
        if self._stream.write_backlog > _BACKLOG:
            call.finish(unavailable(self._server, f"server `{self._server}` does not read its input"))
            return
        if len(self.pending) >= _PENDING:
            call.finish(unavailable(self._server, f"server `{self._server}` has too many calls to answer"))
            return
        self._number += 1
        id_ = f"gw-{self._number}"
        try:
            line = request(id_, call.method, request_params(call, id_, self.era, self.version))
        except (ValueError, TypeError, RecursionError) as error:
            call.finish(failure(-32602, f"the request is not JSON: {error}"))
            return
        self.pending[id_] = call
        call.began(self._clock(), lambda _call, reason: self._forget(id_, reason))
        self._stream.write(line + b"\n")

    def notify(self, method: str) -> None:
        """Write a notification."""
        self._write(notification(method))

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
        await self._stream.close()

    def _forget(self, id_: str, reason: str) -> None:
        if self.pending.pop(id_, None) is not None:
            self._write(notification("notifications/cancelled", {"requestId": id_, "reason": reason}))

    def _write(self, line: bytes) -> None:
        """What is no call: cancellations, answers. Who makes us answer without ever reading is given up."""
        if self._ended is None:
            self._stream.write(line + b"\n")
            if self._stream.write_backlog > 2 * _BACKLOG:
                self._give_up("it does not read its input")

    # --- from the server (Receiver) ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """More of its output."""
        if self._ended is not None:
            return
        try:
            lines = self._lines.feed(data)
        except ValueError as error:
            self._give_up(f"its output has {error}")
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

    def stream_ended(self, reason: str) -> None:
        """Nothing more will come."""
        if self._end(reason):
            self._watcher.lost(reason)

    def _take(self, message: Message) -> None:
        if message.method is None:
            self._take_answer(message)
        elif message.id is not None:
            self._answer_request(message)
        elif message.method == "notifications/progress":
            self._take_progress(message)
        else:
            self._watcher.notified(message.method)

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

    def _answer_request(self, message: Message) -> None:
        if isinstance(message.id, str) and len(message.id) > LONGEST_ID:
            return
        if message.method == "ping":
            self._write(encode({"jsonrpc": "2.0", "id": message.id, "result": {}}))
            return
        error = {
            "code": METHOD_NOT_FOUND,
            "message": f"`{str(message.method)[:100]}` is not offered to servers that clients share",
        }
        self._write(encode({"jsonrpc": "2.0", "id": message.id, "error": error}))

    def _take_progress(self, message: Message) -> None:
        params = bytes(message.params)
        token = progress_token(params)
        call = self.pending.get(token) if isinstance(token, str) else None
        if call is not None and call.progress_token is not None:
            call.renewed(self._clock())
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
        calls, self.pending = self.pending, {}
        for call in calls.values():
            call.finish(unavailable(self._server, f"server `{self._server}` went away during the call: {reason}"))
        return True
