"""
The JSON Schema of the file, made from the models: what editors complete, explain and check with.

It accepts everything the loader accepts, short forms and references included; the loader says more.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from mcpcompose.spec.base import Model
from mcpcompose.spec.project import ComposeFile

_REFERENCE: Final = {"type": "string", "pattern": r"\$"}
_NUMBER: Final = {"type": "string", "pattern": r"^\s*[-+]?[0-9_.eE+-]+\s*$|\$"}
_FLAG: Final = {"type": "string", "pattern": r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$|\$"}
_NULL: Final = {"type": "null"}
_NAMES: Final = {
    "servers": "^[a-z][a-z0-9-]{0,23}$",
    "secrets": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    "profiles": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
    "clients": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
}
_IN_PARTS: Final = ("Build", "HttpTransport", "Profile", "TransportHttp")
"""What may be spread over several files that are merged: each alone need not be complete."""
_KEPT_OUTSIDE: Final = ("description", "default", "title", "examples")


def json_schema() -> dict[str, Any]:
    """The schema of a compose file, draft 2020-12."""
    made = ComposeFile.model_json_schema(by_alias=True, mode="validation")
    definitions = made.pop("$defs")
    _describe({ComposeFile.__name__: made, **definitions})
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mcp-compose.yaml",
        **_open(_without_titles(made)),
        "$defs": {name: _open(_without_titles(one)) for name, one in sorted(definitions.items())},
    }
    for section, pattern in _NAMES.items():
        _object_of(schema["properties"][section])["propertyNames"] = {"pattern": pattern}
    secrets = _object_of(schema["properties"]["secrets"])
    several = secrets["additionalProperties"]
    secrets["additionalProperties"] = {"anyOf": [several["items"], several]}
    for section in _NAMES:
        named = _object_of(schema["properties"][section])
        named["additionalProperties"] = {"anyOf": [named["additionalProperties"], _NULL]}
    for name in _IN_PARTS:
        schema["$defs"][name].pop("required", None)
    return schema


def _describe(schemas: dict[str, dict[str, Any]]) -> None:
    """Give each property of *schemas*, by the name of its model, the text below its field."""
    for model in _models(Model):
        properties = schemas.get(model.__name__, {}).get("properties", {})
        for base in reversed(model.__mro__[: model.__mro__.index(Model)]):
            for field, text in _field_texts(base):
                info = model.model_fields.get(field)
                key = (info.validation_alias or info.alias or field) if info is not None else field
                if key in properties:
                    properties[key].setdefault("description", text)


def _models(model: type[Model]) -> Iterator[type[Model]]:
    for kind in model.__subclasses__():
        yield kind
        yield from _models(kind)


def _field_texts(model: type) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    for field, below in pairwise(getattr(definition, "body", ())):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                yield field.target.id, inspect.cleandoc(text)


def _object_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The alternative of *schema* that is a mapping."""
    alternatives: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return next(one for one in alternatives if one.get("type") == "object")


def _without_titles(value: Any, *, is_named: bool = False) -> Any:
    """Pydantic's made-up titles say nothing; keys that are called `title` stay."""
    if isinstance(value, list):
        return [_without_titles(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(one, is_named=key in ("properties", "$defs"))
        for key, one in value.items()
        if is_named or key != "title"
    }


def _open(schema: Any) -> Any:
    """Accept what the loader accepts besides: references for any scalar, `x-*` keys, empty keys."""
    if isinstance(schema, list):
        return [_open(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: one if key in ("default", "examples", "required") else _open(one) for key, one in schema.items()}
    if "properties" in schema:
        opened["properties"] = {key: _or_empty(_open(one)) for key, one in schema["properties"].items()}
        opened["patternProperties"] = {"^x-": {}}
    opened.pop("discriminator", None)
    return _or_reference(opened)


def _or_empty(schema: dict[str, Any]) -> dict[str, Any]:
    if _NULL in schema.get("anyOf", ()):
        return schema
    return _either(schema, _NULL)


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema or "const" in schema:
        return _either(schema, _REFERENCE)
    match schema.get("type"):
        case "integer" | "number":
            return _either(schema, _NUMBER)
        case "boolean":
            return _either(schema, _FLAG)
        case "string" if "pattern" in schema and not re.search(r"\\\$", schema["pattern"]):
            return {**schema, "pattern": rf"({schema['pattern']})|\$"}
        case _:
            return schema


def _either(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    outside: dict[str, Any] = {key: schema[key] for key in _KEPT_OUTSIDE if key in schema}
    inside = {key: one for key, one in schema.items() if key not in outside}
    alternatives = inside["anyOf"] if set(inside) == {"anyOf"} else [inside]
    return {**outside, "anyOf": [*alternatives, other]}
