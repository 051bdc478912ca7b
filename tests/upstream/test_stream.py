from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mcpcompose.upstream.allowance import default_allowance
from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import Watcher
from mcpcompose.upstream.stream import StreamConnection
from mcpcompose.upstream.wire import LineSplitter


class Stream:
    """A byte stream that is written to and read from by the test."""

    def __init__(self) -> None:
        self._written: list[dict[str, Any]] = []
        self.connection: StreamConnection | None = None
        self.write_backlog = 0
        self.closed = False
        self.receiver: Any = None

    def listen(self, receiver: Any) -> None:
        self.receiver = receiver

    @property
    def written(self) -> list[dict[str, Any]]:
        """What was sent, with what would go out at the end of this turn of the loop."""
        if self.connection is not None:
            self.connection._flush()
        return self._written

    def write(self, data: bytes) -> None:
        self._written += [json.loads(line) for line in data.splitlines()]

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def say(self, **message: Any) -> None:
        self.receiver.data_received(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


class Heard:
    def __init__(self) -> None:
        self.notified: list[str] = []
        self.lost: list[str] = []
        self.watcher = Watcher(lambda method, _params: self.notified.append(method), self.lost.append)


def connected(limit: int = 1 << 20) -> tuple[StreamConnection, Stream, Heard]:
    stream, heard = Stream(), Heard()
    stream.connection = StreamConnection("s", stream, heard.watcher, allowance=default_allowance("s", limit))
    return stream.connection, stream, heard


async def test_two_calls_with_the_same_progress_token_get_their_own_progress() -> None:
    connection, stream, _ = connected()
    first, second = (Call("tools/call", {"name": "x"}, progress_token=b'"same"') for _ in range(2))
    connection.begin(first)
    connection.begin(second)
    tokens = [m["params"]["_meta"]["progressToken"] for m in stream.written]

    stream.say(method="notifications/progress", params={"progressToken": tokens[1], "progress": 1.50, "x": {"y": 1}})

    assert tokens[0] != tokens[1]
    assert first.notes == []
    method, params = second.notes[0]
    assert method == "notifications/progress"
    assert json.loads(params) == {"progressToken": "same", "progress": 1.5, "x": {"y": 1}}
    assert b"1.50" not in params or b"1.5" in params


async def test_answers_that_were_not_asked_for_are_ignored() -> None:
    connection, stream, _ = connected()
    call = Call("tools/call", {})
    connection.begin(call)
    id_ = stream.written[0]["id"]

    for wrong in ("gw-99", 1, None, True, [id_], {"a": id_}, id_.upper()):
        stream.say(id=wrong, result={"n": "wrong"})
    stream.say(id=id_)
    stream.say(id=id_, result={"n": 1})
    stream.say(id=id_, result={"n": 2})

    assert json.loads((call.reply and call.reply.result) or b"{}") == {"n": 1}
    assert connection.pending == {}


async def test_the_bytes_of_a_result_are_passed_on_as_they_came() -> None:
    connection, stream, _ = connected()
    call = Call("tools/call", {})
    connection.begin(call)
    raw = b'{"a": 1.10, "b" : "\\u00e9\\/", "c":[ 12345678901234567890123 ] }'

    line = b'{"jsonrpc":"2.0","result": %b ,"id":"gw-1"}\r\n' % raw
    for at in range(len(line)):
        stream.receiver.data_received(line[at : at + 1])

    assert call.reply is not None
    assert call.reply.result == raw


async def test_garbage_is_skipped_and_too_much_of_it_is_the_end() -> None:
    connection, stream, heard = connected()
    call = Call("tools/call", {})
    connection.begin(call)

    stream.receiver.data_received(b"Starting...\n\xff\xfe\n{]\n\n   \n[1]\n" + b"[" * 100_000 + b"\n")
    stream.say(id="gw-1", result={})
    garbage = connection.garbage
    stream.receiver.data_received(b"x\n" * 2000)

    assert call.reply is not None
    assert call.reply.result == b"{}"
    assert garbage == 5
    assert connection.first_garbage == "Starting..."
    assert len(heard.lost) == 1
    assert "no messages, the first: `Starting...`" in heard.lost[0]


async def test_a_line_over_the_limit_is_the_end() -> None:
    connection, stream, heard = connected(limit=1000)
    call = Call("tools/call", {})
    connection.begin(call)

    for _ in range(20):
        stream.receiver.data_received(b"x" * 100)

    assert heard.lost == ["its output has a line of more than 1000 bytes (`gateway.limits.result`)"]
    assert call.reply is not None
    assert json.loads(call.reply.error or b"{}")["data"] == {"server": "s", "retryable": True}


async def test_calls_in_flight_fail_at_once_when_the_stream_ends() -> None:
    connection, stream, heard = connected()
    calls = [Call("tools/call", {}) for _ in range(3)]
    for call in calls:
        connection.begin(call)

    stream.receiver.stream_ended("exited with code 137")
    late = Call("tools/call", {})
    connection.begin(late)

    for call in [*calls, late]:
        assert call.reply is not None
        error = json.loads(call.reply.error or b"{}")
        assert error["code"] == -32603
        assert "exited with code 137" in error["message"]
    assert heard.lost == ["exited with code 137"]


async def test_a_ping_is_answered_and_other_requests_are_refused() -> None:
    _, stream, _ = connected()

    stream.say(id=1, method="ping")
    stream.say(id="a", method="sampling/createMessage", params={})

    assert stream.written[0] == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert stream.written[1]["id"] == "a"
    assert stream.written[1]["error"]["code"] == -32601


async def test_a_cancelled_call_is_cancelled_at_the_server_and_its_late_answer_ignored() -> None:
    connection, stream, _ = connected()
    call = Call("tools/call", {})
    connection.begin(call)

    call.cancel()
    stream.say(id="gw-1", result={})

    assert stream.written[1]["method"] == "notifications/cancelled"
    assert stream.written[1]["params"]["requestId"] == "gw-1"
    assert call.reply is not None
    assert call.reply.result is None


async def test_a_server_that_does_not_read_fails_calls_instead_of_eating_memory() -> None:
    connection, stream, _ = connected()
    stream.write_backlog = 1 << 30
    call = Call("tools/call", {})

    connection.begin(call)

    assert call.reply is not None
    assert "does not read its input" in json.loads(call.reply.error or b"{}")["message"]
    assert stream.written == []


async def test_progress_renews_the_time_of_a_call_but_not_beyond_its_total() -> None:
    now = 0.0
    stream, heard = Stream(), Heard()
    connection = StreamConnection("s", stream, heard.watcher, clock=lambda: now)
    call = Call("tools/call", {}, progress_token=b"1", idle=10, total=15)
    connection.begin(call)
    assert call.deadline == 10

    now = 9.0
    stream.say(method="notifications/progress", params={"progressToken": "gw-1", "progress": 1})

    assert call.deadline == 15


async def test_a_modern_server_gets_the_clients_own_capabilities() -> None:
    connection, stream, _ = connected()
    connection.greeted(Era.MODERN, "2026-07-28")
    envelope = {
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    }

    connection.begin(Call("tools/call", {"_meta": {"traceparent": "t"}}, envelope=envelope))
    connection.begin(Call("tools/call", {}))

    first, second = (message["params"]["_meta"] for message in stream.written)
    assert first == envelope | {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "traceparent": "t"}
    assert second["io.modelcontextprotocol/clientCapabilities"] == {}


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_come_out_whole_however_they_were_cut(size: int) -> None:
    text = b"one\n\ntwo two\n" + b"x" * 500 + b"\nrest"
    splitter = LineSplitter(1000)

    lines = [line for at in range(0, len(text), size) for line in splitter.feed(text[at : at + size])]

    assert lines == text.split(b"\n")[:-1]


async def test_a_call_that_is_waited_for_wakes_on_notes_and_answers() -> None:
    call = Call("tools/call", {})
    assert not await call.news(0.01)
    asyncio.get_running_loop().call_soon(call.note, "notifications/progress", b"{}")

    assert await call.news(5)
    assert call.take_notes() == [("notifications/progress", b"{}")]
