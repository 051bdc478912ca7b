"""The JSON Schema of our own catalog format: an entry's server is one of the file, without what it cannot be."""

from __future__ import annotations

from typing import Any

from mcpcompose.catalog.own import NOT_IN_A_CATALOG
from mcpcompose.config.schema import json_schema, without_titles
from mcpcompose.config.schema_text import describe
from mcpcompose.spec.catalog import CatalogFile


def catalog_json_schema() -> dict[str, Any]:
    """The schema of a catalog, draft 2020-12."""
    made = CatalogFile.model_json_schema(by_alias=True, mode="validation")
    own: dict[str, Any] = made.pop("$defs")
    describe({CatalogFile.__name__: made, **own})
    compose = json_schema()["$defs"]
    server = dict(compose["Server"])
    server["properties"] = {key: one for key, one in server["properties"].items() if key not in NOT_IN_A_CATALOG}
    about = own["CatalogEntry"]["properties"]["server"]["description"]
    own["CatalogEntry"]["properties"]["server"] = {"description": about, "$ref": "#/$defs/Server"}
    definitions = {**compose, "Server": server, **{name: _open(without_titles(one)) for name, one in own.items()}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A catalog of MCP servers",
        **_open(without_titles(made)),
        "$defs": {name: definitions[name] for name in sorted(_needed(made, definitions))},
    }


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Accept `x-*` keys."""
    return {**schema, "patternProperties": {"^x-": {}}} if "properties" in schema else schema


def _needed(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """The definitions that *schema* refers to, and those that they refer to."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in definitions and name not in found:
                found.add(name)
                waiting.append(definitions[name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found
