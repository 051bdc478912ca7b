"""
Server-sent events out of chunks (WHATWG HTML, section 9.2.6), with a cap on one event's size.

Lines end with CR, LF or both; a byte order mark at the start, comments and unknown fields are skipped; an event that
the end of the stream cuts off is none.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mcpcompose.upstream.wire import LineSplitter

_LINE: Final = 40
"""What a line costs beyond its bytes."""
_MARK: Final = b"\xef\xbb\xbf"
_ID: Final = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?")
"""Event ids that a `Last-Event-ID` header can carry; a stream with any other cannot be taken up again."""
_LONGEST_NAME: Final = 64
_RETRY_DIGITS: Final = 9
_MESSAGES: Final = frozenset({b"", b"message"})


class Event(NamedTuple):
    """A complete event; one without a name is called `message`."""

    name: str
    data: bytes


class EventParser:
    """
    Feed it chunks, get complete events.

    *last_id* is what a client that resumes the stream sends as `Last-Event-ID`, None when it cannot; *retry* is how
    many milliseconds the server wants it to wait before that.
    """

    __slots__ = ("_begun", "_cr", "_data", "_limit", "_lines", "_mark", "_name", "_size", "last_id", "retry")

    def __init__(self, limit: int) -> None:
        self.last_id: str | None = None
        self.retry: int | None = None
        self._limit = limit
        self._lines = LineSplitter(limit)
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._cr = False
        self._begun = False
        self._mark = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each message that *chunk* completes. Raises `ValueError` for an event over the limit."""
        return [data for name, data in self._events(chunk) if name in _MESSAGES]

    def events(self, chunk: bytes) -> list[Event]:
        """The events that *chunk* completes, whatever they are called. Raises `ValueError` like `feed`."""
        return [Event(name.decode(errors="replace") or "message", data) for name, data in self._events(chunk)]

    def _events(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        if not self._begun:
            chunk = self._without_mark(chunk)
        if self._cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        found: list[tuple[bytes, bytes]] = []
        for line in self._lines.feed(chunk):
            if line.startswith(b"data:"):
                self._keep(line[6:] if line[5:6] == b" " else line[5:])
            elif line:
                self._take_field(line)
            else:
                if self._data:
                    found.append((self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                    self._data.clear()
                    self._size = 0
                self._name = b""
        return found

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"id":
            self.last_id = value.decode() if _ID.fullmatch(value) else None
        elif field == b"event":
            self._name = value[:_LONGEST_NAME]
        elif field == b"retry":
            if value.isdigit() and len(value) <= _RETRY_DIGITS:
                self.retry = int(value)
        elif field == b"data":  # the line has no colon
            self._keep(b"")

    def _keep(self, data: bytes) -> None:
        self._size += len(data) + _LINE
        if self._size > self._limit:
            raise ValueError(f"an event of more than {self._limit} bytes")
        self._data.append(data)

    def _without_mark(self, chunk: bytes) -> bytes:
        """The beginning of the stream, once it is clear whether it is a byte order mark."""
        chunk = self._mark + chunk
        if len(chunk) < len(_MARK) and _MARK.startswith(chunk):
            self._mark = chunk
            return b""
        self._begun = True
        self._mark = b""
        return chunk.removeprefix(_MARK)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """*chunk* with one kind of line end; the two bytes of one may come in two chunks."""
        if self._cr:
            if not chunk:
                return chunk
            chunk = chunk.removeprefix(b"\n")
        self._cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
