"""
One record: a line of JSON whose last member chains it to the record before.

`hash` is the SHA-256 of the hash before, as hex, followed by the line as it is without that member. Everything else is
in docs/audit.md; a reader needs nothing but a JSON parser and SHA-256.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

FIRST_HASH: Final = "0" * 64
"""What the very first record of a project is chained to."""
TAIL_BYTES: Final = len(',"hash":""}') + 64
"""How long the end of a line is, without its newline."""
LAST_SEQ: Final = 1 << 53
"""No record has a higher number; every JSON parser can read it."""
_MARK: Final = b',"hash":"'
_MOST_ARGUMENTS: Final = 64
_LONGEST_NAME: Final = 128

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Link(NamedTuple):
    """A place in the chain: a record's number and hash."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


START: Final = Link(0, FIRST_HASH)


def members(record: Mapping[str, Any]) -> str:
    """*record* as JSON without its braces, as `sealed` takes it."""
    return _encoded(record).decode()[1:-1]


def sealed(last: Link, said: Sequence[str]) -> tuple[bytes, Link]:
    """The lines after *last*, one for each of *said* (members beside `seq` and `hash`), and the last one's place."""
    seq, digest = last
    lines = []
    for one in said:
        seq += 1
        body = f'{{"seq":{seq},{one}'
        digest = sha256(f"{digest}{body}}}".encode()).hexdigest()
        lines.append(f'{body},"hash":"{digest}"}}\n')
    return "".join(lines).encode(), Link(seq, digest)


def opened(line: bytes) -> tuple[dict[str, Any], str] | None:
    """The record of a *line* without its newline and the hash it states; None when that is no record."""
    if len(line) <= TAIL_BYTES or line[-TAIL_BYTES : -TAIL_BYTES + len(_MARK)] != _MARK:
        return None
    try:
        record = _decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    stated = record.pop("hash", None)
    seq = record.get("seq")
    if (
        not isinstance(stated, str)
        or len(stated) != len(FIRST_HASH)
        or type(seq) is not int
        or not 1 <= seq <= LAST_SEQ
    ):
        return None
    return record, stated


def hash_of(before: str, line: bytes) -> str:
    """The hash that *line* (as `opened` takes it) has to have after the hash *before*."""
    digest = sha256(before.encode())
    digest.update(line[:-TAIL_BYTES])
    digest.update(b"}")
    return digest.hexdigest()


def sizes(arguments: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """The name of each argument, as *names* has it, and the size of its value: bytes of text, else of JSON."""
    found: dict[str, int] = {}
    for name, value in arguments.items():
        if len(found) == _MOST_ARGUMENTS:
            found["…"] = len(arguments) - _MOST_ARGUMENTS
            break
        shown = names[name]
        found[shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME]] = (
            len(value) if type(value) is str and value.isascii() else _size(value)
        )
    return found


def _size(value: Any) -> int:
    if type(value) is str:
        return len(value.encode("utf-8", "surrogatepass"))
    return len(_encoded(value))


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except (ValueError, OverflowError, TypeError, RecursionError):  # huge integers, lone surrogates, something odd
        text = json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "replace")


class Clock:
    """The time of records, in UTC to the millisecond; what stays the same is made once."""

    __slots__ = ("_moment", "_second", "_seconds", "_text", "_time")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._time = now
        self._moment = self._second = -1
        self._seconds = self._text = ""

    def __call__(self) -> str:
        """Now, as `2026-11-22T10:00:00.123Z`; what the machine's clock says, also after it jumped."""
        moment = int(self._time() * 1000)
        if moment != self._moment:
            self._moment = moment
            second = moment // 1000
            if second != self._second:
                self._second = second
                self._seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._text = f"{self._seconds}.{moment % 1000:03d}Z"
        return self._text
