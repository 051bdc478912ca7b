"""What a server says on a stream of events that is no answer: questions, progress, notifications."""

from __future__ import annotations

from collections.abc import Callable

from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.questions import Questions
from mcpcompose.upstream.wire import CHANGES, Message, progress_token, with_progress_token


class Incoming:
    """Passes it on to the call it belongs to, or to the watcher; *answer* sends what answers a question."""

    def __init__(self, watcher: Watcher, answer: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        self.questions = Questions(answer, watcher.asked)
        self._watcher = watcher
        self._clock = clock

    def take(self, message: Message, call: Call | None, id_: str, *, own: bool, busy: bool) -> None:
        """
        Take what came on the stream of *call*, or of none.

        *own*: the question is for the client of that call; *busy*: too many are being answered, it is dropped.
        """
        method, params = str(message.method), bytes(message.params)
        if message.id is not None:
            if not busy:
                self.questions.take(message.id, method, params, call if own else None, self._clock())
        elif method == "notifications/progress" and call is not None:
            call.renewed(self._clock())
            if call.progress_token is not None and progress_token(params) == id_:
                call.note(method, with_progress_token(params, call.progress_token))
        elif method == "notifications/cancelled" and self.questions.withdraw(params):
            pass
        elif call is None or call.origin is None or method in CHANGES:
            self._watcher.notified(method, params)
        else:
            call.note(method, params)
