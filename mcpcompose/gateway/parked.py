"""
A modern client and a handshake server: the call waits here while people answer the server's question.

The client gets `input_required` with a handle; its repeated request brings the answers and goes on with the same call
(SEP-2322, basic/patterns/mrtr of 2026-07-28).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcpcompose.gateway.asks import refusal
from mcpcompose.gateway.bridge import token_of
from mcpcompose.gateway.envelope import INVALID_PARAMS, Answer, Failure, Result
from mcpcompose.gateway.seal import digest_of
from mcpcompose.spec.limits import Limits, exceeded
from mcpcompose.upstream.call import Ask, Call, Reply
from mcpcompose.upstream.wire import META_SERVER, encode, members

if TYPE_CHECKING:
    from mcpcompose.gateway.kernel import Caller, Forwarded

PREFIX: Final = "parked."
_ELICITATION_ID: Final = "elicitationId"


@dataclass(slots=True)
class _Entry:
    outcome: Forwarded
    digest: str
    asks: dict[str, Ask]
    timer: asyncio.TimerHandle


class Parked:
    """All calls that wait; each ends with an error when nobody comes back in time."""

    def __init__(self) -> None:
        self.most = Limits().parked
        self._entries: dict[str, _Entry] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def park(self, outcome: Forwarded, asks: list[Ask]) -> Answer | None:
        """Let the call wait for the answers to *asks*; returns what the client gets, None when it can do none."""
        client = outcome.caller.client
        able = [ask for ask in asks if not ask.done and _is_possible(ask, outcome.caller.capabilities)]
        if not able:
            return None
        if self._held[client] >= self.most:
            text = exceeded("too many calls of this client wait for answers", self.most, "gateway.limits.parked")
            outcome.call.cancel(text)
            return Failure(-32603, text)
        handle = secrets.token_urlsafe(24)
        keyed = {f"q{number}": ask for number, ask in enumerate(able, start=1)}
        timer = asyncio.get_running_loop().call_later(outcome.call.allowance.parked, self._expire, handle)
        self._entries[handle] = _Entry(outcome, digest_of(outcome.method, outcome.params), keyed, timer)
        self._held[client] += 1
        requests = {key: _request(ask) for key, ask in keyed.items()}
        return Result(
            encode(
                {
                    "resultType": "input_required",
                    **({"inputRequests": requests} if requests else {}),
                    "requestState": PREFIX + handle,
                    "_meta": {META_SERVER: msgspec.Raw(outcome.info)},
                }
            )
        )

    def resume(
        self, state: str, caller: Caller, method: str, params: Mapping[str, Any], server: str | None
    ) -> Forwarded | Failure:
        """Go on with the call of *state*, with the answers in *params*; what is still missing is asked again."""
        handle = state.removeprefix(PREFIX)
        entry = self._entries.get(handle)
        if entry is None or not _is_same(entry.outcome.caller, caller) or entry.digest != digest_of(method, params):
            return invalid_state()
        self._remove(handle)
        if entry.outcome.server != server:
            entry.outcome.call.cancel("its client may no longer make this call")
            return invalid_state()
        outcome = replace(entry.outcome, caller=caller)
        outcome.call.goes_on(caller.origin, token_of(params))
        answers = params.get("inputResponses")
        for key, ask in entry.asks.items():
            if isinstance(answers, dict) and isinstance(answers.get(key), dict):
                ask.answer(Reply(result=encode(answers[key])))
            elif not ask.done:
                outcome.call.notes.append(ask)
        return outcome

    def left(self, calls: Collection[Call]) -> None:
        """Those of *calls* that wait here wait in vain: their client is gone."""
        for handle, entry in tuple(self._entries.items()) if calls else ():
            if entry.outcome.call in calls:
                self._remove(handle)
                entry.outcome.call.cancel("the client went away")

    def close(self) -> None:
        """The gateway ends."""
        for handle in tuple(self._entries):
            self._expire(handle)

    def _expire(self, handle: str) -> None:
        entry = self._remove(handle)
        if entry is not None:
            entry.outcome.call.cancel("nobody answered the server's question in time")

    def _remove(self, handle: str) -> _Entry | None:
        entry = self._entries.pop(handle, None)
        if entry is not None:
            entry.timer.cancel()
            client = entry.outcome.caller.client
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
        return entry


def invalid_state() -> Failure:
    """The answer to a `requestState` that is not this client's, for this request, or too old."""
    return Failure(INVALID_PARAMS, "`requestState` is not valid for this request", {"reason": "invalid_request_state"})


def _is_same(one: Caller, other: Caller) -> bool:
    return (one.client, one.profile, one.server) == (other.client, other.profile, other.server)


def _is_possible(ask: Ask, capabilities: Mapping[str, Any]) -> bool:
    """What the client did not say it can do is answered in its place."""
    refused = refusal(ask, capabilities)
    if refused is not None:
        ask.answer(refused)
    return refused is None


def _request(ask: Ask) -> dict[str, Any]:
    """As one of the `inputRequests`; ids of URL elicitations are gone in this revision."""
    fields = members(ask.params) if ask.params else None
    if fields is None:
        return {"method": ask.method}
    if ask.method == "elicitation/create":
        fields.pop(_ELICITATION_ID, None)
        fields.setdefault("mode", msgspec.Raw(b'"form"'))
    fields.pop("_meta", None)
    return {"method": ask.method, "params": fields}
