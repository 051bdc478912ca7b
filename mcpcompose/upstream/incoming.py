"""What a server says on a stream of events that is no answer: questions, progress, notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.questions import Questions
from mcpcompose.upstream.wire import CHANGES, Message, progress_token, with_progress_token

_ANSWERS: Final = 4
"""Answers on their way to a server, from which on no more of its requests are read for a moment."""
_ANSWERED_SECONDS: Final = 0.05
_MOST_ANSWERS: Final = 64
"""Answers on their way to a server that takes none; its requests beyond are dropped."""


class Incoming:
    """Passes it on to the call it belongs to, or to the watcher; *send* begins to send the answer to a question."""

    def __init__(
        self, watcher: Watcher, send: Callable[[bytes], asyncio.Task[Any]], clock: Callable[[], float]
    ) -> None:
        self.questions = Questions(self._answer, watcher.asked)
        self._send = send
        self._answers: set[asyncio.Task[Any]] = set()
        self._watcher = watcher
        self._clock = clock

    def take(self, message: Message, call: Call | None, id_: str, *, own: bool) -> None:
        """
        Take what came on the stream of *call*, or of none.

        *own*: a question is for the client of that call. While too many are being answered it is dropped.
        """
        method, params = str(message.method), bytes(message.params)
        if message.id is not None:
            if len(self._answers) < _MOST_ANSWERS:
                self.questions.take(message.id, method, params, call if own else None, self._clock())
        elif method == "notifications/progress" and call is not None:
            call.renewed(self._clock())
            if call.progress_token is not None and progress_token(params) == id_:
                call.note(method, with_progress_token(params, call.progress_token))
        elif method == "notifications/cancelled":
            self.questions.withdraw(params)
        elif call is None or call.origin is None or method in CHANGES:
            self._watcher.notified(method, params)
        else:
            call.note(method, params)

    async def answered(self) -> None:
        """Read no further while many answers are on their way: who asks without end does so at its own cost."""
        if _ANSWERS <= len(self._answers) < _MOST_ANSWERS:
            await asyncio.wait(self._answers, timeout=_ANSWERED_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    def _answer(self, content: bytes) -> None:
        task = self._send(content)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
