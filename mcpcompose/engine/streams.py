"""What the byte streams of all engines share: nothing is lost before somebody listens, and the end is told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mcpcompose.engine.base import Receiver

KEPT_LIMIT: Final = 1 << 20
"""How many bytes are taken while nobody listens; then reading pauses."""


class Lifetime:
    """A `Life`, for the engine that knows."""

    def __init__(self) -> None:
        self._end: str | None = None
        self._told: list[Callable[[str], None]] = []

    @property
    def ended(self) -> bool:
        """It has ended."""
        return self._end is not None

    def on_end(self, told: Callable[[str], None]) -> None:
        """Tell *told* when it ends."""
        if self._end is not None:
            told(self._end)
        else:
            self._told.append(told)

    def end(self, reason: str) -> None:
        """It has ended; only the first reason counts."""
        if self._end is None:
            self._end = reason
            listeners, self._told = self._told, []
            for told in listeners:
                told(reason)


class HeldOutput:
    """The output side of a `ByteStream`: keeps what comes before `listen`, then hands everything on at once."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._end: str | None = None
        self._told = False

    def listen(self, receiver: Receiver) -> None:
        """Send everything to *receiver* from now on; called once."""
        if self._receiver is not None:
            raise RuntimeError("somebody listens to this stream already")
        self._receiver = receiver
        kept, self._kept = self._kept, []
        was_full, self._kept_size = self._kept_size >= KEPT_LIMIT, 0
        if was_full:
            self.resume_reading()
        for data in kept:
            receiver.data_received(data)
        if self._end is not None:
            self._tell(self._end)

    def pause_reading(self) -> None:
        """Take no more output until `resume_reading`."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self._end is not None

    def deliver(self, data: bytes) -> None:
        """Hand on (or keep) what came."""
        if self._receiver is not None:
            self._receiver.data_received(data)
            return
        self._kept.append(data)
        before, self._kept_size = self._kept_size, self._kept_size + len(data)
        if before < KEPT_LIMIT <= self._kept_size:
            self.pause_reading()

    def end(self, reason: str) -> None:
        """Nothing more will come; only the first reason counts."""
        if self._end is None:
            self._end = reason
            self._tell(reason)

    def _tell(self, reason: str) -> None:
        if self._receiver is not None and not self._told:
            self._told = True
            self._receiver.stream_ended(reason)


def exit_reason(code: int | None) -> str:
    """How an instance ended, for people."""
    if code is None:
        return "ended"
    if code < 0:
        return f"ended by signal {-code}"
    return f"exited with code {code}"
