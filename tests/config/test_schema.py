"""The committed JSON Schema is the models', and explains every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcpcompose.config.reference import reference
from mcpcompose.config.schema import json_schema

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference.md"
COMMITTED = Path(__file__).parent.parent.parent / "schemas" / "mcp-compose.schema.json"


def properties(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, inner in schema.get("properties", {}).items():
            yield f"{where}.{key}", inner
        for key, inner in schema.items():
            yield from properties(inner, f"{where}.{key}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from properties(inner, where)


def test_the_committed_schema_equals_the_models() -> None:
    assert json.loads(COMMITTED.read_text()) == json_schema(), "run `scripts/schema`"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_key_has_a_description() -> None:
    missing = [where for where, inner in properties(json_schema()) if not inner.get("description")]

    assert missing == []


@pytest.mark.parametrize(
    "file",
    [
        {"servers": {"a": {"imge": "x"}}},
        {"serves": {}},
        {"servers": {"Upper": {"image": "x"}}},
        {"servers": {"a": {"restart": "sometimes"}}},
        {"servers": {"a": {"cpus": "lots"}}},
        {"servers": {"a": {"read_only": "yes"}}},
        {"servers": {"a": {"mem_limit": "5 potatoes"}}},
        {"servers": {"a": {"secrets": [{"sorce": "x"}]}}},
        {"servers": {"a": {"environment": {"A": {"b": "c"}}}}},
        {"secrets": {"a": {"fil": "x"}}},
        {"gateway": {"port": 99999}},
    ],
)
def test_the_schema_refuses_plain_mistakes(file: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(file)


def test_the_reference_page_is_the_one_made_from_the_models() -> None:
    assert PAGE.read_text() == reference(), "run scripts/schema"
