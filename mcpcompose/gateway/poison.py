"""
Look at what a server offers for signs of poisoning: text that is meant to make a model do what nobody asked for.

Pure; of each definition every string counts, names of parameters too. What is found is a sign and no proof: signs
that are common in honest definitions are `low`, those that hardly ever are `high`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.gateway.poison_characters import strange
from mcpcompose.gateway.poison_encodings import spelled_out
from mcpcompose.gateway.poison_languages import said_otherwise
from mcpcompose.gateway.poison_rules import Rule, found
from mcpcompose.gateway.poison_sentences import Together, said_together
from mcpcompose.gateway.poison_slots import IN_PARAMETERS, Sign, filled
from mcpcompose.interceptors.plain_text import END, Piece, decoded, is_mixed, pieces, plain, skeleton
from mcpcompose.upstream.base import Finding, Level, ServerLists

_MOST: Final = 256 << 10
"""Characters of one definition that are read; a longer one is a finding itself."""
_CLIPPED: Final = 128 << 10
_NAMES: Final = {"tool": "name", "prompt": "name", "template": "uriTemplate", "resource": "uri"}
_RANK: Final[Mapping[Level, int]] = {"low": 0, "medium": 1, "high": 2}
_CHANGES_THINGS: Final = ("delete", "remove", "drop", "destroy", "write", "create", "update", "send", "execute", "kill")
_SUPPORTING: Final = frozenset({"pretext", "orders-the-model"})
_GRAVE: Final = frozenset({"sensitive-file", "wants-secrets", "wants-conversation", "smuggling-parameter"})
_INSIDE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Where a word begins in `camelCase`."""
_MEANT: Final = (
    ("etc passwd", "/etc/passwd"),
    ("etc shadow", "/etc/shadow"),
    (" dot env", " .env"),
    (" dot ssh", " ~/.ssh"),
)
"""What cannot be written in a name, and what is written for it."""
_WORDS: Final = 3
"""Spaces in the name of a required parameter that make it a sentence."""
_TOGETHER: Final = 3
"""So many low signs of different codes are one of medium level."""


@dataclass(frozen=True, slots=True)
class Examined:
    """
    What was found in one server's lists.

    *words* are the words that look like names of tools, by the definition they stand in; whose they are only the
    other servers tell.
    """

    findings: tuple[Finding, ...]
    words: Mapping[str, tuple[tuple[str, str, str], ...]]
    """By word: kind and name of the definition, and the place."""


def level_of(findings: Iterable[Finding]) -> Level | None:
    """The gravest level; None of nothing."""
    return max((one.level for one in findings), key=lambda level: _RANK[level], default=None)


def examine(offered: ServerLists) -> Examined:
    """Look at everything in *offered*."""
    findings: list[Finding] = []
    words: dict[str, list[tuple[str, str, str]]] = {}
    for kind, name, item in _definitions(offered):
        findings += examine_one(kind, name, item)
        for place, text in _texts(item):
            for word in _tool_names(text):
                words.setdefault(word, []).append((kind, name, place))
    return Examined(tuple(findings), {word: tuple(where) for word, where in words.items()})


def examine_one(kind: str, name: str, item: Any) -> tuple[Finding, ...]:
    """Look at one definition; the gravest first."""
    signs: dict[str, Finding] = {}

    def sign(code: str, level: Level, place: str, reason: str) -> None:
        before = signs.get(code)
        if before is None or _RANK[level] > _RANK[before.level]:
            signs[code] = Finding(code, level, kind, name, place, reason)

    read = _clipped(list(pieces(item)))
    if read.is_cut:
        sign("too-long", "high", "", f"has more text than is looked at ({_MOST >> 10} Ki characters)")
    for piece in read.pieces:
        for code, level, reason in strange(piece.text):
            sign(code, level, piece.place, reason)
    for code, level, place, reason in _said(read.pieces):
        sign(code, level, place, reason)
    for code, level, place, reason in _named(kind, name, item):
        sign(code, level, place, reason)
    for code, level, reason in _together(signs.values()):
        sign(code, level, "", reason)
    return tuple(sorted(signs.values(), key=lambda one: -_RANK[one.level]))


def shadowing(examined: Examined, own: Iterable[str], others: Mapping[str, Iterable[str]]) -> tuple[Finding, ...]:
    """
    Where a definition speaks of tools of *others* (by server), or has a name that looks like one of theirs.

    *own* are the server's own tools. Names that are common words are not looked for.
    """
    mine = set(own)
    looks = {skeleton(name): name for name in mine}
    told: list[Finding] = []
    for server, names in others.items():
        for name in names:
            if name in mine:
                continue
            for kind, where, place in examined.words.get(name.casefold(), ()):
                grave = any(f.kind == kind and f.name == where and f.level != "low" for f in examined.findings)
                level: Level = "high" if grave else "medium"
                told.append(Finding("shadows-tool", level, kind, where, place, f"speaks of `{name}` of `{server}`"))
            if (own_name := looks.get(skeleton(name))) is not None and own_name.casefold() != name.casefold():
                reason = f"is called almost like `{name}` of `{server}`"
                told.append(Finding("look-alike-name", "high", "tool", own_name, "name", reason))
    return tuple(dict.fromkeys(told))


# --- one definition ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    pieces: Sequence[Piece]
    is_cut: bool


