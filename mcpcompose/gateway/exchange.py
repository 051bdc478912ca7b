"""Carry one outcome to an HTTP client: plain JSON, or events once there is something before the result."""

from __future__ import annotations

import asyncio
from typing import Final

from mcpcompose.gateway.asks import OpenAsks
from mcpcompose.gateway.envelope import ERROR_STATUS, Answer, Failure, RequestId, answer_bytes, notification_bytes
from mcpcompose.gateway.eventlog import EventLog
from mcpcompose.gateway.kernel import Forwarded
from mcpcompose.gateway.resumable import Direct
from mcpcompose.gateway.wire_http import Visit, end_events, respond, send_event, start_events
from mcpcompose.upstream.call import METHOD_NOT_FOUND, QUIET, Ask, Note, failure

TOGETHER: Final = 0.01
"""Seconds in which several questions of a server become one answer to a modern client."""


async def deliver(  # noqa: PLR0917  who, what, how, and what a session adds
    visit: Visit,
    id_: RequestId,
    outcome: Answer | Forwarded,
    accepts: tuple[bool, bool],
    asks: OpenAsks | None = None,
    log: EventLog | None = None,
) -> None:
    """
    Send the answer as soon as there is one; *accepts* says whether the client takes JSON, and events.

    *asks* shows a handshake client what servers ask it; *log* keeps what it may come back for.
    """
    send = visit.send
    json, events = accepts
    modern = False
    if isinstance(outcome, Forwarded):
        modern, call = outcome.caller.origin.modern, outcome.call
        if call.reply is None and not call.notes:
            await call.news()
        if call.reply is not None and not call.notes:
            answer = outcome.shape(call.reply)
        elif not events:
            answer = await _answer(outcome)
        else:
            notes, found = await _first(outcome)
            if found is None or notes:
                await _stream(visit, id_, outcome, asks, log, (notes, found))
                return
            answer = found
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


async def next_notes(outcome: Forwarded, seconds: float | None) -> tuple[list[Note], Answer | None]:
    """
    What to tell the client next, in order, and the answer if that is the last; nothing of both after *seconds*.

    Questions are answers to a modern client, who comes back with a new request.
    """
    call, modern = outcome.call, outcome.caller.origin.modern
    await call.news(seconds)
    notes = call.take_notes()
    if modern and any(isinstance(note, Ask) for note in notes):
        if call.reply is None:
            await asyncio.sleep(TOGETHER)
            notes += call.take_notes()
        asked = [note for note in notes if isinstance(note, Ask)]
        notes = [note for note in notes if not isinstance(note, Ask)]
        parked = outcome.park(asked) if call.reply is None else None
        if parked is not None:
            return notes, parked
    if call.reply is not None and not call.notes:
        return notes, outcome.shape(call.reply)
    return notes, None


async def _first(outcome: Forwarded) -> tuple[list[Note], Answer | None]:
    """
    As `next_notes`: the answer where it is the first thing that there is to tell, else what comes before it.

    What is asked of a modern client is its answer, and what it cannot be asked nothing to tell.
    """
    call, modern = outcome.call, outcome.caller.origin.modern
    while modern and call.notes and all(isinstance(note, Ask) for note in call.notes):
        notes, answer = await next_notes(outcome, None)
        if notes or answer is not None:
            return notes, answer
        await call.news()
    return [], outcome.shape(call.reply) if call.reply is not None and not call.notes else None


async def _answer(outcome: Forwarded) -> Answer:
    """The answer alone: notes are dropped, and what the client cannot be asked is refused."""
    while True:
        notes, answer = await next_notes(outcome, None)
        for note in notes:
            if isinstance(note, Ask):
                note.answer(failure(METHOD_NOT_FOUND, "the client takes no events and cannot be asked"))
        if answer is not None:
            return answer


async def _stream(  # noqa: PLR0917  as `deliver`
    visit: Visit,
    id_: RequestId,
    outcome: Forwarded,
    asks: OpenAsks | None,
    log: EventLog | None,
    first: tuple[list[Note], Answer | None],
) -> None:
    """What the server says before its result, in order, then the result; *first* has been taken already."""
    events = Direct() if log is None else log.stream()
    seconds = 0.0
    try:
        await events.start(visit.send, visit.scope)
        while True:
            notes, answer = first if first[0] else await next_notes(outcome, seconds)
            first = ([], None)
            for note in notes:
                content = note_bytes(note, outcome, asks)
                if content is not None:
                    await events.event(content)
            if answer is not None:
                await events.last(answer_bytes(id_, answer))
                return
            if (retry := outcome.call.take_pause()) is not None:
                await events.pause(retry)
            elif not notes:
                await events.ping()
            seconds = QUIET
    finally:
        events.abandon()


def note_bytes(note: Note, outcome: Forwarded, asks: OpenAsks | None) -> bytes | None:
    """One message before the result; None when there is nothing to show."""
    if not isinstance(note, Ask):
        return notification_bytes(*note)
    if asks is None:
        note.answer(failure(METHOD_NOT_FOUND, "the client cannot be asked"))
        return None
    return asks.show(outcome.shown(note), outcome.call.note)
