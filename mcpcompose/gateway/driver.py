"""
A handshake client and a modern server: the rounds of `input_required` are driven for the client.

Each thing the server needs becomes a question to the client; the request is repeated with the answers (SEP-2322,
basic/patterns/mrtr of 2026-07-28).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.gateway.asks import NEEDED
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import INTERNAL_ERROR, Ask, Call, Reply, failure
from mcpcompose.upstream.wire import encode, members

INPUT_REQUIRED: Final = b'"input_required"'
_ROUNDS: Final = 10
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.25
DECLINED: Final = {"elicitation/create": b'{"action":"cancel"}', "roots/list": b'{"roots":[]}'}
"""What a client that answers with an error is taken to mean; there is no error in the answers of a round."""


UNANSWERED: Final = "the client did not answer in time"


def patience(call: Call) -> float:
    """Seconds that a client may think about questions: never longer than the whole call may take."""
    parked = call.allowance.parked
    return parked if call.last is None else max(min(parked, call.last - time.monotonic()), 0.0)


class Driver:
    """One request of a handshake client; *submit* sends it again."""

    def __init__(self, submit: Callable[[Call], None]) -> None:
        self._submit = submit
        self._rounds = 0
        self._pause = _FIRST_PAUSE
        self._params: dict[str, Any] | None = None
        self._answers: dict[str, msgspec.Raw] = {}
        self._missing = 0
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, call: Call, reply: Reply) -> bool:
        """Take an answer that asks for more. False for the last word."""
        if reply.era is not Era.MODERN or reply.result is None or INPUT_REQUIRED not in reply.result:
            return False
        found = members(reply.result)
        if found is None or bytes(found.get("resultType", b"")) != INPUT_REQUIRED:
            return False
        self._rounds += 1
        if self._rounds > _ROUNDS:
            return self._give_up(call, f"the server asked for more than {_ROUNDS} times")
        requests = requests_of(found.get("inputRequests"))
        if requests is None:
            return self._give_up(call, "the server asks for something that cannot be read")
        if self._params is None:
            self._params = call.params
        call.began(time.monotonic(), self._gone)
        self._round(call, requests, found.get("requestState"))
        return True

    def _round(self, call: Call, requests: Mapping[str, tuple[str, bytes]], state: msgspec.Raw | None) -> None:
        self._answers = {}
        self._missing = len(requests)
        again = partial(self._again, call, state)
        if not requests:
            asyncio.get_running_loop().call_later(self._pause, again)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return
        self._timer = asyncio.get_running_loop().call_later(patience(call), self._late, call)
        now = time.monotonic()
        for key, (method, params) in requests.items():
            call.asked(Ask(method, params, partial(self._answered, call, key, method, again)), now)

    def _answered(self, call: Call, key: str, method: str, again: Callable[[], None], reply: Reply) -> None:
        if self._over or call.reply is not None:
            return
        content = reply.result if reply.result is not None else DECLINED.get(method)
        if content is None:
            self._gone(call, "")
            self._give_up(call, f"the client did not answer `{method}`: {_said(reply)}")
            return
        self._answers[key] = msgspec.Raw(content)
        self._missing -= 1
        if not self._missing:
            self._stop_timer()
            again()

    def _again(self, call: Call, state: msgspec.Raw | None) -> None:
        if call.reply is not None or self._over:
            return
        params = dict(self._params or {})
        if self._answers:
            params["inputResponses"] = self._answers
        if state is not None:
            params["requestState"] = state
        call.params = params
        self._submit(call)

    def _late(self, call: Call) -> None:
        self._over = True
        self._give_up(call, UNANSWERED)

    def _gone(self, _call: Call, _reason: str) -> None:
        self._over = True
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @staticmethod
    def _give_up(call: Call, why: str) -> bool:
        call.driver = None
        call.finish(failure(INTERNAL_ERROR, why))
        return True


def requests_of(raw: msgspec.Raw | None) -> dict[str, tuple[str, bytes]] | None:
    """What is asked, by the server's own keys; None when it cannot be read."""
    if raw is None:
        return {}
    found = members(bytes(raw))
    if found is None:
        return None
    requests: dict[str, tuple[str, bytes]] = {}
    for key, value in found.items():
        fields = members(bytes(value))
        if fields is None or "method" not in fields:
            return None
        try:
            method = msgspec.json.decode(fields["method"], type=str)
        except msgspec.MsgspecError:
            return None
        if method not in NEEDED:
            return None
        requests[key] = (method, _for_handshake(method, bytes(fields.get("params", b""))))
    return requests


def _for_handshake(method: str, params: bytes) -> bytes:
    """A URL elicitation of the handshake revisions has an id; this one's nobody refers to."""
    fields = members(params) if method == "elicitation/create" and b'"url"' in params else None
    if fields is None or bytes(fields.get("mode", b"")) != b'"url"' or "elicitationId" in fields:
        return params
    return encode({**fields, "elicitationId": f"gw-{secrets.token_hex(8)}"})


def _said(reply: Reply) -> str:
    try:
        return str(msgspec.json.decode(reply.error or b"{}").get("message", ""))[:200]
    except (msgspec.MsgspecError, AttributeError):
        return ""


__all__ = ["DECLINED", "INPUT_REQUIRED", "UNANSWERED", "Driver", "patience", "requests_of"]
