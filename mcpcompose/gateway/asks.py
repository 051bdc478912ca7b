"""What servers ask one handshake client: shown to it as requests of ours, under ids of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from mcpcompose.gateway.envelope import Response, request_bytes
from mcpcompose.upstream.call import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Ask, Reply, failure
from mcpcompose.upstream.wire import encode, members, progress_token

_MOST: Final = 256
"""Questions that one client may have open."""
NEEDED: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""The capability that a client must have declared, by what a server may ask."""


class OpenAsks:
    """
    The questions that one client has not answered.

    *capabilities* are the client's own; what it did not say it can do is not asked.
    """

    def __init__(self, capabilities: Mapping[str, Any]) -> None:
        self._capabilities = capabilities
        self._open: dict[str, Ask] = {}
        self._number = 0

    def show(self, ask: Ask, tell: Callable[[str, bytes], None] | None = None) -> bytes | None:
        """
        The request that puts *ask* to the client; None when it is answered in its place.

        *tell* is given the notification that nobody waits any more, should it come to that.
        """
        if ask.done:
            return None
        refused = refusal(ask, self._capabilities) if ask.method in NEEDED else None
        if refused is not None:
            ask.answer(refused)
            return None
        if len(self._open) >= _MOST:
            ask.answer(failure(INTERNAL_ERROR, "this client has too many questions open"))
            return None
        self._number += 1
        id_ = f"gw-ask-{self._number}"
        self._open[id_] = ask
        ask.withdrawn = partial(self._withdrawn, id_, tell)
        return request_bytes(id_, ask.method, ask.params)

    def answered(self, response: Response) -> None:
        """The client's answer; one to what was never asked is ignored."""
        ask = self._open.pop(response.id, None) if isinstance(response.id, str) else None
        if ask is not None:
            ask.answer(Reply(result=response.result, error=response.error))

    def asker(self, token: object) -> str | None:
        """The server whose open question wants to hear of progress under *token*."""
        for ask in self._open.values():
            asked = progress_token_of(ask.params) if b'"progressToken"' in ask.params else None
            if asked is not None and type(asked) is type(token) and asked == token:
                return ask.server
        return None

    def close(self) -> None:
        """The client is gone."""
        asks, self._open = self._open, {}
        for ask in asks.values():
            ask.answer(failure(INTERNAL_ERROR, "the client went away"))

    def _withdrawn(self, id_: str, tell: Callable[[str, bytes], None] | None) -> None:
        if self._open.pop(id_, None) is not None and tell is not None:
            tell("notifications/cancelled", encode({"requestId": id_, "reason": "no answer is needed any more"}))


def refusal(ask: Ask, capabilities: Mapping[str, Any]) -> Reply | None:
    """The answer to *ask* in place of a client that can do this; None when it may be asked."""
    needed = NEEDED.get(ask.method)
    can = capabilities.get(needed) if needed is not None else None
    if can is None:
        return failure(METHOD_NOT_FOUND, f"this client has not declared `{needed or ask.method[:100]}`")
    if ask.method == "elicitation/create" and b'"url"' in ask.params and not opens_addresses(capabilities):
        mode = (members(ask.params) or {}).get("mode")
        if mode is not None and bytes(mode) == b'"url"':
            return failure(INVALID_PARAMS, "this client has not declared `elicitation.url`")
    return None


def opens_addresses(capabilities: Mapping[str, Any]) -> bool:
    """Whether it can be asked to let people open an address, which is more than a form."""
    can = capabilities.get("elicitation")
    return isinstance(can, dict) and can.get("url") is not None


def with_title(ask: Ask, title: str) -> None:
    """Let people see which of several servers asks."""
    if ask.method != "elicitation/create" or ask.titled:
        return
    ask.titled = True
    try:
        params = msgspec.json.decode(ask.params, type=dict[str, msgspec.Raw])
        message = msgspec.json.decode(params["message"], type=str)
    except (msgspec.MsgspecError, KeyError, RecursionError):
        return
    ask.params = encode({**params, "message": f"[{title}] {message}"})


def progress_token_of(params: bytes) -> int | str | None:
    """Under which token a server wants to hear how far the answer is."""
    meta = (members(params) or {}).get("_meta")
    return progress_token(bytes(meta)) if meta is not None else None


__all__ = ["NEEDED", "OpenAsks", "opens_addresses", "refusal", "with_title"]
