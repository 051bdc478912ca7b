"""
The reference page of the file, made from the models: every key with its form, default and meaning.

Pure; `scripts/schema` writes it, and a test fails when that was forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from mcpcompose.spec.project import ComposeFile

_HEAD: Final = """\
# The file, key by key

Made from the models by `scripts/schema`. Names follow the Compose specification wherever the thing exists there; keys
that begin with `x-` are yours. A key that is not supported yet is refused, never ignored.
"""
_TITLES: Final = {"ComposeFile": "Top level", "Server": "A server", "Profile": "A profile", "Client": "A client"}


def reference() -> str:
    """The page, as Markdown."""
    schema = ComposeFile.model_json_schema(by_alias=True, mode="validation")
    definitions: dict[str, Any] = schema.pop("$defs")
    parts = [_HEAD, _section("ComposeFile", schema)]
    done: set[str] = set()
    waiting = list(_named(schema))
    while waiting:
        name = waiting.pop(0)
        if name not in done and "properties" in definitions[name]:
            done.add(name)
            parts.append(_section(name, definitions[name]))
            waiting += _named(definitions[name])
    return "\n".join(parts)


def _section(name: str, schema: dict[str, Any]) -> str:
    lines = [f"## {_TITLES.get(name, f'`{name}`')}", "", _line(schema.get("description", "")), ""]
    lines += ["| key | form | default | meaning |", "|---|---|---|---|"]
    needed = schema.get("required", ())
    for key, field in schema["properties"].items():
        default = "needed" if key in needed else _default(field)
        lines.append(f"| `{key}` | {_form(field)} | {default} | {_line(field.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, [], {}, ()) or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _form(field: dict[str, Any]) -> str:
    alternatives = [one for one in field.get("anyOf", field.get("oneOf", [field])) if one.get("type") != "null"]
    forms = list(dict.fromkeys(_one_form(one) for one in alternatives))
    return " or ".join(form for form in forms if form != "list" or not any(other.startswith("list of") for other in forms))


def _one_form(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array":
            items = _form(schema["items"]) if schema.get("items") else "anything"
            return "list" if items == "anything" else f"list of {items}"
        case "object":
            return f"map to {_form(values)}" if isinstance(values := schema.get("additionalProperties"), dict) else "map"
        case str(plain):
            return plain
        case _:
            return _form(schema) if "anyOf" in schema or "oneOf" in schema else "anything"


def _anchor(name: str) -> str:
    return _TITLES.get(name, name).lower().replace(" ", "-")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _named(schema: Any) -> Iterator[str]:
    """The models that *schema* refers to, in order."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _named(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _named(value)
