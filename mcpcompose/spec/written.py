"""The short forms that keys of a server may be written in, as in Compose, and the lists and mappings they become."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from mcpcompose.spec.base import Names
from mcpcompose.spec.values import AlsoWritten, Duration, Template


def _items(value: Any) -> Any:
    """Compose's list form of a mapping: `[K=V, K]`."""
    if isinstance(value, list):
        pairs = (str(item).partition("=") for item in value)
        return {key: (text if equals else None) for key, equals, text in pairs}
    if isinstance(value, dict):
        return {k: scalar_text(v) for k, v in value.items()}
    return value


def scalar_text(value: Any) -> Any:
    """Numbers and booleans as the text they are written as."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _words(value: Any) -> Any:
    if isinstance(value, str):
        import shlex  # noqa: PLC0415  only for the short form

        try:
            return shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{str(error).lower()}; the list form needs no quotes") from error
    return [scalar_text(item) for item in value] if isinstance(value, list) else value


def as_build(value: Any) -> Any:
    """`build: ./context`."""
    return {"context": value} if isinstance(value, str) else value


def as_secret_use(value: Any) -> Any:
    """`secrets: [name]`."""
    return {"source": value} if isinstance(value, str) else value


def as_extends(value: Any) -> Any:
    """`extends: name`."""
    return {"server": value} if isinstance(value, str) else value


def as_test(value: Any) -> Any:
    """A health check's `test`: text is for a shell."""
    if isinstance(value, str):
        return ["CMD-SHELL", value]
    if isinstance(value, list):
        words = [scalar_text(item) for item in value]
        kind, rest = (words[0], words[1:]) if words else (None, [])
        if not isinstance(kind, str) or kind not in {"NONE", "CMD", "CMD-SHELL"}:
            raise ValueError("its first item is `CMD`, `CMD-SHELL` or `NONE`")
        if bool(rest) is (kind == "NONE") or (kind == "CMD-SHELL" and len(rest) != 1):
            raise ValueError("write `[CMD, program, argument]`, `[CMD-SHELL, text]` or `[NONE]`")
        return words
    return value


_SHORT_VOLUME: Final = re.compile(r"^(?P<source>[^:]+):(?P<target>/[^:]*)(?::(?P<mode>[a-z,]+))?$")


def as_volume(item: Any) -> Any:
    """`source:/target:ro`."""
    if not isinstance(item, str):
        return item
    match = _SHORT_VOLUME.match(item)
    if match is None:
        raise ValueError("a volume is `source:/target` or `source:/target:ro`")
    modes = set((match["mode"] or "rw").split(","))
    if not modes <= {"ro", "rw"}:
        raise ValueError("unknown volume option; `ro` and `rw` are known")
    kind = "bind" if match["source"][0] in "/.~" else "volume"
    if kind == "volume" and "/" in match["source"]:
        raise ValueError("a host path begins with `/`, `./` or `~/`; a volume's name has no `/`")
    return {"type": kind, "source": match["source"], "target": match["target"], "read_only": "ro" in modes}


TEXT: Final = '{"type": "string"}'
_MANY: Final = '{"type": "array", "items": {"type": ["string", "number", "boolean"]}}'
NUMBER: Final = '{"type": "integer"}'
_PAIRS: Final = '{"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}'

CheckTime = Annotated[Duration, Field(ge=0.001)]
Words = Annotated[tuple[Template, ...], BeforeValidator(_words), AlsoWritten(TEXT), AlsoWritten(_MANY)]
Items = Annotated[Names[Template | None], BeforeValidator(_items), AlsoWritten(_PAIRS), AlsoWritten(_MANY)]
TextItems = Annotated[Names[str], BeforeValidator(_items), AlsoWritten(_PAIRS), AlsoWritten(_MANY)]
OneOrMany = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AlsoWritten(TEXT), AlsoWritten(_MANY)]
Text = Annotated[str, Field(min_length=1)]
