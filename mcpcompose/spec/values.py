"""The small written forms of the compose file: durations, sizes, names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, GetJsonSchemaHandler, StringConstraints, WithJsonSchema
from pydantic_core import CoreSchema

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_LONGEST: Final = 100 * 365 * 86400
_LARGEST: Final = 1 << 60
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "b": 0, "k": 1, "kb": 1, "kib": 1, "m": 2, "mb": 2, "mib": 2, "g": 3, "gb": 3, "gib": 3}


def parse_duration(value: object) -> float:
    """Seconds of `10m`, `1h30m`, `250ms`, as in the Compose specification; a number is seconds."""
    seconds = -1.0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -1 < value < _LONGEST:
        if value < 0:
            raise ValueError("a duration cannot be negative")
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    if 0 <= seconds < _LONGEST:
        return seconds
    raise ValueError("not a duration; write it like `30s`, `10m` or `1h30m`")


def parse_size(value: object) -> int:
    """Bytes of `512m`, `1g`, `16MiB`, as in the Compose specification (powers of 1024); a number is bytes."""
    size = -1.0
    if isinstance(value, int) and not isinstance(value, bool) and value < _LARGEST:
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * 1024 ** _POWERS[(match[2] or "").lower()]
    if 0 <= size < _LARGEST:
        return int(size)
    raise ValueError("not a size; write it like `512m`, `1g` or `16MiB`")


DURATION_EXAMPLES: Final = ["30s", "10m"]
SIZE_EXAMPLES: Final = ["512m", "16MiB"]


def _schema(what: str, pattern: str, examples: list[str]) -> dict[str, Any]:
    said = f"{what}, such as " + " or ".join(f"`{one}`" for one in examples)
    text = {"type": "string", "pattern": pattern, "patternErrorMessage": said}
    return {"anyOf": [{"type": "number", "minimum": 0}, text], "examples": examples}


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(_schema("a duration", r"^(\d+(\.\d+)?(us|ms|s|m|h))+$", DURATION_EXAMPLES)),
]
"""Seconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(_schema("a size", r"^\d+(\.\d+)?\s*([bB]|[kKmMgG]([iI]?[bB])?)?$", SIZE_EXAMPLES)),
]
"""Bytes."""


@dataclass(frozen=True, slots=True)
class AlsoWritten:
    """A short form that a validator before this one accepts, for the JSON Schema; *form* is its schema as JSON."""

    form: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [json.loads(self.form), handler(core)]}


class Explained:
    """What each word of a `Literal` means, in its order, for the JSON Schema."""

    def __init__(self, *meanings: str) -> None:
        self.meanings = meanings

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        assert len(schema["enum"]) == len(self.meanings)  # noqa: S101  one for each word
        return {**schema, "enumDescriptions": list(self.meanings)}


def parse_flag(value: object) -> object:
    """`true` and `false`, also as text (a variable's value); YAML 1.1's other words for them are refused."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise ValueError("write `true` or `false`")


Flag = Annotated[bool, BeforeValidator(parse_flag)]
"""True or false; `yes`, `on` and numbers are mistakes."""

ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,23}$")]
ProjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
HostName = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9_]([a-z0-9_.-]{0,252})|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?$")
]
"""What a `Host` header says, in lower case."""
WebOrigin = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]{0,31}://[a-z0-9_.\[\]:-]{1,255}$")]
"""What an `Origin` header says, in lower case."""

Template = str
"""
Text that may hold `${VARIABLE}` and `${secret:name}` references.

It stays a reference in every model, plan and print-out, and becomes a value only in the one
call that needs it (see `mcpcompose.spec.template`).
"""
