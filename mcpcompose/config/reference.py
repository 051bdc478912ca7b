"""
The reference page of the file, made from the models: every key with its form, default and meaning.

Pure; `scripts/schema` writes it, and a test fails when that was forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from mcpcompose.config.schema_text import described, written

_HEAD: Final = """\
# The file, key by key

Made from the models by `scripts/schema`. Names follow the Compose specification wherever the thing exists there; keys
that begin with `x-` are yours. A key that is not supported yet is refused, never ignored.
"""
_TITLES: Final = {"ComposeFile": "Top level", "Server": "A server", "Profile": "A profile", "Client": "A client"}


def reference() -> str:
    """The page, as Markdown."""
    schema = described()
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
    value = written(field.get("default"), field)
    return "" if value in (None, [], {}, ()) or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _form(field: dict[str, Any]) -> str:
    alternatives = [one for one in field.get("anyOf", field.get("oneOf", [field])) if one.get("type") != "null"]
    forms = list(dict.fromkeys(_one_form(one) for one in alternatives))
    has_items = any(form.startswith("list of") for form in forms)
    return " or ".join(form for form in forms if form != "list" or not has_items)


def _one_form(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": target}:
            name = target.rpartition("/")[2]
            return f"[{name}](#{_anchor(name)})"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"anyOf": _} | {"oneOf": _}:
            return _form(schema)
        case {"type": "array" | "object" as kind}:
            return _collection(schema, kind)
        case _:
            return str(schema.get("type", "anything"))


def _collection(schema: dict[str, Any], kind: str) -> str:
    word, inside = (
        ("list of", schema.get("items")) if kind == "array" else ("map to", schema.get("additionalProperties"))
    )
    inner = _form(inside) if isinstance(inside, dict) and inside else "anything"
    return word.partition(" ")[0] if inner == "anything" else f"{word} {inner}"


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
