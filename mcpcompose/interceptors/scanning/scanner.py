"""
Finds secrets in bytes: one automaton for the keywords of all rules, then RE2 for the few rules that stay.

What was found in an encoding says so. Nothing here depends on who sent the text, and nothing in the text can switch
the scanner off.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from ahocorasick_rs import BytesAhoCorasick, Implementation

from mcpcompose.interceptors.scanning.mapped import (
    Decoded,
    Mapped,
    Span,
    without_breaks,
    without_escapes,
    without_percent,
)
from mcpcompose.interceptors.scanning.rule import Rule
from mcpcompose.interceptors.scanning.rules import RULES
from mcpcompose.interceptors.scanning.rules_general import GUESSING

KNOWN: Final = "known-secret"
"""The rule of values that the project's own secrets have."""
_SHORTEST: Final = 8
_CHUNK: Final = 1 << 19
"""Bytes that one call into native code is given, so that no other thread waits long for it."""
_OVERLAP: Final = 1 << 15
_MANY: Final = 64
"""Of a word that is there so often all of the text is looked at, which is quicker."""
_HIDING: Final = re.compile(rb"\\(?:/|u00[0-7])")
"""Escapes that no writer of JSON has to use for what tokens are made of."""
_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A secret at `data[start:end]`; *form* is how it was written: empty for plain text.

    *text* is the secret itself. *lead* and *size* say, of base64, how many decoded bytes stand before it in its first
    group, and how many it has.
    """

    rule: str
    start: int
    end: int
    text: bytes
    form: str = ""
    lead: int = 0
    size: int = 0


class Known(Protocol):
    """Who knows the values that were handed out: `Redactor`."""

    def spans(self, data: bytes) -> list[Span]:
        """Where one is, in any of its forms."""


class Scanner:
    """Scans by all rules, without those that guess where *entropy* is false, and for what is *known*."""

    def __init__(self, *, entropy: bool = True, known: Known | None = None) -> None:
        self._index = _index(entropy)
        self._known = known

    def scan(self, raw: bytes) -> list[Finding]:
        """What *raw*, JSON or other text, holds; in order, none over another."""
        if len(raw) < _SHORTEST:
            return []
        found: list[Finding] = []
        if self._known is not None:
            found += (Finding(KNOWN, start, end, raw[start:end]) for start, end in self._known.spans(raw))
        text, back = raw, None
        if b"\\" in raw:
            if _HIDING.search(raw):
                back = without_escapes(raw)
                text = back.data
            text = _blank_escapes(text)
        plain = self._rules(text)
        if back is not None:
            plain += self._known_in(back.data, back.crosses)
        found += (_back(one, back) for one in plain)
        found += (_back(one, back) for one in self._encoded(text, plain))
        return _apart(found)

    def _encoded(self, text: bytes, plain: list[Finding]) -> Iterator[Finding]:
        taken = sorted((one.start, one.end) for one in plain)
        decoded = Decoded(text, taken)
        if decoded.data:
            for one in [*self._rules(decoded.data, strong=True), *self._known_in(decoded.data)]:
                span, form, lead, size = decoded.span(one.start, one.end)
                yield Finding(one.rule, *span, one.text, form, lead, size)
        if b"%" in text and _PERCENT.search(text):
            yield from self._changed(without_percent(text), "percent", taken, strong=False)
        if b"\n" in text and (joined := without_breaks(text)) is not None:
            yield from self._changed(joined, "lines", taken, strong=True)

    def _changed(self, made: Mapped, form: str, taken: list[Span], *, strong: bool) -> Iterator[Finding]:
        starts = [begin for begin, _ in taken]
        for one in [*self._rules(made.data, strong=strong), *self._known_in(made.data, made.crosses)]:
            if made.crosses(one.start, one.end):
                start, end = made.span(one.start, one.end)
                before = bisect_right(starts, end - 1) - 1  # of those that begin before its end, the last
                if before < 0 or taken[before][1] <= start:
                    yield Finding(one.rule, start, end, one.text, form)

    def _known_in(self, data: bytes, only: Any = None) -> list[Finding]:
        if self._known is None:
            return []
        return [
            Finding(KNOWN, start, end, data[start:end])
            for start, end in self._known.spans(data)
            if only is None or only(start, end)
        ]

    def _rules(self, data: bytes, *, strong: bool = False) -> list[Finding]:
        found: list[Finding] = []
        for rule, windows in self._index.candidates(data).items():
            if strong and not rule.strong:
                continue
            for begin, end in windows:
                for match in rule.regex.finditer(data, begin, end):
                    start, stop = match.span(1)
                    secret = data[start:stop]
                    if rule.accepts(secret):
                        found.append(Finding(rule.name, start, stop, secret))
        return found


class Index:
    """Which rules have a keyword where."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        exact: dict[bytes, list[Rule]] = {}
        small: dict[bytes, list[Rule]] = {}
        for rule in rules:
            for word in rule.prefixes:
                exact.setdefault(word, []).append(rule)
            for word in rule.keywords:
                small.setdefault(word, []).append(rule)
        self._exact = _Words(exact)
        self._small = _Words(small)

    def candidates(self, data: bytes) -> dict[Rule, list[Span]]:
        """The rules to be asked, each with the stretches of *data* to be looked at."""
        found: dict[Rule, list[Span]] = {}
        for begin in range(0, max(1, len(data) - _OVERLAP), _CHUNK - _OVERLAP):
            end = min(len(data), begin + _CHUNK)
            part = data[begin:end]
            for words, text in ((self._exact, part), (self._small, part.lower())):
                for rules, places in words.places(text):
                    for rule in rules:
                        windows = found.setdefault(rule, [])
                        if len(places) > _MANY:
                            windows.append((begin, end))
                        else:
                            windows += ((begin + a - rule.before, begin + b + rule.reach) for a, b in places)
        return {rule: _joined(windows) for rule, windows in found.items()}