def _clipped(every: list[Piece]) -> _Read:
    """As much as is read: of each string its beginning and its end."""
    left, cut = _MOST, False
    kept: list[Piece] = []
    for piece in every:
        text = piece.text
        if len(text) > _CLIPPED:
            text, cut = f"{text[: _CLIPPED // 2]}\n\n{text[-_CLIPPED // 2 :]}", True
        if left <= 0:
            return _Read(kept, is_cut=True)
        kept.append(Piece(piece.place, text[:left], piece.is_name))
        left -= len(text)
    return _Read(kept, cut)


def _said(read: Sequence[Piece]) -> Iterator[tuple[str, Level, str, str]]:
    """What the words say, of all strings in one pass."""
    texts = [(piece.place, _as_words(piece.text)) for piece in read if not piece.is_name]
    hidden = [(place, inner) for place, text in texts for inner in (*decoded(text), *spelled_out(text))]
    for place, _ in hidden:
        yield "encoded-text", "medium", place, "has text that is encoded"
    for which, form in (("plain", plain), ("raw", str)):
        parts = [form(text).encode("latin-1", "replace") for _, text in (*texts, *hidden)]
        whole, starts = _joined(parts)
        rules: list[tuple[Rule | Together | Sign, int]] = [*found(whole, which)]
        if which == "plain":
            rules += [*said_together(whole), *filled(whole)]
        for rule, at in rules:
            place = (*texts, *hidden)[bisect_right(starts, at) - 1][0]
            yield rule.code, rule.level, place, rule.reason
    yield from _in_parameters([(place, text) for place, text in texts if place.startswith("inputSchema")])
    for place, text in texts:
        for code, level, reason in said_otherwise(text):
            yield code, level, place, reason
    for piece in read:
        if piece.is_name:
            words = _INSIDE.sub("_", piece.text.replace("-", "_")).casefold().encode("latin-1", "replace")
            for named, _ in found(words[:200], "names"):
                yield named.code, named.level, piece.place, named.reason


def _as_words(text: str) -> str:
    """A name of many parts, as entries and default values may be, is a sentence to a model."""
    if " " in text or text.count("_") < _WORDS or "/" in text:
        return text
    said = text.replace("_", " ")
    for part, meant in _MEANT:
        said = said.replace(part, meant)
    return said


def _in_parameters(texts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Level, str, str]]:
    """What a model is told to fill in; values and entries written as names are words too."""
    parts = []
    for place, text in texts:
        is_value = ".enum" in place or ".required" in place or place.endswith(("default", "const"))
        parts.append(plain(text.replace("_", " ") if is_value else text).encode("latin-1", "replace"))
        if ".required" in place and text.strip().count(" ") >= _WORDS:
            yield "smuggling-parameter", "medium", place, "demands a parameter that is a sentence"
    whole, starts = _joined(parts)
    for sign, at in filled(whole, IN_PARAMETERS):
        yield sign.code, sign.level, texts[bisect_right(starts, at) - 1][0], sign.reason


def _joined(parts: Sequence[bytes]) -> tuple[bytes, list[int]]:
    separator = f" {END} ".encode()
    starts, at = [], 0
    for part in parts:
        starts.append(at)
        at += len(part) + len(separator)
    return separator.join(parts), starts


def _named(kind: str, name: str, item: Any) -> Iterator[tuple[str, Level, str, str]]:
    if kind in {"tool", "prompt"} and is_mixed(name):
        yield "look-alike-name", "high", "name", "has letters that only look like Latin ones in its name"
    hints = item.get("annotations") if isinstance(item, dict) else None
    if isinstance(hints, dict) and hints.get("readOnlyHint") is True and name.casefold().startswith(_CHANGES_THINGS):
        yield "misleading-hint", "low", "annotations.readOnlyHint", "says that it only reads, and is called otherwise"


def _together(signs: Iterable[Finding]) -> Iterator[tuple[str, Level, str]]:
    """Signs that are weak alone and strong together."""
    known = {one.code: one.level for one in signs}
    if "high" in known.values():
        return
    medium = sorted(code for code, level in known.items() if level == "medium")
    low = sorted(code for code, level in known.items() if level == "low")
    if len(medium) > 1 or (medium and _GRAVE.intersection(medium) and _SUPPORTING.intersection(low)):
        yield "several-signs", "high", f"several signs at once: {', '.join([*medium, *low])}"
    elif not medium and len(low) >= _TOGETHER and _GRAVE.intersection(low):
        yield "several-signs", "medium", f"several signs at once: {', '.join(low)}"


# --- a server's lists -------------------------------------------------------------------------------------------------


def _definitions(offered: ServerLists) -> Iterator[tuple[str, str, Any]]:
    lists = (
        ("tool", offered.tools),
        ("prompt", offered.prompts),
        ("template", offered.templates),
        ("resource", offered.resources),
    )
    for kind, items in lists:
        for item in items:
            if isinstance(name := item.get(_NAMES[kind]), str):
                yield kind, name, item
    if offered.instructions is not None:
        yield "instructions", "", {"instructions": offered.instructions}


def _texts(item: Any) -> Iterator[tuple[str, str]]:
    left = _MOST
    for piece in pieces(item):
        if not piece.is_name and left > 0:
            yield piece.place, piece.text[:left]
            left -= len(piece.text)


def _tool_names(text: str) -> Iterator[str]:
    """The words in *text* that can be nothing but the name of a tool: of several parts."""
    word = ""
    for c in f"{text} ":
        if c.isalnum() or c in "_-":
            word += c
            continue
        if _is_of_parts(word):
            yield word.casefold()
        word = ""


def _is_of_parts(word: str) -> bool:
    inner = word.strip("_-")
    return len(inner) > 5 and ("_" in inner or (inner[1:] != inner[1:].lower() and not inner.isupper()))  # noqa: PLR2004
