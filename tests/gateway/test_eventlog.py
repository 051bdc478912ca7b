"""What is kept of streams: ids, order, bounds; and nothing of one session for another."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.gateway.eventlog import EventLog, EventStore
from mcpcompose.gateway.resumable import Stream
from mcpcompose.gateway.serve import ON_DISCONNECT
from mcpcompose.upstream.sse import EventParser


class Client:
    """One connection of a client, which reads everything unless it is told to stall."""

    def __init__(self) -> None:
        self.scope: MutableMapping[str, Any] = {}
        self.body = b""
        self.headers: dict[bytes, bytes] = {}
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.reads.wait()
        assert not self.ended
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)

    def leave(self) -> None:
        self.scope[ON_DISCONNECT]()

    @property
    def data(self) -> list[str]:
        """What a parser reads of it, without events that have no data."""
        return [data.decode() for data in EventParser(1 << 30).feed(self.body) if data]

    @property
    def ids(self) -> list[str]:
        return re.findall(r"^id: (.*?)\r$", self.body.decode(), re.MULTILINE)


def session(version: str = "2025-11-25", **keys: Any) -> EventLog:
    return EventStore(**keys).log(version)


async def streamed(log: EventLog, *messages: str) -> tuple[Stream, Client]:
    stream, client = log.stream(), Client()
    await stream.start(client.send, client.scope)
    for message in messages:
        await stream.event(message.encode())
    return stream, client


async def resumed(log: EventLog, last_event_id: str) -> Client | None:
    """A client that comes back, read until the end or until nothing more comes."""
    position, client = log.find(last_event_id), Client()
    if position is None:
        return None
    following = asyncio.create_task(position.stream.follow(client.send, client.scope, position.event))
    await settled()
    if not following.done():
        client.leave()
    await following
    return client


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_stream_begins_with_an_id_to_come_back_with() -> None:
    _, client = await streamed(session())

    assert client.body == b"id: 1-0\r\nretry: 1000\r\ndata: \r\n\r\n"
    assert client.headers[b"content-type"] == b"text/event-stream"


async def test_clients_of_older_revisions_get_no_event_without_data() -> None:
    log = session("2025-06-18")

    stream, client = await streamed(log, "a")
    await stream.pause(5)

    assert client.ids == ["1-1"]
    assert not client.ended


async def test_ids_are_unique_within_a_session() -> None:
    log = session()

    ids = [id_ for _ in range(5) for id_ in (await streamed(log, "a", "b"))[1].ids]

    assert len(set(ids)) == len(ids) == 15


async def test_a_client_gets_what_came_after_the_event_it_names_and_no_more() -> None:
    log = session()
    await streamed(log, "other")
    stream, _ = await streamed(log, "a", "b", "c")
    await stream.last(b"result")

    for last_id, rest in (("2-0", ["a", "b", "c", "result"]), ("2-2", ["c", "result"]), ("2-4", [])):
        client = await resumed(log, last_id)
        assert client is not None
        assert (client.data, client.ended) == (rest, True)


async def test_a_stream_goes_on_over_the_new_connection_until_its_answer() -> None:
    log = session()
    stream, first = await streamed(log, "a")
    first.leave()
    await stream.event(b"b")
    second = Client()
    following = asyncio.create_task(stream.follow(second.send, second.scope, 1))
    await settled()
    await stream.event(b"c")
    assert second.data == ["b", "c"]
    await stream.last(b"result")
    await following

    assert first.data == ["a"]
    assert second.data == ["b", "c", "result"]
    assert second.ids == ["1-2", "1-3", "1-4"]
    assert second.ended


async def test_a_new_connection_takes_the_place_of_the_one_before() -> None:
    log = session()
    stream, first = await streamed(log, "a")
    second = Client()
    following = asyncio.create_task(stream.follow(second.send, second.scope, 0))
    await settled()
    await stream.last(b"result")
    await following

    assert (first.data, first.ended) == (["a"], True)
    assert (second.data, second.ended) == (["a", "result"], True)


async def test_one_that_does_not_read_does_not_keep_another_from_reading() -> None:
    log = session()
    stream, first = await streamed(log, "a")
    first.reads.clear()
    writing = asyncio.create_task(stream.event(b"b"))
    second = Client()
    following = asyncio.create_task(stream.follow(second.send, second.scope, 0))
    await settled()
    assert second.data == ["a", "b"]
    first.reads.set()
    await writing
    await stream.last(b"result")
    await following

    assert first.data == ["a", "b"]
    assert first.ended
    assert second.data == ["a", "b", "result"]


async def test_a_pause_closes_the_connection_and_not_the_stream() -> None:
    log = session()
    stream, first = await streamed(log, "a")
    await stream.pause(250)
    await stream.event(b"b")

    assert first.ended
    assert first.body.endswith(b"id: 1-1\r\nretry: 250\r\ndata: \r\n\r\n")
    back = await resumed(log, first.ids[-1])
    assert back is not None
    assert back.data == ["b"]


async def test_messages_with_line_breaks_stay_whole() -> None:
    log = session()
    text = json.dumps({"a": [1, 2]}, indent=1)

    stream, client = await streamed(log, text, text.replace("\n", "\r\n"))

    assert [json.loads(data) for data in client.data] == [{"a": [1, 2]}] * 2
    await stream.last(b"{}")


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-99",
            "2-0",
            "0-0",
            "1-0 ",
            " 1-0",
            "1-0\n",
            "1-0-0",
            "1--1",
            "1e0-0",
            "\u0661-0",
        ),
        *("9" * 5000 + "-0", "1-" + "9" * 5000, "../../etc/passwd", "1-0,1-1", "null", "0x1-0", "+1-0"),
    ],
)
async def test_ids_that_were_never_given_out_find_nothing(bad: str) -> None:
    log = session()
    await streamed(log, "a")

    assert log.find(bad) is None


@given(st.text(max_size=40))
def test_no_text_breaks_the_search(text: str) -> None:
    assert session().find(text) is None


async def test_ten_thousand_guesses_cost_nothing_that_stays() -> None:
    log = session()
    await streamed(log, "a")

    found = [log.find(f"{number}-{number % 7}") for number in range(2, 10_002)]

    assert not any(found)
    assert len(log) == 1


async def test_another_sessions_ids_show_nothing_of_that_session() -> None:
    store = EventStore()
    mine, other = store.log("2025-11-25"), store.log("2025-11-25")
    await streamed(other, "secret", "secret")
    await streamed(other, "secret")
    await streamed(mine, "own")

    assert mine.find("2-0") is None
    assert mine.find("1-2") is None
    back = await resumed(mine, "1-0")
    assert back is not None
    assert back.data == ["own"]


async def test_the_oldest_ended_streams_make_room() -> None:
    log = session()
    for number in range(150):
        stream, _ = await streamed(log, str(number))
        await stream.last(b"result")

    assert log.find("50-0") is None
    assert log.find("51-0") is not None
    assert len(log) == 200


async def test_a_session_keeps_so_many_events_and_bytes_and_the_newest_anyway() -> None:
    log = session()
    stream, client = await streamed(log)
    client.leave()
    for number in range(1500):
        await stream.event(str(number).encode())
    assert len(log) == 1000
    await stream.event(b"x" * (4 << 20))
    await stream.event(b"x" * (5 << 20))
    assert log.size < 8 << 20
    await stream.last(b"r" * (20 << 20))

    assert log.find("1-1") is None
    assert len(log) == 1
    back = await resumed(log, f"1-{stream.newest - 1}")
    assert back is not None
    assert len(back.data[0]) == 20 << 20


async def test_what_a_session_keeps_is_dropped_for_others_when_all_keep_too_much() -> None:
    store = EventStore(most=20_000)
    logs = [store.log("2025-11-25") for _ in range(20)]
    for log in logs:
        stream, _ = await streamed(log, "x" * 800)
        await stream.last(b"x" * 800)

    assert store.size <= 20_000
    assert logs[0].find("1-0") is None
    assert logs[-1].find("1-0") is not None


async def test_what_nobody_came_back_for_expires_and_what_was_read_sooner() -> None:
    now = 0.0
    store = EventStore(clock=lambda: now)
    read, unread = store.log("2025-11-25"), store.log("2025-11-25")
    stream, _ = await streamed(read)
    await stream.last(b"result")
    stream, client = await streamed(unread)
    client.leave()
    await stream.last(b"result")

    now = 31.0
    store.sweep()
    assert (len(read), len(unread)) == (0, 1)
    now = 601.0
    store.sweep()
    assert len(unread) == 0
    assert store.size == 0
    assert unread.find("1-0") is None


async def test_a_session_that_ends_keeps_nothing_and_its_streams_end_in_good_order() -> None:
    store = EventStore()
    log = store.log("2025-11-25")
    stream, client = await streamed(log, "a")

    log.close()
    await stream.last(b"cancelled")

    assert client.data == ["a", "cancelled"]
    assert client.ended
    assert store.size == len(log) == 0
    assert log.find("1-0") is None


async def test_a_writer_that_gives_up_ends_the_response() -> None:
    log = session()
    stream, client = await streamed(log, "a")

    stream.abandon()
    await settled()

    assert client.ended


async def test_a_sessions_own_stream_keeps_the_last_hundred() -> None:
    log, client = session(), Client()
    own = log.own()
    carrier = await own.join(client.send, None)
    for number in range(150):
        await own.event(str(number).encode())
    own.leave(carrier)

    assert log.find("0-49") is None
    again = Client()
    position = log.find("0-147")
    assert position is not None
    await own.join(again.send, position.event)
    assert again.data == ["147", "148", "149"]
    assert len(log) == 100