class _Words:
    def __init__(self, rules: dict[bytes, list[Rule]]) -> None:
        words = sorted(rules)
        self._rules = [tuple(rules[word]) for word in words]
        self._automaton = BytesAhoCorasick(words, implementation=Implementation.DFA)

    def places(self, data: bytes) -> Iterable[tuple[tuple[Rule, ...], list[Span]]]:
        """For each word that is there its rules, and where it is."""
        found: dict[int, list[Span]] = {}
        for index, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True):
            if index in found:
                found[index].append((start, end))
            else:
                found[index] = [(start, end)]
        return [(self._rules[index], places) for index, places in found.items()]


def _joined(windows: list[Span]) -> list[Span]:
    """Those that overlap as one, none larger than what native code is given at once."""
    if len(windows) == 1:
        return [(max(0, windows[0][0]), windows[0][1])]
    joined: list[Span] = []
    for begin, end in sorted(windows):
        if joined and begin <= joined[-1][1] and end - joined[-1][0] <= _CHUNK:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((max(0, begin), end))
    return joined


@cache
def _index(entropy: bool) -> Index:
    return Index(rule for rule in RULES if entropy or rule.name not in GUESSING)


def _blank_escapes(text: bytes) -> bytes:
    r"""JSON escapes as blanks and quotes of the same length, so that `\nghp_…` does not look like a word `nghp_…`."""
    text = text.replace(b"\\n", b" \n").replace(b"\\t", b" \t").replace(b"\\r", b" \r")
    return text.replace(b'\\"', b'""')


def _back(one: Finding, back: Mapped | None) -> Finding:
    if back is None:
        return one
    start, end = back.span(one.start, one.end)
    form = one.form or ("escaped" if back.crosses(one.start, one.end) else "")
    return Finding(one.rule, start, end, one.text, form, one.lead, one.size)


def _apart(found: list[Finding]) -> list[Finding]:
    """*found* in order; of those that overlap the longest, widened over none of the others' ends."""
    kept: list[Finding] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if kept and one.start < kept[-1].end:
            last = kept[-1]
            if one.end > last.end:
                kept[-1] = Finding(last.rule, last.start, one.end, last.text, last.form or one.form)
        else:
            kept.append(one)
    return kept
