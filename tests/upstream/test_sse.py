"""Server-sent events as the WHATWG's rules read them, in whatever pieces they come."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.upstream.sse import Event, EventParser

LIMIT = 1 << 20


def read(*chunks: bytes) -> list[bytes]:
    parser = EventParser(LIMIT)
    return [data for chunk in chunks for data in parser.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_with_lf_crlf_or_cr(end: bytes) -> None:
    assert read(b"data: one" + end + end + b"data: two" + end + end) == [b"one", b"two"]


def test_a_line_end_split_between_chunks_is_one_line_end() -> None:
    assert read(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [b"a\nb"]


def test_a_mix_of_line_ends_is_read() -> None:
    assert read(b"data: a\rdata: b\r\ndata: c\n\r\n") == [b"a\nb\nc"]


def test_a_byte_order_mark_at_the_start_is_skipped_even_in_pieces() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [b"a"]
    assert read(b"\xef", b"\xbb", b"\xbf", b"data: a\n\n") == [b"a"]
    assert read(b"\xef\xbb", b"x: b\n", b"data: a\n\n") == [b"a"]


def test_a_byte_order_mark_later_is_part_of_a_field_name() -> None:
    assert read(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_comments_and_unknown_fields_are_skipped() -> None:
    assert read(b": ping\n\n:\nfoo: bar\nDATA: no\ndata: a\ndata : no\n\n") == [b"a"]


def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    assert read(b"data:a\n\ndata:  b\n\n") == [b"a", b" b"]


def test_data_of_several_lines_is_joined() -> None:
    assert read(b"data: {\ndata\ndata:}\n\n") == [b"{\n\n}"]


def test_an_event_without_data_is_none_and_one_with_empty_data_is() -> None:
    parser = EventParser(LIMIT)

    assert parser.events(b"event: x\nid: 1\n\n") == []
    assert parser.events(b"id: 2\ndata: \n\n") == [Event("message", b"")]
    assert parser.events(b"data\n\n") == [Event("message", b"")]


def test_an_event_that_the_end_cuts_off_is_none() -> None:
    assert read(b"data: a\n\ndata: b\n") == [b"a"]


def test_events_have_names_and_only_messages_are_fed() -> None:
    stream = b"event: endpoint\ndata: /m\n\nevent: message\ndata: {}\n\ndata: x\n\n"

    assert EventParser(LIMIT).events(stream) == [
        Event("endpoint", b"/m"),
        Event("message", b"{}"),
        Event("message", b"x"),
    ]
    assert read(stream) == [b"{}", b"x"]


def test_the_last_id_stays_until_another_one_comes() -> None:
    parser = EventParser(LIMIT)

    parser.feed(b"id: a-1\ndata: x\n\ndata: y\n\n")
    assert parser.last_id == "a-1"
    parser.feed(b"id: a-2\n\n")
    assert parser.last_id == "a-2"
    parser.feed(b"id\ndata: z\n\n")
    assert parser.last_id is None


@pytest.mark.parametrize("bad", [b"a\x00b", b"\x1b[0m", b"x" * 1025, b" a", b"a ", b"\t", b"\xc3\xa9"])
def test_an_id_that_no_header_can_carry_makes_the_stream_not_resumable(bad: bytes) -> None:
    parser = EventParser(LIMIT)

    parser.feed(b"id: good\ndata: x\n\nid: " + bad + b"\ndata: y\n\n")

    assert parser.last_id is None


def test_retry_is_digits_only() -> None:
    parser = EventParser(LIMIT)

    parser.feed(b"retry: 500\n\n")
    assert parser.retry == 500
    for bad in (b"soon", b"-1", b"1.5", b"", b"9" * 4301, "\u0661".encode()):
        parser.feed(b"retry: " + bad + b"\n\n")
    assert parser.retry == 500


def test_an_event_over_the_limit_is_refused_in_one_line_or_in_many() -> None:
    with pytest.raises(ValueError, match="more than 100 bytes"):
        EventParser(100).feed(b"data: " + b"x" * 200)
    with pytest.raises(ValueError, match="an event of more than 100 bytes"):
        EventParser(100).feed(b"data:\n" * 10)


def test_a_long_name_is_cut_and_names_end_with_their_event() -> None:
    parser = EventParser(LIMIT)

    named, plain = parser.events(b"event: " + b"n" * 5000 + b"\ndata: a\n\ndata: b\n\n")

    assert len(named.name) == 64
    assert plain == Event("message", b"b")


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"id: 1", b"event: e", b"retry: 5", b": c", b"", b"", b"", b"\xef\xbb\xbf", b"x"]
)


@given(st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=30), st.integers(1, 7))
def test_the_pieces_in_which_a_stream_comes_change_nothing(lines: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(line + end for line, end in lines)
    whole, pieces = EventParser(LIMIT), EventParser(LIMIT)

    at_once = whole.events(stream)
    in_pieces = [e for at in range(0, len(stream), size) for e in pieces.events(stream[at : at + size])]

    assert in_pieces == at_once
    assert (pieces.last_id, pieces.retry) == (whole.last_id, whole.retry)


@given(st.binary(max_size=2000))
def test_no_bytes_break_it(garbage: bytes) -> None:
    with contextlib.suppress(ValueError):  # what it says of too much
        EventParser(500).events(garbage)
