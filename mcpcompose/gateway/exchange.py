"""Carry one outcome to an HTTP client: plain JSON, or events once there is something before the result."""

from __future__ import annotations

from typing import Final

from mcpcompose.gateway.envelope import ERROR_STATUS, Answer, Failure, RequestId, answer_bytes, notification_bytes
from mcpcompose.gateway.kernel import Forwarded
from mcpcompose.gateway.wire_http import (
    Send,
    end_events,
    respond,
    send_event,
    send_ping,
    start_events,
)

QUIET: Final = 15.0
"""Seconds without a word after which a stream is opened, and a ping sent on one."""


async def deliver(
    send: Send, id_: RequestId, outcome: Answer | Forwarded, *, modern: bool, accepts: tuple[bool, bool]
) -> None:
    """Send the answer as soon as there is one; *accepts* says whether the client takes JSON, and events."""
    json, events = accepts
    if isinstance(outcome, Forwarded):
        call = outcome.call
        if events:
            await call.news(QUIET)
            if call.reply is None or call.notes:
                await _stream(send, id_, outcome)
                return
        answer = outcome.shape(await call.answer())
    else:
        answer = outcome
    if json or isinstance(answer, Failure):
        await respond(send, status(answer) if modern else 200, answer_bytes(id_, answer))
    else:
        await start_events(send)
        await send_event(send, answer_bytes(id_, answer))
        await end_events(send)


def status(answer: Answer) -> int:
    """The HTTP status on the modern wire."""
    return ERROR_STATUS.get(answer.code, 200) if isinstance(answer, Failure) else 200


async def _stream(send: Send, id_: RequestId, outcome: Forwarded) -> None:
    """What the server says before its result, in order, then the result."""
    call = outcome.call
    await start_events(send)
    if call.reply is None and not call.notes:
        await send_ping(send)
    while True:
        for method, params in call.take_notes():
            await send_event(send, notification_bytes(method, params))
        if call.reply is not None and not call.notes:
            break
        if not await call.news(QUIET):
            await send_ping(send)
    await send_event(send, answer_bytes(id_, outcome.shape(call.reply)))
    await end_events(send)
