"""
The texts of a definition, as a model reads them and as rules can: every string with its place, and one plain form.

Pure. Everything here is linear in the length of what it is given.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

END: Final = "|"
"""Between sentences, in the plain form; no rule reaches over it."""
_END: Final = END.encode()
_DEEPEST: Final = 40
_PAIRS: Final = (
    "\u0430a \u0435e \u0451e \u043eo \u0440p \u0441c \u0443y \u0445x \u0455s \u0456i \u0457i \u0458j "
    "\u0501d \u051bq \u051dw \u04bbh \u04cfl \u0432b \u043ak \u043cm \u043dh \u0442t \u0433r \u03b1a "
    "\u03b2b \u03b5e \u03b9\u03bai \u03bdv \u03bfo \u03c1p \u03c4t \u03c5u \u03c7x \u03bak \u03b7n "
    "\u03b9i \u0570h \u0578n \u057du \u0585o \u0581g \u0566q \u0261g \u0131i \u217cl \u0251a \u028fy"
)
_LOOK_ALIKE: Final = {ord(pair[0]): pair[-1] for pair in _PAIRS.split()}
"""Letters of other scripts that look like Latin ones, lower case."""
_DECORATION: Final = dict.fromkeys(map(ord, '*`#>"|'))
_SHORTEST_ENCODED: Final = 48


@dataclass(frozen=True, slots=True)
class Piece:
    """One string of a definition, and where it stands."""

    place: str
    text: str
    is_name: bool = False
    """A key that the server chose: a parameter's name."""


def pieces(item: Any, place: str = "", depth: int = 0) -> Iterator[Piece]:
    """Every string in *item*, keys that a server chooses too."""
    if isinstance(item, str):
        yield Piece(place, item)
    elif depth >= _DEEPEST:
        return
    elif isinstance(item, dict):
        is_named = place.endswith(("properties", "$defs", "definitions", "_meta"))
        for key, value in item.items():
            inside = f"{place}.{key}" if place else str(key)
            if is_named or key not in _KNOWN:
                yield Piece(inside, str(key), is_name=True)
            yield from pieces(value, inside, depth + 1)
    elif isinstance(item, list):
        for index, value in enumerate(item):
            yield from pieces(value, f"{place}.{index}", depth + 1)


_KNOWN: Final = frozenset(
    [
        "name",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "default",
        "examples",
        "const",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "additionalProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "$schema",
        "$ref",
        "$defs",
        "definitions",
        "readOnlyHint",
        "destructiveHint",
        "idempotentHint",
        "openWorldHint",
        "uniqueItems",
        "nullable",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "propertyNames",
        "patternProperties",
        "minProperties",
        "maxProperties",
        "multipleOf",
        "arguments",
        "uri",
        "uriTemplate",
        "mimeType",
        "_meta",
        "icons",
        "src",
        "sizes",
        "theme",
        "execution",
        "taskSupport",
        "size",
        "contentMediaType",
        "contentEncoding",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$id",
        "$comment",
        "if",
        "then",
        "else",
        "prefixItems",
        "dependentRequired",
    ]
)


def plain(text: str) -> str:
    """
    *text* as rules read it: lower case ASCII, look-alikes as what they look like, one space, sentences between bars.

    What is invisible or only decoration (`*`, a backtick) is not there.
    """
    if text.isascii():
        seen = text.lower().translate(_DECORATION)
    else:
        folded = unicodedata.normalize("NFKC", text).casefold().translate(_LOOK_ALIKE)
        kept = (c for c in folded if ord(c) not in _DECORATION)
        seen = "".join(c for c in kept if c.isspace() or unicodedata.category(c) != "Cf")
        seen = seen.replace("\u2019", "'").replace("\u2018", "'")
        seen = seen.encode("ascii", "replace").decode()
    words: list[str] = []
    for paragraph in seen.split("\n\n"):
        for word in paragraph.split():
            words.append(word)
            if word[-1] in ".!?" and not word.endswith(("e.g.", "i.e.", "etc.")):
                words.append(END)
        words.append(END)
    return " ".join(words)


def skeleton(name: str) -> str:
    """What *name* looks like: two names with one skeleton are taken for one another."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKE)
    return folded.translate(str.maketrans("01", "ol")).replace("rn", "m").replace("-", "_")


def ends_of(text: bytes) -> list[int]:
    """Where the sentences of a *text* in its plain form end."""
    ends: list[int] = []
    at = -1
    while (at := text.find(_END, at + 1)) >= 0:
        ends.append(at)
    return ends


def is_mixed(name: str) -> bool:
    """Latin letters together with letters that only look like them."""
    folded = name.casefold()
    return any("a" <= c <= "z" for c in folded) and any(ord(c) in _LOOK_ALIKE for c in folded)


def decoded(text: str) -> Iterator[str]:
    """What stands in *text* as base64 and is text itself."""
    for word in text.split():
        core = word.strip("\"'`,.;:()[]<>")
        if len(core) < _SHORTEST_ENCODED or not core.isascii():
            continue
        try:
            found = base64.b64decode(core + "=" * (-len(core) % 4), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            continue
        if " " in found and all(c.isprintable() or c.isspace() for c in found):
            yield found
