"""
Make secret values unreadable in what is written or answered.

The gateway knows every secret it hands out, so it looks for exactly those, in every form in which they usually
travel: as they are, JSON-escaped, base64 (three alignments, both alphabets), hex, percent-encoded, reversed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "[redacted]"
_MASK: Final = MASK.encode()
_SHORTEST_VALUE: Final = 4
_SHORTEST_FORM: Final = 6
_SHORTEST_LINE: Final = 16
_FEW: Final = 6
"""Forms up to which looking for one after the other is quicker than an automaton for all."""

_UNICODE_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})")

Span = tuple[int, int]


class Redactor:
    """
    The known secret values, and the one place that hides them.

    Values under four bytes are not looked for: they would be found everywhere.
    """

    def __init__(self, values: Iterable[str | bytes] = ()) -> None:
        self.known = 0
        """How many values it hides; it only grows."""
        self._values: set[bytes] = set()
        self._forms: set[bytes] = set()
        self._by_first: dict[int, list[bytes]] = {}
        self._longest = 0
        self._finder: _Finder | None = None
        for value in values:
            self.add(value)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    @property
    def longest(self) -> int:
        """The length of the longest form, in bytes."""
        return self._longest

    def add(self, value: str | bytes) -> None:
        """Hide *value* from now on; long lines of a value with several lines are hidden one by one as well."""
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if len(raw) < _SHORTEST_VALUE or raw in self._values:
            return
        self._values.add(raw)
        lines = (line.strip() for line in raw.splitlines())
        for part in (raw, *(line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith(b"-----"))):
            for form in set(_forms(part)) - self._forms:
                self._forms.add(form)
                self._by_first.setdefault(form[0], []).append(form)
                self._longest = max(self._longest, len(form))
        self.known = len(self._values)

    def text(self, text: str) -> str:
        """*text* with every form of every value hidden."""
        if not self._forms:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        clean = self.data(raw)
        return text if clean is raw else clean.decode("utf-8", "replace")

    def data(self, data: bytes) -> bytes:
        """The same for bytes; returns *data* itself when there is nothing to hide."""
        spans = self.spans(data)
        return masked(data, spans) if spans else data

    def tree(self, value: Any) -> Any:
        """The same for every text of a JSON value, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.tree(item) for item in value]
        return value

    def spans(self, data: bytes) -> list[Span]:
        """Where *data* holds a form; overlapping ones as one, in order. May be asked in any thread."""
        if not self._forms:
            return []
        finder = self._finder
        if finder is None or finder.size != len(self._forms):
            finder = self._finder = _Finder(tuple(self._forms))
        found = finder.find(data)
        return _merged(found) if len(found) > 1 else found

    def unfinished(self, data: bytes) -> int:
        """Where the earliest form starts that *data* ends in the middle of; the length of *data* when none does."""
        by_first = self._by_first
        for start in range(max(0, len(data) - self._longest + 1), len(data)):
            forms = by_first.get(data[start])
            if forms:
                rest = data[start:]
                if any(form.startswith(rest) for form in forms):
                    return start
        return len(data)


class _Finder:
    """Finds some texts in others: all at once where they are many."""

    def __init__(self, forms: tuple[bytes, ...]) -> None:
        self._forms = forms
        self.size = len(forms)
        self._automaton: Any = None
        if len(forms) > _FEW:
            from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415  most runs have few secrets or none

            self._automaton = BytesAhoCorasick(forms)

    def find(self, data: bytes) -> list[Span]:
        if self._automaton is not None:
            return [(start, end) for _, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True)]
        found: list[Span] = []
        for form in self._forms:
            start = data.find(form)
            while start >= 0:
                found.append((start, start + len(form)))
                start = data.find(form, start + 1)
        return found


class RedactedStream:
    """
    A stream of chunks redacted as one text: a value that is split over chunks does not get through.

    Holds back only an end that may be the beginning of a value.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be written now."""
        data = self._held + chunk
        redactor = self._redactor
        spans = redactor.spans(data)
        cut = redactor.unfinished(data)
        bound = len(data) - 4 * redactor.longest
        for start, end in spans:
            if start < cut < end:
                cut = start if start >= bound else end
        self._held = data[cut:]
        return masked(data[:cut], [(start, min(end, cut)) for start, end in spans if start < cut])

    def end(self) -> bytes:
        """What is left at the end; the beginning of a value is hidden too."""
        held, self._held = self._held, b""
        if len(held) < _SHORTEST_VALUE:
            return held
        return _MASK


def masked(data: bytes, spans: Iterable[Span]) -> bytes:
    """*data* with each of *spans* replaced."""
    parts: list[bytes] = []
    position = 0
    for start, end in spans:
        parts += (data[position:start], _MASK)
        position = end
    parts.append(data[position:])
    return b"".join(parts)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _forms(raw: bytes) -> Iterator[bytes]:
    yield raw
    text = raw.decode("utf-8", "replace")
    encoded = (
        *_json_forms(text),
        *_base64_forms(raw),
        *_percent_forms(raw),
        raw[::-1],
        text[::-1].encode(),
        *_json_forms(text[::-1]),
    )
    for form in (*encoded, raw.hex().encode(), raw.hex().upper().encode()):
        if len(form) >= min(_SHORTEST_FORM, len(raw)):
            yield form


def _json_forms(text: str) -> Iterator[bytes]:
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield once.encode()
        yield _UNICODE_ESCAPE.sub(lambda escape: f"\\u{escape[1].upper()}", once).encode()
        yield once.replace("/", "\\/").encode()
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1].encode()
    escaped = "".join(f"\\u{unit:04x}" for unit in _units(text))
    yield escaped.encode()
    yield escaped.upper().replace("\\U", "\\u").encode()


def _units(text: str) -> Iterator[int]:
    """The UTF-16 code units, which is what JSON escapes."""
    raw = text.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The characters of each alignment that depend on *raw* alone, in both alphabets."""
    for shift in range(3):
        bits = 8 * (shift + len(raw))
        text = base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : bits // 6]
        if len(text) >= _SHORTEST_FORM:
            yield text
            yield text.translate(bytes.maketrans(b"+/", b"-_"))


def _percent_forms(raw: bytes) -> Iterator[bytes]:
    for form in (quote(raw, safe=""), quote(raw), quote_plus(raw), "".join(f"%{byte:02X}" for byte in raw)):
        yield form.encode()
        yield _lower_escapes(form).encode()


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])
