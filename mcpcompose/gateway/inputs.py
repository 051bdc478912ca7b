"""What a modern server asks of a modern client, in its result: each question passes the interceptors on its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import INTERNAL_ERROR, Ask, Origin, Reply, failure
from mcpcompose.upstream.wire import encode, members

if TYPE_CHECKING:
    from mcpcompose.gateway.governance import Governance
    from mcpcompose.interceptors.base import Exchange

_MOST: Final = 64
"""Questions in one result."""


UNREADABLE: Final = failure(INTERNAL_ERROR, "the server asks for something that cannot be read")


def is_more(reply: Reply) -> bool:
    """Whether a modern server's result has to be read: it may ask for something, or be a task; escapes hide both."""
    raw = reply.result
    if raw is None or reply.era is not Era.MODERN:
        return False
    return raw.find(b'"resultType"') >= 0 or raw.find(b'"inputRequests"') >= 0 or raw.find(b"\\u") >= 0


class Said:
    """
    A result that was read: *task* is the id of the task that it is, *asks* whether it has questions to the client.

    *reply* says what it says without escapes, so that nobody after this reads it in another way.
    """

    def __init__(self, reply: Reply) -> None:
        raw = reply.result or b""
        found = members(raw) or {}
        kind = _text(found.get("resultType"))
        task = found.get("taskId") if kind == "task" else None
        if "task" in found:  # of 2025-11-25
            task = (members(bytes(found["task"])) or {}).get("taskId")
        self._found = found
        self.task = _text(task)
        self.asks = "inputRequests" in found
        self.questions = bytes(found.get("inputRequests", b""))
        self.reply = reply
        if kind is not None and b"\\u" in raw:
            self._found = {**found, "resultType": msgspec.Raw(encode(kind))}
            self.reply = Reply(result=encode(self._found), era=reply.era)

    def asking(self, questions: bytes) -> Reply:
        """The same with other *questions*."""
        return Reply(result=encode({**self._found, "inputRequests": msgspec.Raw(questions)}), era=self.reply.era)


def _text(raw: msgspec.Raw | None) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str) if raw is not None else None
    except (msgspec.MsgspecError, ValueError):
        return None


class Inputs:
    """The questions in the answer to *exchange*, for the client of *origin*."""

    def __init__(self, governance: Governance, exchange: Exchange, origin: Origin | None) -> None:
        self._governance = governance
        self._exchange = exchange
        self._origin = origin

    async def passed(self, raw: bytes) -> bytes | Reply:
        """
        The questions as they may be put; what the client gets in place of them all when one may not.

        The answers come with the client's next request, among its params, and pass as those.
        """
        requests = members(raw)
        if requests is None or len(requests) > _MOST:
            return UNREADABLE
        changed: dict[str, msgspec.Raw | dict[str, object]] = {}
        for key, value in requests.items():
            fields = members(bytes(value)) or {}
            try:
                method = msgspec.json.decode(fields.get("method", b"null"), type=str)
            except (msgspec.MsgspecError, ValueError):
                return UNREADABLE
            params = bytes(fields.get("params", b"{}"))
            passed = await self._one(method, params)
            if isinstance(passed, Reply):
                return passed
            changed[key] = value if passed == params else {**fields, "params": msgspec.Raw(passed)}
        return encode(changed)

    async def _one(self, method: str, params: bytes) -> bytes | Reply:
        decided: asyncio.Future[bytes | Reply] = asyncio.get_running_loop().create_future()

        def answered(reply: Reply) -> None:
            if not decided.done():
                decided.set_result(reply)

        def put(ask: Ask) -> None:
            if ask is not asked:  # an interceptor wants to ask the person whether this may be asked
                ask.answer(failure(INTERNAL_ERROR, "nobody can be asked in the middle of a question"))
            elif not decided.done():
                decided.set_result(ask.params)
                ask.abandon()

        asked = Ask(method, params, answered)
        self._governance.asked(self._exchange.server, self._origin, asked, put, self._exchange.profile)
        try:
            return await decided
        finally:
            asked.abandon()
