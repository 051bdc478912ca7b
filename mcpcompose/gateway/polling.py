"""
A handshake client and a modern server that answers with a task: the task is polled for the client until it is over.

Tasks are offered to a server only when it refuses to do without (`-32021`); what a task asks for is asked of the
client, as in any other call (SEP-2663).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.gateway.capabilities import TASKS
from mcpcompose.gateway.driver import DECLINED, UNANSWERED, Driver, patience, requests_of
from mcpcompose.gateway.envelope import MISSING_CAPABILITY
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import INTERNAL_ERROR, Ask, Call, Reply, failure
from mcpcompose.upstream.wire import META_CAPABILITIES, encode, members

_TASK: Final = b'"task"'
_PAUSE: Final = 1.0
_SHORTEST: Final = 0.05
_LONGEST: Final = 30.0
_OVER: Final = frozenset({"completed", "failed", "cancelled"})


class Poller:
    """The answers to one call, as the last word only; *submit* sends requests to the server."""

    __slots__ = ("_answers", "_asked", "_pause", "_rounds", "_submit", "_task", "_timer")

    def __init__(self, submit: Callable[[Call], None]) -> None:
        self._submit = submit
        self._rounds: Driver | None = None
        self._task: str | None = None
        self._pause = _PAUSE
        self._answers: dict[str, msgspec.Raw] | None = None
        self._asked: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, call: Call, reply: Reply) -> bool:
        """Take an answer that is not the last word."""
        if reply.era is not Era.MODERN:
            return False
        if self._task is not None:
            return self._polled(call, reply)
        if reply.error is not None:
            return self._declared(call, reply.error)
        if reply.result is not None and _TASK in reply.result:
            found = _task(reply.result)
            if found is not None and found.get("resultType") == "task" and isinstance(found.get("taskId"), str):
                self._task = found["taskId"]
                call.left = self._left
                self._wait(call, found)
                return True
        if self._rounds is None:
            self._rounds = Driver(self._submit)
        return self._rounds(call, reply)

    def _declared(self, call: Call, error: bytes) -> bool:
        """What was refused was not carried out: once more, with the extension declared."""
        envelope = call.envelope or {}
        can = envelope.get(META_CAPABILITIES) or {}
        extensions = can.get("extensions") or {}
        if TASKS in extensions or not _lacks_tasks(error):
            return False
        call.envelope = {**envelope, META_CAPABILITIES: {**can, "extensions": {**extensions, TASKS: {}}}}
        self._submit(call)
        return True

    def _polled(self, call: Call, reply: Reply) -> bool:
        if call.method == "tasks/update":
            self._wait(call, {})
            return True
        found = _task(reply.result) if reply.result is not None else None
        if found is None:
            return False
        status = found.get("status")
        if status in _OVER:
            call.driver = None
            call.finish(_outcome(reply.result or b"", str(status), call.params.get("taskId")))
            return True
        if status == "input_required":
            raw = (members(reply.result or b"") or {}).get("inputRequests")
            requests = requests_of(raw) or {}
            fresh = {key: request for key, request in requests.items() if key not in self._asked}
            if fresh:
                self._ask(call, fresh)
                return True
        self._wait(call, found)
        return True

    def _wait(self, call: Call, said: Mapping[str, Any]) -> None:
        """Look again after the time that the server wishes."""
        wished = said.get("pollIntervalMs")
        if isinstance(wished, (int, float)) and not isinstance(wished, bool):
            self._pause = min(max(wished / 1000, _SHORTEST), _LONGEST)
        call.began(time.monotonic(), self._gone)
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look, call)

    def _look(self, call: Call) -> None:
        self._timer = None
        if call.reply is not None:
            return
        if call.last is not None and time.monotonic() >= call.last:
            call.give_up(failure(INTERNAL_ERROR, "the task took too long", {"reason": "timeout"}), "timeout")
            return
        call.method, call.params = "tasks/get", {"taskId": self._task}
        self._submit(call)

    def _ask(self, call: Call, requests: Mapping[str, tuple[str, bytes]]) -> None:
        self._answers = None
        self._asked |= requests.keys()
        call.began(time.monotonic(), self._gone)
        self._timer = asyncio.get_running_loop().call_later(patience(call), self._late, call)
        for key, (method, params) in requests.items():
            answered = partial(self._answered, call, key, method, len(requests))
            call.asked(Ask(method, params, answered), time.monotonic())

    def _answered(self, call: Call, key: str, method: str, number: int, reply: Reply) -> None:
        if call.reply is not None:
            return
        content = reply.result if reply.result is not None else DECLINED.get(method)
        if content is None:
            call.give_up(failure(INTERNAL_ERROR, f"the client did not answer `{method}`"), "the client did not answer")
            return
        answers = self._answers = {**(self._answers or {}), key: msgspec.Raw(content)}
        if len(answers) == number:
            self._stop_timer()
            call.method = "tasks/update"
            call.params = {"taskId": self._task, "inputResponses": answers}
            self._submit(call)

    def _late(self, call: Call) -> None:
        call.give_up(failure(INTERNAL_ERROR, UNANSWERED), "timeout")

    def _gone(self, _call: Call, _reason: str) -> None:
        self._stop_timer()

    def _left(self, call: Call) -> None:
        """Nobody waits any more: the task is not wanted either."""
        params, envelope = {"taskId": self._task}, dict(call.envelope or {})
        self._submit(Call("tasks/cancel", params, envelope=envelope, origin=call.origin))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _task(raw: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _outcome(raw: bytes, status: str, id_: object) -> Reply:
    """What became of the request: its own result or error."""
    found = members(raw) or {}
    if status == "completed" and "result" in found:
        return Reply(result=bytes(found["result"]), era=Era.MODERN)
    if status == "failed" and "error" in found:
        return Reply(error=bytes(found["error"]), era=Era.MODERN)
    try:
        said = msgspec.json.decode(found.get("statusMessage", b'""'), type=str)
    except msgspec.MsgspecError:
        said = ""
    return failure(INTERNAL_ERROR, f"the task was {status}{': ' + said if said else ''}", {"taskId": id_})


def _lacks_tasks(error: bytes) -> bool:
    """Whether a request was refused as the client has not declared tasks."""
    found = _task(error)
    if found is None or found.get("code") != MISSING_CAPABILITY or not isinstance(found.get("data"), dict):
        return False
    return TASKS.encode() in encode(found["data"])
