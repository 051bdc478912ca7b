"""
Texts made out of another text, with the way back: where each found place was in the bytes that came.

All are made in time linear in the text, by the standard library's C code and by patterns that never step back.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import re2

Span = tuple[int, int]
_HIDDEN: Final = re.compile(rb"\\++(?:([/\"nrtbf])|u([0-9a-fA-F]{4}))")
_SIMPLE: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_PERCENT: Final = re.compile(rb"(?:%[0-9a-fA-F]{2})++")
_LETTER: Final = r"[\w+/=.\-]"
_GAP: Final = r"[\t\r\\ ]{0,8}\n[\t\r\n >#*|+]*"
_NUMBERED: Final = "(?:L{3,}[0-9]|LL[0-9]L|L[0-9]LL|[0-9]LLL)L*".replace("L", _LETTER)
_BREAK: Final = re2.compile(rf"{_NUMBERED}{_GAP}{_LETTER}{{3,}}|{_LETTER}{{3,}}{_GAP}{_NUMBERED}".encode())
"""Of which one side has a digit, as nearly every token has."""
_MARGIN: Final = b"\t\r\\ "
_LEAD: Final = b"\t\r\n >#*|+"
_NEAR: Final = 400
"""Bytes around a line break that are looked at."""
_SHORTEST_TOKEN: Final = 16
_HASHES: Final = frozenset({32, 40, 64, 96, 128})
"""Digits of a whole hash, which is no part of a token."""
_RUN: Final = re2.compile(
    rb"[A-Za-z0-9+/_\-]{48,}(?:[ \t\r]{0,3}\n[ \t\r]{0,3}[A-Za-z0-9+/_\-]{48,})*"
    rb"(?:[ \t\r]{0,3}\n[ \t\r]{0,3}[A-Za-z0-9+/_\-]+)?"
    rb"|[A-Za-z0-9+/_\-]{20,}"
)
"""Base64 or hex, also in the lines of 60 to 76 letters that are usual."""
_RUN_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-"
_AS_RUN: Final = bytes(ord("x") if byte in _RUN_LETTERS else ord(" ") for byte in range(256))
_SHORTEST_RUN: Final = b"x" * 20
_HEX: Final = b"0123456789abcdefABCDEF"
_DIGITS: Final = b"0123456789"
_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_BLANK: Final = b" \t\r\n\x0b\x0c"
_BETWEEN: Final = b"\n\n"
_LONE: Final = 0xD800
_LATE: Final = 0xDC00
_AFTER: Final = 0xE000
_GROUPS: Final = 4


class Mapped:
    """*data*, made of parts of another text that were copied, and of others that were written anew."""

    __slots__ = ("_lengths", "_origins", "_parts", "_size", "_starts", "_strides", "data")

    def __init__(self) -> None:
        self.data = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._strides: list[int] = []
        self._lengths: list[int] = []

    def copied(self, part: bytes, origin: int, stride: int = 1) -> None:
        """*part* follows, whose bytes stand there at *origin* as *stride* bytes each."""
        self._add(part, origin, stride, 0)

    def written(self, part: bytes, origin: int, length: int) -> None:
        """*part* follows, in place of *length* bytes at *origin*."""
        self._add(part, origin, 0, length)

    def whole(self) -> Mapped:
        """No more follows."""
        self.data = b"".join(self._parts)
        self._parts = []
        return self

    def span(self, start: int, end: int) -> Span:
        """Where `data[start:end]` was; what was written anew counts as a whole."""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, end - 1) - 1
        begin = self._origins[first] + self._strides[first] * (start - self._starts[first])
        stop = self._origins[last] + self._lengths[last] + self._strides[last] * (end - self._starts[last])
        return begin, stop

    def crosses(self, start: int, end: int) -> bool:
        """Whether something between *start* and *end* was written anew or left out."""
        first = bisect_right(self._starts, start) - 1
        return self._strides[first] != 1 or bisect_right(self._starts, end - 1) - 1 != first

    def _add(self, part: bytes, origin: int, stride: int, length: int) -> None:
        if part:
            self._starts.append(self._size)
            self._origins.append(origin)
            self._strides.append(stride)
            self._lengths.append(length)
            self._parts.append(part)
            self._size += len(part)


def without_escapes(raw: bytes) -> Mapped:
    r"""JSON text with escapes, however often they were escaped, as what they stand for; `\\\\` stays as it is."""
    found = Mapped()
    at, held = 0, (0, 0, 0)
    for match in _HIDDEN.finditer(raw):
        start, end = match.span()
        found.copied(raw[at:start], at)
        at = end
        if match[2] is None:
            found.written(_SIMPLE.get(match[1], match[1]), start, end - start)
            continue
        code = int(match[2], 16)
        if _LATE <= code < _AFTER and held[2] == start:
            code = 0x10000 + ((held[0] - _LONE) << 10) + code - _LATE
            found.written(chr(code).encode(), held[1], end - held[1])
        elif _LONE <= code < _AFTER:
            held = (code, start, end)
        else:
            found.written(chr(code).encode(), start, end - start)
    found.copied(raw[at:], at)
    return found.whole()


def without_percent(data: bytes) -> Mapped:
    """Percent-encoded bytes as themselves."""
    found = Mapped()
    at = 0
    for match in _PERCENT.finditer(data):
        start, end = match.span()
        found.copied(data[at:start], at)
        found.copied(binascii.unhexlify(match.group().replace(b"%", b"")), start, 3)
        at = end
    found.copied(data[at:], at)
    return found.whole()


def without_breaks(data: bytes) -> Mapped | None:
    """
    The stretches where a line break may stand inside a token, without the break and what begins and ends the lines;
    None when there is no such stretch.
    """
    found = Mapped()
    at = 0
    position = 0
    while (match := _BREAK.search(data, position)) is not None:
        begin, stop = match.span()
        line = data.find(b"\n", begin)
        one, other = data[begin:line].rstrip(_MARGIN), data[line:stop].lstrip(_LEAD)
        end, after = begin + len(one), stop - len(other)
        position = after
        is_hash = len(one) in _HASHES and not one.translate(None, _HEX)
        if len(one) + len(other) >= _SHORTEST_TOKEN and not is_hash:
            begin = max(at, end - _NEAR)
            if begin > at:
                if at:
                    found.copied(data[at : min(begin, at + _NEAR)], at)
                found.written(_BETWEEN, begin, 0)
            found.copied(data[begin:end], begin)
            at = after
    if not at:
        return None
    found.copied(data[at : at + _NEAR], at)
    return found.whole()


def has_run(text: bytes) -> bool:
    """Whether `Decoded` has anything to look at: a quarter of what asking its pattern costs."""
    return text.translate(_AS_RUN).find(_SHORTEST_RUN) >= 0 and len(text.translate(None, _DIGITS)) != len(text)


class Decoded:
    """
    Everything in a text that may be base64 or hex, decoded, one after the other.

    Base64 is decoded at each of its four possible beginnings, because a path or a name may stand before it.
    """

    __slots__ = ("_runs", "_starts", "data")

    def __init__(self, text: bytes, taken: Sequence[Span] = ()) -> None:
        """Of what is not in *taken*, which is in order."""
        pieces: list[bytes] = []
        self._starts: list[int] = []
        self._runs: list[tuple[int, bytes, int]] = []
        size = 0
        starts = [begin for begin, _ in taken]
        for match in _RUN.finditer(text):
            start, end = match.span()
            run = text[start:end]
            before = bisect_right(starts, start) - 1
            if len(run) == len(run.translate(None, _DIGITS)) or (before >= 0 and end <= taken[before][1]):
                continue  # words, or found already
            for shift, decoded in _decoded(run):
                self._starts.append(size)
                self._runs.append((start, run, shift))
                pieces += (decoded, _BETWEEN)
                size += len(decoded) + len(_BETWEEN)
        self.data = b"".join(pieces)

    def span(self, start: int, end: int) -> tuple[Span, str, int, int]:
        """Where it was in the text, the encoding, and how many decoded bytes of it stand before and in the found."""
        index = bisect_right(self._starts, start) - 1
        origin, run, shift = self._runs[index]
        begin, stop = start - self._starts[index], end - self._starts[index]
        if shift >= _GROUPS:
            odd = shift - _GROUPS
            return (origin + odd + 2 * begin, origin + odd + 2 * stop), "hex", 0, stop - begin
        first, last = begin // 3 * 4 + shift, -(-stop // 3) * 4 + shift
        places = [at for at, byte in enumerate(run) if byte not in _BLANK] if _is_broken(run) else range(len(run))
        last = min(last, len(places))
        return (origin + places[first], origin + places[last - 1] + 1), "base64", begin % 3, stop - begin


def _decoded(run: bytes) -> list[tuple[int, bytes]]:
    if not run.translate(None, _HEX):  # base64 does not look like that
        return [
            (_GROUPS + odd, plain)
            for odd in range(1 + len(run) % 2)
            if (plain := binascii.unhexlify(run[odd : odd + len(run) // 2 * 2])).isascii()
        ]
    if run.islower():
        return []
    compact = run.translate(_ALPHABET, _BLANK)
    found = []
    for shift in range(_GROUPS):
        size = (len(compact) - shift) // _GROUPS * _GROUPS
        rest = len(compact) - shift - size
        padded = compact[shift:] + b"=" * (_GROUPS - rest) if rest > 1 else compact[shift : shift + size]
        found.append((shift, binascii.a2b_base64(padded)))
    return found


def _is_broken(run: bytes) -> bool:
    return len(run) != len(run.translate(None, _BLANK))
