"""Alternatives in a JSON Schema, as few as say the same: editors then show and report one thing once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_KEPT_OUTSIDE: Final = ("description", "default", "title", "examples")
_OF_TEXT: Final = frozenset({"type", "pattern", "patternErrorMessage", "minLength", "maxLength"})
_OF_NUMBERS: Final = frozenset({"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_PLAIN: Final = {
    "string": _OF_TEXT,
    "integer": _OF_NUMBERS,
    "number": _OF_NUMBERS,
    "boolean": frozenset({"type"}),
    "null": frozenset({"type"}),
}
"""What may be said of a scalar for it to share a schema with scalars of other types."""


def either(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """*schema* or *other*; what explains stays outside."""
    outside: dict[str, Any] = {key: schema[key] for key in _KEPT_OUTSIDE if key in schema}
    inside = {key: one for key, one in schema.items() if key not in outside}
    alternatives = _together([*_flat(inside), other])
    return {**outside, **(alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives})}


def _flat(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of *schema*, those of alternatives among them."""
    if set(schema) - {"examples"} != {"anyOf"}:
        yield schema
        return
    for one in schema["anyOf"]:
        yield from _flat(one)


def _together(alternatives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scalars of different types as one schema with several types; everything else as it is, each once."""
    found: list[dict[str, Any]] = []
    scalars: dict[str, Any] = {}
    at = 0
    for one in alternatives:
        types = _scalar_types(one)
        if not types or not _fits(scalars, one, types):
            if one not in found:
                found.append(one)
            continue
        if not scalars:
            at = len(found)
        scalars = _joined(scalars, one, types)
    if scalars:
        kinds = scalars["type"]
        found.insert(at, {**scalars, "type": kinds[0] if len(kinds) == 1 else kinds})
    return found


def _scalar_types(schema: dict[str, Any]) -> list[str]:
    said = schema.get("type")
    types = [said] if isinstance(said, str) else list(said or ())
    allowed = frozenset().union(*(_PLAIN.get(one, frozenset()) for one in types))
    return types if types and all(one in _PLAIN for one in types) and set(schema) <= allowed else []


def _fits(scalars: dict[str, Any], one: dict[str, Any], types: list[str]) -> bool:
    """Texts that are checked differently can be told apart only as two patterns of one."""
    present = set(scalars.get("type", ()))
    if {"integer", "number"} <= present | set(types):
        return False
    shared = present & set(types)
    if "string" in shared:
        return (
            set(one) <= {"type", "pattern", "patternErrorMessage"}
            and "pattern" in scalars
            and "minLength" not in scalars
        )
    return not shared - {"null"}


def _joined(scalars: dict[str, Any], one: dict[str, Any], types: list[str]) -> dict[str, Any]:
    joined = {**scalars, **one}  # the later text says more: a duration is also a number
    if "pattern" in scalars and "pattern" in one and scalars["pattern"] != one["pattern"]:
        joined["pattern"] = f"({scalars['pattern']})|({one['pattern']})"
    joined["type"] = list(dict.fromkeys((*scalars.get("type", ()), *types)))
    return joined
