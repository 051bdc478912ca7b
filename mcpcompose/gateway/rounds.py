"""Requests that take several rounds with a modern client: what is handed out, and what comes back (SEP-2322)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcpcompose.gateway.asks import opens_addresses, with_title
from mcpcompose.gateway.driver import INPUT_REQUIRED
from mcpcompose.gateway.envelope import MISSING_CAPABILITY, Failure, Request
from mcpcompose.gateway.parked import PREFIX, Parked, invalid_state
from mcpcompose.gateway.seal import Sealer, digest_of
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Ask, Reply, failure
from mcpcompose.upstream.wire import encode, members

if TYPE_CHECKING:
    from mcpcompose.gateway.kernel import Caller, Forwarded

INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The methods whose answer may take several rounds."""
_URL_NEEDED: Final = -32042
"""`URLElicitationRequiredError` of 2025-11-25, gone since."""
_SEALED: Final = "sealed."
_OPENS_ADDRESSES: Final[dict[str, Any]] = {"requiredCapabilities": {"elicitation": {"url": {}}}}


class Rounds:
    """What makes one request of several of a modern client's."""

    def __init__(self, sealer: Sealer) -> None:
        self.parked = Parked()
        self._sealer = sealer

    def resumed(self, request: Request, caller: Caller, server: str | None) -> Forwarded | Failure | None:
        """
        The waiting call that *request* goes on with; None when it goes on with none.

        *server* is where the request leads by now: a call that its client may no longer make ends here.
        """
        state = request.params.get("requestState")
        if not isinstance(state, str) or not state.startswith(PREFIX) or request.method not in INTERACTIVE:
            return None
        return self.parked.resume(state, caller, request.method, request.params, server)

    def state(self, request: Request, client: str, server: str) -> str | Failure:
        """The server's own `requestState` out of ours; an error when it is not this client's, for this request."""
        state = request.params.get("requestState")
        if not isinstance(state, str) or not state.startswith(_SEALED):
            return invalid_state()
        opened = self._sealer.opened(
            state.removeprefix(_SEALED), client, server, digest_of(request.method, request.params)
        )
        return invalid_state() if opened is None else opened

    def prepared(self, outcome: Forwarded, reply: Reply) -> Reply:
        """What a modern client may be given: states sealed, questions with the server's title."""
        if reply.result is not None and reply.era is Era.MODERN and INPUT_REQUIRED in reply.result:
            found = members(reply.result)
            if found is not None and bytes(found.get("resultType", b"")) == INPUT_REQUIRED:
                return Reply(result=self._sealed(outcome, found), era=reply.era)
        elif reply.error is not None and reply.era is Era.LEGACY and b"-32042" in reply.error:
            asked = _url_requests(reply.error, outcome.title)
            if asked is not None and opens_addresses(outcome.caller.capabilities):
                return Reply(result=asked, era=Era.MODERN)
            if asked is not None:
                return failure(MISSING_CAPABILITY, "the server asks to open an address", _OPENS_ADDRESSES)
        return reply

    def _sealed(self, outcome: Forwarded, found: dict[str, msgspec.Raw]) -> bytes:
        changed: dict[str, Any] = dict(found)
        if "requestState" in found:
            try:
                inner = msgspec.json.decode(found["requestState"], type=str)
            except msgspec.MsgspecError:
                inner = ""
            digest = digest_of(outcome.method, outcome.params)
            changed["requestState"] = _SEALED + self._sealer.seal(inner, outcome.caller.client, outcome.server, digest)
        requests = members(bytes(found["inputRequests"])) if outcome.title and "inputRequests" in found else None
        if requests is not None and outcome.title:
            changed["inputRequests"] = {key: _titled(bytes(raw), outcome.title) for key, raw in requests.items()}
        return encode(changed)


def _titled(raw: bytes, title: str) -> msgspec.Raw | dict[str, Any]:
    fields = members(raw)
    if fields is None or bytes(fields.get("method", b"")) != b'"elicitation/create"' or "params" not in fields:
        return msgspec.Raw(raw)
    ask = Ask("elicitation/create", bytes(fields["params"]), lambda _reply: None)
    with_title(ask, title)
    return {**fields, "params": msgspec.Raw(ask.params)}


def _url_requests(error: bytes, title: str | None) -> bytes | None:
    """The elicitations that a handshake server says are needed first, as `input_required`."""
    try:
        fields: Mapping[str, Any] = msgspec.json.decode(error)
        if fields.get("code") != _URL_NEEDED:
            return None
        needed = fields["data"]["elicitations"]
        params = [{key: value for key, value in one.items() if key != "elicitationId"} for one in needed]
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    requests: dict[str, Any] = {}
    for number, one in enumerate(params, start=1):
        ask = encode({"method": "elicitation/create", "params": {**one, "mode": "url"}})
        requests[f"q{number}"] = _titled(ask, title) if title is not None else msgspec.Raw(ask)
    return encode({"resultType": "input_required", "inputRequests": requests}) if requests else None
