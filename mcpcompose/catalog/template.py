"""
The texts of a catalog's servers: `${config:path}`, `${config:path:-default}`, `${secret:name}` and `$$`.

A closed grammar: nothing here can name a variable of whoever uses the catalog. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|\{config:(?P<path>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?::-(?P<default>[^${}]*))?\}"
    r"|\{secret:(?P<secret>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})\})?"
)
GRAMMAR: Final = (
    "a catalog's texts hold `${config:key}`, `${config:key:-default}` and `${secret:name}`; `$$` is a dollar sign"
)


class TemplateError(ValueError):
    """A `$` that is none of these; *offset* counts from the text's start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Config:
    """A value of the project's `config`."""

    path: tuple[str, ...]
    default: str | None = None

    @property
    def name(self) -> str:
        """The path as written."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """One of the entry's secrets."""

    name: str


Part = str | Config | SecretRef


def parse(text: str) -> tuple[Part, ...]:
    """The parts of *text*, `$$` undone. Raises `TemplateError`."""
    parts: list[Part] = []
    start = 0
    for found in _REFERENCE.finditer(text):
        if found.start() > start:
            parts.append(text[start : found.start()])
        if found["dollar"]:
            parts.append("$")
        elif found["path"] is not None:
            parts.append(Config(tuple(found["path"].split(".")), found["default"]))
        elif found["secret"] is not None:
            parts.append(SecretRef(found["secret"]))
        else:
            raise TemplateError("this `$` is no reference", found.start())
        start = found.end()
    if start < len(text):
        parts.append(text[start:])
    return tuple(parts)


def literal(text: str) -> str:
    """*text* as a template that means just it."""
    return text.replace("$", "$$")


def config(path: str, default: str | None = None) -> str:
    """A reference to a value; what a default cannot hold is left out of it."""
    if default is None:
        return f"${{config:{path}}}"
    return f"${{config:{path}:-{re.sub('[${}]', '', default)}}}"


def secret(name: str) -> str:
    """A reference to a secret."""
    return f"${{secret:{name}}}"


def config_names(text: str) -> Iterator[Config]:
    """The values that *text* refers to; none where it is broken."""
    try:
        yield from (part for part in parse(text) if isinstance(part, Config))
    except TemplateError:
        return
