"""
Edit JSON, with or without comments, by cutting and pasting its text.

Comments and trailing commas are made spaces first, so that Python's own fast scanner reads the rest and every
offset it gives is one into the text as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from mcpcompose.clients import edit_flow as flow
from mcpcompose.clients.edit_flow import Collection, Layout, Member
from mcpcompose.clients.edit_types import Strict, Unreadable, Way

_STRING: Final = r'"(?:[^"\\\n\r]|\\.)*+"'
_COMMENT: Final = re.compile(r"//[^\n\r]*|/\*[\s\S]*?\*/")
_TO_COMMENT: Final = re.compile(rf'(?:[^"/]++|{_STRING}|"|/(?![/*]))*+')
_TO_LAST_COMMA: Final = re.compile(rf'(?:[^",]++|{_STRING}|"|,(?![ \t\n\r]*[}}\]]))*+')
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_MEMBER_INDENT: Final = re.compile(r'\n([ \t]+)"')
_AFTER_COLON: Final = re.compile(_STRING + r"[ \t]*:([ \t]?)")
_REFUSED: Final = "{} stands here, which this client cannot read"
_WHITE: Final = " \t\n\r"
_SCANNER: Final = json.JSONDecoder()


class _Duplicate(ValueError):  # noqa: N818
    """A key that stands twice in one object."""


class _Text:
    """
    A text, and what of it is neither comment (*bare*) nor trailing comma either (*plain*).

    The text must be one that `parse` accepts.
    """

    def __init__(self, text: str, *, is_plain: bool = False) -> None:
        self.text = self.bare = self.plain = text
        self.lines_end: frozenset[int] = frozenset()
        self.has_comments = False
        self.comma: int | None = None
        self._value: Any = None
        if is_plain:
            return
        try:
            self._value = _loads(text)
        except (ValueError, RecursionError):
            self._strip()

    def value(self) -> Any:
        """The plain value; a new one every time."""
        value, self._value = self._value, None
        return _loads(self.plain) if value is None else value

    def _strip(self) -> None:
        ends: set[int] = set()
        parts: list[str] = []
        position = 0
        while (at := _end(_TO_COMMENT, self.text, position)) < len(self.text):
            end = _end(_COMMENT, self.text, at) if self.text[at : at + 2] in {"//", "/*"} else at
            if end == at:
                end = at + 1  # a comment without an end
                parts.append(self.text[position:end])
            else:
                parts += (self.text[position:at], " " * (end - at))
                self.has_comments = True
            if self.text[at + 1] == "/":
                ends.add(at + len(self.text[at:end].rstrip()))
            position = end
        self.bare = "".join(parts) + self.text[position:]
        self.lines_end = frozenset(ends)
        self.plain = self._without_last_commas()

    def _without_last_commas(self) -> str:
        bare, parts, position = self.bare, list[str](), 0
        while (at := _end(_TO_LAST_COMMA, bare, position)) < len(bare):
            before = at
            while before and bare[before - 1] in _WHITE:
                before -= 1
            is_last = before > 0 and bare[before - 1] not in "[{,:"
            self.comma = at if is_last and self.comma is None else self.comma
            parts += (bare[position:at], " " if is_last else ",")
            position = at + 1
        return "".join(parts) + bare[position:]

    @property
    def is_blank(self) -> bool:
        """Whether there is no value."""
        return not self.plain.strip(_WHITE)

    def collection(self, start: int) -> Collection:
        """The object or list at *start*, with where its members are."""
        members = tuple(self._members(start))
        end = self._space(members[-1].end if members else start + 1) + 1
        return Collection(self.text, self.bare, start, end, members, self.lines_end)

    def _members(self, start: int) -> Iterator[Member]:
        plain, position = self.plain, self._space(start + 1)
        closing = "}" if plain[start] == "{" else "]"
        while plain[position] != closing:
            begin, key = position, None
            if closing == "}":
                key, position = _SCANNER.raw_decode(plain, position)
                position = self._space(self._space(position) + 1)
            end = _SCANNER.raw_decode(plain, position)[1]
            yield Member(key, begin, position, end)
            position = self._space(end)
            if plain[position] == ",":
                position = self._space(position + 1)

    def place(self, way: Way) -> Collection:
        """The collection at *way*."""
        return self.collection(self.start_of(way))

    def start_of(self, way: Way) -> int:
        """Where the value at *way* starts."""
        start = self._space(0)
        for step in way:
            members = enumerate(self._members(start))
            start = next(member.value for index, member in members if step in {member.key, index})
        return start

    def find(self, way: Way) -> tuple[int, int]:
        """From where to where the value at *way* is."""
        start = self.start_of(way)
        return start, _SCANNER.raw_decode(self.plain, start)[1]

    def _space(self, position: int) -> int:
        found = _SPACE.match(self.plain, position)
        return found.end() if found else position

    def unit(self) -> str:
        """One step of indentation, by the first member on a line of its own."""
        found = _MEMBER_INDENT.search(self.bare)
        return found[1] if found else "  "

    def is_spaced(self) -> bool:
        """Whether a space follows a colon."""
        found = _AFTER_COLON.search(self.bare)
        return not found or bool(found[1])

    def has_lines(self) -> bool:
        """Whether values are written on several lines here; where there is no telling, they are."""
        inner = self.bare.strip(_WHITE)
        return "\n" in inner or not inner.strip("{}[]" + _WHITE)


_KNOWN: Final[dict[str, _Text]] = {}
"""The text before an edit and the one behind it: each is asked for more than once."""


def _text(text: str) -> _Text:
    return _KNOWN.get(text) or _remembered(_Text(text))


def _remembered(document: _Text) -> _Text:
    while len(_KNOWN) > 1:
        del _KNOWN[next(iter(_KNOWN))]
    _KNOWN[document.text] = document
    return document


def _edited(document: _Text, text: str) -> str:
    """*text*, which is an edit of *document*: it has no comments if that has none."""
    if document.plain is document.text:
        _remembered(_Text(text, is_plain=True))
    return text


def _loads(plain: str) -> Any:
    return json.loads(plain, object_pairs_hook=_unique, parse_constant=_constant)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def parse(text: str, *, strict: Strict) -> Any:
    """The value of *text*, None when it is blank; *strict* refuses comments, trailing commas or both."""
    document = _text(text)
    if document.is_blank and not (strict is True and document.has_comments):
        return None
    try:
        value = _loads(text) if strict is True and document.plain != text else document.value()
    except json.JSONDecodeError as error:
        _explain(document, error, strict=strict)
    except _Duplicate as error:
        message = f"the key `{error}` stands twice in one object"
        raise _unreadable(text, message, _second(document, str(error))) from None
    except RecursionError:
        raise Unreadable("this is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"a number cannot be read: {error}") from None
    if strict and document.comma is not None:
        raise _unreadable(text, _REFUSED.format("a comma behind the last member"), document.comma)
    if value is None:
        raise _unreadable(text, "an object was expected, not `null`", document.start_of(()))
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        raise _Duplicate(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is no number in JSON")


def _explain(document: _Text, error: json.JSONDecodeError, *, strict: Strict) -> NoReturn:
    at, text = error.pos, document.text
    if strict is True and document.plain != text and (document.is_blank or _is_plain(document.plain)):
        what = "a comment" if document.has_comments else "a comma behind the last member"
        raise _unreadable(text, _REFUSED.format(what), at) from None
    said = error.msg[0].lower() + error.msg[1:]
    raise _unreadable(text, f"this is not JSON: {said}", at) from None


def _is_plain(text: str) -> bool:
    """Whether *text* is JSON."""
    try:
        _SCANNER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unreadable(text: str, message: str, position: int) -> Unreadable:
    before = text[:position]
    return Unreadable(message, before.count("\n") + 1, position - before.rfind("\n"))


def _second(document: _Text, key: str) -> int:
    """Where *key* stands for the second time in one object."""
    waiting = [document.start_of(())]
    while waiting:
        start = waiting.pop()
        if document.plain[start] not in "{[":
            continue
        members = document.collection(start).members
        same = [member.start for member in members if member.key == key]
        if len(same) > 1:
            return same[1]
        waiting += [member.value for member in reversed(members)]
    return 0


def create(text: str, value: Mapping[str, Any]) -> str:
    """The blank *text* with *value* behind its comments."""
    eol = flow.eol_of(text)
    before = text if not text or text.endswith("\n") else text + eol
    before = before if text.strip(_WHITE) else ""
    return before + _rendered(value, Layout("", "  ", eol)) + eol


def insert(text: str, way: Way, key: str | None, value: Any) -> str:
    """Add a last member (with *key*) or item at *way*."""
    document = _text(text)
    place = document.place(way)
    layout = flow.layout_in(place, document.unit(), lines=document.has_lines(), spaced=document.is_spaced())
    return _edited(document, flow.inserted(place, layout, lambda layout: _member(key, value, layout)))


def replace(text: str, way: Way, value: Any) -> str:
    """Put *value* in the place of the value at *way*, with lines if its member has some of its own."""
    document = _text(text)
    start, end = document.find(way)
    lines = document.has_lines()
    if way and lines:
        place = document.place(way[:-1])
        lines = flow.stands_alone(text, place.members[place.index(way[-1])].start)
    indent = flow.line_indent(text, start) if lines else None
    layout = Layout(indent, document.unit(), flow.eol_of(text), document.is_spaced())
    return _edited(document, text[:start] + _rendered(value, layout) + text[end:])


def delete(text: str, way: Way) -> str:
    """Take the member or item at *way* away."""
    document = _text(text)
    if not way:
        start, end = document.find(())
        return text[:start] + text[end:]
    place = document.place(way[:-1])
    return _edited(document, flow.deleted(place, place.index(way[-1])))


def source(text: str, way: Way) -> str | None:
    """The text of the value at *way*."""
    start, end = _text(text).find(way)
    return text[start:end]


def restore(text: str, way: Way, source: str) -> str:
    """Put *source* in the place of the value at *way*."""
    start, end = _text(text).find(way)
    return text[:start] + source + text[end:]


def _member(key: str | None, value: Any, layout: Layout) -> str:
    rendered = _rendered(value, layout)
    if key is None:
        return rendered
    colon = ": " if layout.spaced else ":"
    return json.dumps(key, ensure_ascii=False) + colon + rendered


def _rendered(value: Any, layout: Layout) -> str:
    if layout.indent is None:
        separators = (", ", ": ") if layout.spaced else (",", ":")
        return json.dumps(value, ensure_ascii=False, separators=separators)
    text = json.dumps(value, ensure_ascii=False, indent=layout.unit)
    return text.replace("\n", layout.eol + layout.indent)
