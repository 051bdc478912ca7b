"""
Finds secrets in bytes: one automaton for the keywords of all rules, then RE2 for the few rules that stay.

What was found in an encoding says so. Nothing here depends on who sent the text, and nothing in the text can switch
the scanner off.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from ahocorasick_rs import BytesAhoCorasick, Implementation

from mcpcompose.interceptors.scanning.mapped import (
    Decoded,
    Mapped,
    Span,
    has_run,
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
_SMALL: Final = 1 << 10
"""Bytes up to which a text is asked first whether there is anything to look at."""
_CHUNK: Final = 1 << 19
"""Bytes that one call into native code is given, so that no other thread waits long for it."""
_OVERLAP: Final = 1 << 15
_MANY: Final = 64
"""Of a word that is there so often all of the text is looked at, which is quicker."""
_HIDING: Final = re.compile(rb"\\(?:/|u00[0-7])")
"""Escapes that no writer of JSON has to use for what tokens are made of."""
_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}")
_BACKSLASH, _PERCENT_SIGN, _LINE = b"\\%\n"
"""Numbers: looking for a byte that is given as `bytes` takes six times as long."""
_NONE: Final[Mapping[Rule, list[Span]]] = {}


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


_Places = tuple[tuple[Rule, ...], list[Span]]
"""Rules, and where one of their keywords is."""


class Known(Protocol):
    """Who knows the values that were handed out: `Redactor`."""

    def spans(self, data: bytes) -> list[Span]:
        """Where one is, in any of its forms."""


class Scanner:
    """Scans by all rules, without those that guess where *entropy* is false, and for what is *known*."""

    def __init__(self, *, entropy: bool = True, known: Known | None = None) -> None:
        self._index = _index(entropy)
        self._find = self._index.find
        self._known = known

    def scan(self, raw: bytes) -> list[Finding]:
        """What *raw*, JSON or other text, holds; in order, none over another."""
        return [] if self.is_quiet(raw) else self.look(raw)

    def is_quiet(self, raw: bytes) -> bool:
        """Whether no step has anything to look at, of a small text in the fewest calls that can tell."""
        size = len(raw)
        if size > _SMALL:
            return False
        return size < _SHORTEST or not (
            _BACKSLASH in raw
            or _PERCENT_SIGN in raw
            or _LINE in raw
            or self._find(raw.lower())
            or has_run(raw)
            or (self._known is not None and self._known.spans(raw))
        )

    def look(self, raw: bytes) -> list[Finding]:
        """`scan` of what is not quiet."""
        found = self._known_in(raw)
        text, back = raw, None
        if _BACKSLASH in raw:
            if _HIDING.search(raw):
                back = without_escapes(raw)
                text = back.data
            text = _blank_escapes(text)
        plain = self._rules(text)
        if back is not None:
            plain += self._known_in(back.data, back.crosses)
        plain += self._encoded(text, plain)
        if plain:
            found += [_back(one, back) for one in plain]
        return _apart(found) if len(found) > 1 else found

    def _encoded(self, text: bytes, plain: list[Finding]) -> list[Finding]:
        """Each step is only taken where something in *text* asks for it: most texts are small and ask for none."""
        found: list[Finding] = []
        taken = sorted((one.start, one.end) for one in plain) if plain else []
        if has_run(text) and (decoded := Decoded(text, taken)).data:
            for one in [*self._rules(decoded.data, strong=True), *self._known_in(decoded.data)]:
                span, form, lead, size = decoded.span(one.start, one.end)
                found.append(Finding(one.rule, *span, one.text, form, lead, size))
        if _PERCENT_SIGN in text and _PERCENT.search(text):
            found += self._changed(without_percent(text), "percent", taken, strong=False)
        if _LINE in text and (joined := without_breaks(text)) is not None:
            found += self._changed(joined, "lines", taken, strong=True)
        return found

    def _changed(self, made: Mapped, form: str, taken: list[Span], *, strong: bool) -> list[Finding]:
        found: list[Finding] = []
        starts = [begin for begin, _ in taken]
        for one in [*self._rules(made.data, strong=strong), *self._known_in(made.data, made.crosses)]:
            if made.crosses(one.start, one.end):
                start, end = made.span(one.start, one.end)
                before = bisect_right(starts, end - 1) - 1  # of those that begin before its end, the last
                if before < 0 or taken[before][1] <= start:
                    found.append(Finding(one.rule, start, end, one.text, form))
        return found

    def _known_in(self, data: bytes, only: Any = None) -> list[Finding]:
        spans = self._known.spans(data) if self._known is not None else ()
        return (
            [Finding(KNOWN, start, end, data[start:end]) for start, end in spans if only is None or only(start, end)]
            if spans
            else []
        )

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
    """
    Which rules have a keyword where: one automaton for the keywords of all, on text in small letters.

    What has to stand there in a certain case is looked at again.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        said: dict[bytes, dict[bytes | None, list[Rule]]] = {}
        for rule in rules:
            for word in rule.prefixes:
                said.setdefault(word.lower(), {}).setdefault(word, []).append(rule)
            for word in rule.keywords:
                said.setdefault(word, {}).setdefault(None, []).append(rule)
        self.find = BytesAhoCorasick(list(said), implementation=Implementation.DFA).find_matches_as_indexes
        """Where keywords are, in a text in small letters."""
        self._meant = [tuple((exact, tuple(rules)) for exact, rules in meanings.items()) for meanings in said.values()]

    def candidates(self, data: bytes) -> Mapping[Rule, list[Span]]:
        """
        The rules to be asked, each with the stretches of *data* to be looked at; those that know the case first.

        Of two rules that find the same the first one counts: what says itself whose it is, not the name before it.
        """
        if len(data) <= _CHUNK:  # nearly all
            places = self._places(data)
            return _windows([(0, len(data), places)]) if places else _NONE
        parts = []
        for begin in range(0, len(data) - _OVERLAP, _CHUNK - _OVERLAP):
            part = data[begin : begin + _CHUNK]
            parts.append((begin, begin + len(part), self._places(part)))
        return _windows(parts)

    def _places(self, data: bytes) -> list[_Places]:
        """Where the keywords are, by the rules they belong to."""
        matches = self.find(data.lower(), overlapping=True)
        if not matches:
            return []
        firm: dict[tuple[Rule, ...], list[Span]] = {}
        loose: dict[tuple[Rule, ...], list[Span]] = {}
        meant = self._meant
        for index, start, end in matches:
            for exact, rules in meant[index]:
                if exact is None or data[start:end] == exact:
                    found = loose if exact is None else firm
                    if (places := found.get(rules)) is None:
                        found[rules] = [(start, end)]
                    else:
                        places.append((start, end))
        return [*firm.items(), *loose.items()]


def _windows(parts: Sequence[tuple[int, int, Sequence[_Places]]]) -> dict[Rule, list[Span]]:
    """By rule, the stretches around the places that were found in each part, from where to where."""
    found: dict[Rule, list[Span]] = {}
    for begin, end, words in parts:
        for rules, places in words:
            for rule in rules:
                windows = found.setdefault(rule, [])
                if len(places) > _MANY:
                    windows.append((begin, end))
                else:
                    windows += [(begin + a - rule.before, begin + b + rule.reach) for a, b in places]
    return {rule: _joined(windows) for rule, windows in found.items()}


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
