"""Server-sent events out of chunks, with a cap on one event's size."""

from __future__ import annotations

from typing import Final

from mcpcompose.upstream.wire import LineSplitter

_LINE: Final = 40
"""What a line costs beyond its bytes."""


class EventParser:
    """Feed it chunks, get the data of each complete event; comments, names and ids are dropped."""

    __slots__ = ("_data", "_limit", "_lines", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines = LineSplitter(limit)
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that *chunk* completes. Raises `ValueError` for one over the limit."""
        events: list[bytes] = []
        for line in self._lines.feed(chunk):
            text = line[:-1] if line.endswith(b"\r") else line
            if not text:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data.clear()
                    self._size = 0
            elif text.startswith(b"data:"):
                self._keep(text[6:] if text[5:6] == b" " else text[5:])
        return events

    def _keep(self, data: bytes) -> None:
        self._size += len(data) + _LINE
        if self._size > self._limit:
            raise ValueError(f"an event of more than {self._limit} bytes")
        self._data.append(data)
