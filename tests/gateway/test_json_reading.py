"""The one parse at the edge: everything that could be read in two ways is refused, and the fast way is no laxer."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.json_cases import EITHER, READ, REFUSED
from mcpcompose.gateway import envelope
from mcpcompose.gateway.envelope import Malformed, parse

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)
WRITERS = st.sampled_from(
    [
        msgspec.json.encode,
        lambda value: json.dumps(value).encode(),
        lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(),
        lambda value: json.dumps(value, indent=2).encode(),
    ]
)


def outcome(read: Any, body: bytes) -> Any:
    """What it was read as, as text that shows every difference; None when it was refused."""
    try:
        return repr(read(body))
    except Malformed:
        return None


def strict(body: bytes) -> Any:
    """The slow way alone."""
    value = envelope._strict(body)
    if envelope.deeper(value, envelope.DEEPEST):
        raise Malformed(-32700, "deep")
    return value


def shortly(body: bytes) -> str:
    return ascii(body[:24])


@pytest.mark.parametrize("body", READ, ids=shortly)
def test_what_is_json_is_read_as_what_it_says(body: bytes) -> None:
    assert repr(parse(body)) == repr(json.loads(body))
    assert outcome(strict, body) == repr(json.loads(body))


@pytest.mark.parametrize("body", REFUSED, ids=shortly)
def test_what_is_no_json_or_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse(body)

    assert refused.value.failure.code == -32700
    assert len(refused.value.failure.message) < 400


@pytest.mark.parametrize("body", EITHER, ids=shortly)
def test_what_the_standard_leaves_open_is_read_as_the_strict_way_reads_it(body: bytes) -> None:
    assert outcome(parse, body) == outcome(strict, body)


@settings(max_examples=500, deadline=None)
@given(VALUES, WRITERS)
def test_the_fast_way_reads_what_the_strict_way_reads(value: Any, write: Any) -> None:
    body = write(value)

    assert outcome(parse, body) == outcome(strict, body)


@settings(max_examples=1000, deadline=None)
@given(VALUES, WRITERS, st.integers(0, 2**32), st.integers(1, 4))
@example({"a": {"a": 1}}, msgspec.json.encode, 0, 1)
def test_the_fast_way_reads_no_mutation_differently(value: Any, write: Any, seed: int, changes: int) -> None:
    body = mutated(write(value), random.Random(seed), changes)

    assert outcome(parse, body) == outcome(strict, body)


def mutated(body: bytes, chance: random.Random, changes: int) -> bytes:
    """*body* with bytes changed, left out, doubled, or with pieces of it in other places."""
    found = bytearray(body)
    for _ in range(changes):
        at, to = chance.randrange(len(found) + 1), chance.randrange(len(found) + 1)
        start, end = min(at, to), max(at, to)
        match chance.randrange(6):
            case 0:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[at : at + chance.randrange(1, 9)]
            case 2:
                found[at:at] = chance.choice(PIECES)
            case 3:
                found[to:to] = found[start : start + 40]
            case 4:
                found[at:at] = found[start:end][:200]
            case _:
                del found[at:]
        if not found:
            break
    return bytes(found)


PIECES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"NaN",
    b"1e999", b"-", b"0", b"\r\n", b"\n", b" ", b'"id":1,', b'"method":"x",', b"null", b"true", b"9" * 30, b"\xc3\xa9",
    b"[" * 70, b'{"a":' * 70,
]  # fmt: skip
