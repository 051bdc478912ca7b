"""The JSON Schema of the contract, made of its structures: `schemas/mcp-compose-interceptor.schema.json`."""

from __future__ import annotations

import ast
import inspect
from typing import Any, Final

import msgspec

from mcpcompose.interceptors import contract
from mcpcompose.interceptors.contract import Answered, Question

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES: Final = "#/$defs/{name}"


def contract_json_schema() -> dict[str, Any]:
    """Of a question and of an answer; `$defs` holds both by name."""
    (_, answered), found = msgspec.json.schema_components([Question, Answered], ref_template=_REFERENCES)
    texts = _texts()
    for name, schema in found.items():
        for key, member in schema.get("properties", {}).items():
            text = texts.get((name, key)) or texts.get(("_Answer" if "decision" in schema["properties"] else "", key))
            if text:
                member["description"] = text
    found["Question"]["properties"]["params"]["type"] = "object"
    return {
        "$schema": _DIALECT,
        "title": f"Interceptors of mcp-compose, contract version {contract.VERSION}",
        "description": "What programs, webhooks, containers and Python functions are told, and may answer.",
        "anyOf": [{"$ref": "#/$defs/Question"}, {"$ref": "#/$defs/Answer"}],
        "$defs": {**found, "Answer": {"description": "An answer.", **answered}},
    }


def _texts() -> dict[tuple[str, str], str]:
    """What stands below each member of the structures."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(contract)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for member, below in zip(node.body, node.body[1:], strict=False):
            match member, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[node.name, name] = inspect.cleandoc(text)
                case _:
                    pass
    return found
