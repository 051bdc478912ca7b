"""
Bind what a client gets to hold for a server, such as `requestState`, to that client, server and request.

The server cannot tell its clients apart when all of them come through one gateway, so we do it: a keyed digest stands
in front of the server's own text. It is not hidden from the client, as it would not be without us.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

_VALID: Final = 86_400
"""Seconds for which a seal is good."""
_BESIDE: Final = frozenset({"_meta", "inputResponses", "requestState"})
"""Members of the params that differ from one round to the next."""


def digest_of(method: str, params: Mapping[str, Any]) -> str:
    """What the rounds of one request have in common."""
    same = {key: value for key, value in params.items() if key not in _BESIDE}
    try:
        content = msgspec.json.encode([method, same], order="sorted")
    except OverflowError:  # integers beyond 64 bits
        content = json.dumps([method, same], sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


class Sealer:
    """Seals texts with *key* (32 bytes or more); *clock* is the time of day in seconds."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def seal(self, text: str, *bound_to: str) -> str:
        """*text*, good for whoever it is bound to."""
        until = f"{int(self._clock()) + _VALID:x}"
        return f"{until}.{self._digest(until, text, bound_to)}.{text}"

    def opened(self, sealed: str, *bound_to: str) -> str | None:
        """The text; None when it was not sealed here, for these, or is too old."""
        until, _, rest = sealed.partition(".")
        digest, dot, text = rest.partition(".")
        if not dot or not hmac.compare_digest(digest.encode(), self._digest(until, text, bound_to).encode()):
            return None
        try:
            return text if int(until, 16) >= self._clock() else None
        except ValueError:
            return None

    def _digest(self, until: str, text: str, bound_to: tuple[str, ...]) -> str:
        content = msgspec.json.encode([until, text, *bound_to])
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()
