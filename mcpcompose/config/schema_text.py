"""What the JSON Schema says to people: the text below each field, defaults as one writes them, names of the parts."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from mcpcompose.spec.base import Model
from mcpcompose.spec.limits import size
from mcpcompose.spec.project import ComposeFile
from mcpcompose.spec.values import DURATION_EXAMPLES, SIZE_EXAMPLES

_TITLES: Final = {
    "EnvironmentSource": "Environment variable",
    "Server": "A server",
    "Profile": "A profile",
    "Client": "A client",
}
_UNITS: Final = ((3600, "h"), (60, "m"), (1, "s"))


def described() -> dict[str, Any]:
    """Pydantic's schema of the file, with the text below each field as its description."""
    made = ComposeFile.model_json_schema(by_alias=True, mode="validation")
    describe({ComposeFile.__name__: made, **made["$defs"]})
    return made


def written(default: Any, schema: dict[str, Any]) -> Any:
    """*default* of a field as one writes it: `60s` and `16MiB` where the model has seconds and bytes."""
    if not isinstance(default, (int, float)) or isinstance(default, bool):
        return default
    kinds = _examples(schema)
    if SIZE_EXAMPLES in kinds:
        return size(int(default)).replace(" ", "")
    if DURATION_EXAMPLES in kinds:
        for seconds, unit in _UNITS:
            if default >= seconds and default % seconds == 0:
                return f"{int(default // seconds)}{unit}"
        return f"{default:g}s"
    return int(default) if float(default).is_integer() else default


def explain(schema: dict[str, Any]) -> None:
    """Name the parts of a whole schema, and give each text in Markdown too, which editors prefer."""
    for name, one in schema["$defs"].items():
        one["title"] = _TITLES.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize())
    for one in (schema, *schema["$defs"].values()):
        _in_markdown(one)
        for field in one.get("properties", {}).values():
            if "default" in field:
                field["default"] = written(field["default"], field)
            _in_markdown(field)


def _in_markdown(schema: dict[str, Any]) -> None:
    text = schema.get("description")
    if text is None:
        return
    default = schema.get("default")
    if isinstance(default, (str, int, float)) and default != "":
        shown = str(default).lower() if isinstance(default, bool) else default
        text = f"{text}\n\nDefault: `{shown}`"
    schema["markdownDescription"] = text


def _examples(schema: Any) -> list[Any]:
    if isinstance(schema, dict):
        found = [schema["examples"]] if "examples" in schema else []
        return found + [inner for one in schema.get("anyOf", ()) for inner in _examples(one)]
    return []


def describe(schemas: dict[str, dict[str, Any]]) -> None:
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
