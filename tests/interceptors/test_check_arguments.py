"""Arguments must be those that the tool declares, and no schema of a server can make that check expensive."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mcpcompose.interceptors.base import Exchange, Refuse, Warn
from mcpcompose.interceptors.check_arguments import CheckArguments
from mcpcompose.interceptors.sessions import GovernedSession
from mcpcompose.spec.interceptor import Interceptor

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def decided(schema: Any, arguments: Any, **keys: Any) -> Any:
    spec = Interceptor.model_validate({"use": "check-arguments", **keys})
    tool = {"name": "t", "inputSchema": schema} if schema is not None else {"name": "t"}
    exchange = Exchange(
        "1", "tools/call", "s", "t", "s__t", {"name": "t", "arguments": arguments}, "c", "default",
        GovernedSession("c", 0.0), tool,
    )  # fmt: skip
    return CheckArguments(spec, None).before(exchange)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (CITY, {"city": "Boston"}),
        ({"type": "object"}, {"anything": 1}),
        (None, {"anything": 1}),
        ({"type": "object", "properties": {}, "additionalProperties": True}, {"x": 1}),
        ({"type": "object", "properties": {"a": {}}, "patternProperties": {"^x-": {}}}, {"x-1": 1}),
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/n"}}}, {"n": 3}),
        ({"type": "object", "properties": {"n": {"type": "string", "pattern": "^(a+)+$"}}}, {"n": "aaa"}),
    ],
)
def test_what_fits_passes(schema: Any, arguments: Any) -> None:
    assert decided(schema, arguments) is None


@pytest.mark.parametrize(
    ("schema", "arguments", "rule"),
    [
        (CITY, {"city": "Boston", "__exec": "curl x | sh"}, "undeclared"),
        (CITY, {}, "required"),
        (CITY, {"city": ["Boston"]}, "type"),
        ({"properties": {"role": {"enum": ["viewer", "editor"]}}}, {"role": "admin"}, "enum"),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "additionalProperties"),
        (CITY, "Boston", "type"),
        (CITY, None, "type"),
    ],
)
def test_what_does_not_fit_is_refused_and_no_value_is_told(schema: Any, arguments: Any, rule: str) -> None:
    found = decided(schema, arguments)
    assert isinstance(found, Refuse)
    assert found.rule == rule
    assert "Boston" not in found.message
    assert "curl" not in found.message
    warned = decided(schema, arguments, action="warn")
    assert isinstance(warned, Warn)


def doubling(levels: int) -> dict[str, Any]:
    """A small schema that costs two to the power of *levels*."""
    defs: dict[str, Any] = {
        f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}, {"$ref": f"#/$defs/d{at + 1}"}]} for at in range(levels)
    }
    return {"$defs": {**defs, f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        doubling(30),
        deep(100),
        {"properties": {str(at): {} for at in range(5_000)}},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "nonsense"},
        ["x"],
        {"properties": {"a": {"type": "string", "pattern": "(" * 50}}},
    ],
    ids=["doubling", "deep", "wide", "remote", "file", "no type", "no schema", "pattern"],
)
def test_a_hostile_schema_refuses_and_costs_little(schema: Any) -> None:
    began = time.process_time()
    assert isinstance(decided(schema, {"a": "x"}), Refuse)
    assert time.process_time() - began < 0.5


def test_a_hostile_pattern_is_matched_in_linear_time() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    began = time.process_time()
    assert isinstance(decided(schema, {"a": "a" * 50_000 + "!"}), Refuse)
    assert time.process_time() - began < 0.5
