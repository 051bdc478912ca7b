"""
The JSON Schema of the file, made from the models: what editors complete, explain and check with.

It accepts everything the loader accepts, short forms and references included; the loader says more.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mcpcompose.config.schema_forms import either
from mcpcompose.config.schema_rules import add_rules
from mcpcompose.config.schema_text import described, explain

_REFERENCE: Final = {"type": "string", "pattern": r"\$"}
_NUMBER: Final = {"type": "string", "pattern": r"^\s*[-+]?[0-9_.eE+-]+\s*$|\$", "patternErrorMessage": "a number"}
_FLAG: Final = {
    "type": "string",
    "pattern": r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$|\$",
    "patternErrorMessage": "write `true` or `false`",
}
_NULL: Final = {"type": "null"}
_PLAIN: Final = ("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "letters, digits, `_`, `.` and `-`, at most 64")
_NAMES: Final = {
    "servers": ("^[a-z][a-z0-9-]{0,23}$", "lower-case letters, digits and `-`, beginning with a letter, at most 24"),
    "secrets": _PLAIN,
    "profiles": _PLAIN,
    "clients": _PLAIN,
}
_IN_PARTS: Final = ("Build", "HttpTransport", "Profile", "TransportHttp")
"""What may be spread over several files that are merged: each alone need not be complete."""


def json_schema() -> dict[str, Any]:
    """The schema of a compose file, draft 2020-12."""
    made = described()
    definitions = made.pop("$defs")
    add_rules(made, definitions)
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mcp-compose.yaml",
        **_open(without_titles(made)),
        "$defs": {name: _open(without_titles(one)) for name, one in sorted(definitions.items())},
    }
    secrets = _object_of(schema["properties"]["secrets"])
    several = secrets["additionalProperties"]
    if "items" in several:
        secrets["additionalProperties"] = {"anyOf": [several["items"], several]}
    for section, (pattern, words) in _NAMES.items():
        named = _object_of(schema["properties"][section])
        said = f"a name of one of the `{section}`: {words}"
        named["propertyNames"] = {"pattern": pattern, "patternErrorMessage": said}
        named["additionalProperties"] = either(named["additionalProperties"], _NULL)
    for name in _IN_PARTS:
        schema["$defs"][name].pop("required", None)
    explain(schema)
    return schema


def _object_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The alternative of *schema* that is a mapping."""
    alternatives: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return next(one for one in alternatives if "object" in _types(one))


def _types(schema: dict[str, Any]) -> list[str]:
    found = schema.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def without_titles(value: Any, *, is_named: bool = False) -> Any:
    """Pydantic's made-up titles say nothing; keys that are called `title` stay."""
    if isinstance(value, list):
        return [without_titles(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_titles(one, is_named=key in ("properties", "$defs"))
        for key, one in value.items()
        if is_named or key != "title"
    }


def _open(schema: Any) -> Any:
    """Accept what the loader accepts besides: references for any scalar, `x-*` keys, empty keys."""
    if isinstance(schema, list):
        return [_open(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = ("default", "examples", "required", "allOf", "enumDescriptions", "patternProperties")
    opened = {key: one if key in kept else _open(one) for key, one in schema.items()}
    if "properties" in schema:
        opened["properties"] = {key: either(_open(one), _NULL) for key, one in schema["properties"].items()}
        opened["patternProperties"] = {"^x-": {}, **schema.get("patternProperties", {})}
    opened.pop("discriminator", None)
    return _or_reference(opened)


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema or "const" in schema:
        return either(schema, _REFERENCE)
    match schema.get("type"):
        case "integer" | "number":
            return either(schema, _NUMBER)
        case "boolean":
            return either(schema, _FLAG)
        case "string" if "pattern" in schema and not re.search(r"\\\$", schema["pattern"]):
            return {**schema, "pattern": rf"({schema['pattern']})|\$"}
        case _:
            return schema
