"""
The texts of Docker's catalog format in our grammar.

`{{server.key|filter}}` takes a configured value, `$NAME` one of the variables that the server gets. What cannot be
carried over is refused. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mcpcompose.catalog.template import config, literal, secret

_BRACES: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_MOUNT: Final = re.compile(r"/[^:${}]*(?::(?:ro|rw))?")


class NotCarriedOver(ValueError):  # noqa: N818  the name of the thing, not of the event
    """A text that means something in Docker's format that it cannot mean here."""


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What texts of one server may refer to.

    *names*: what a path may begin with instead of the server's configuration itself. *secrets*: secrets by variable.
    *values*: other variables of the server, as texts in our grammar.
    """

    names: Collection[str]
    secrets: Mapping[str, str]
    values: Mapping[str, str]


def text(written: str, scope: Scope, *, has_braces_only: bool = False) -> str:
    """One value; without a configured one, empty where something stands around it. Raises `NotCarriedOver`."""
    whole = _BRACES.fullmatch(written)
    if whole is not None:
        return _reference(whole[1], scope, default=None)
    is_plain = has_braces_only and _BRACES.search(written) is not None
    return _mixed(written, scope, default="", expand=not is_plain)


def item(written: str, scope: Scope) -> str:
    """One item of a list, which stands for several where its value is a list; left out without a value."""
    whole = _BRACES.fullmatch(written)
    if whole is not None:
        return _reference(whole[1], scope, default=None)
    return _mixed(written, scope, default="", expand=True)


def volume(written: str, scope: Scope) -> str:
    """One volume; left out without a value. Raises `NotCarriedOver`."""
    return _mixed(written, scope, default=None, expand=False)


def _mixed(written: str, scope: Scope, *, default: str | None, expand: bool) -> str:
    parts: list[str] = []
    start = 0
    for found in _BRACES.finditer(written):
        parts.append(_literal(written[start : found.start()], scope, expand=expand))
        parts.append(_reference(found[1], scope, default=default))
        start = found.end()
    return "".join([*parts, _literal(written[start:], scope, expand=expand)])


def _literal(written: str, scope: Scope, *, expand: bool) -> str:
    if not expand:
        return literal(written)
    parts: list[str] = []
    start = 0
    for found in _VARIABLE.finditer(written):
        parts.append(literal(written[start : found.start()]))
        name = found[1] or found[2]
        if name in scope.secrets:
            parts.append(secret(scope.secrets[name]))
        elif name in scope.values:
            parts.append(scope.values[name])
        else:
            raise NotCarriedOver(f"`${name}` is no variable of this server")
        start = found.end()
    return "".join([*parts, literal(written[start:])])


def _reference(inside: str, scope: Scope, *, default: str | None) -> str:
    written, *filters = (part.strip() for part in inside.split("|"))
    path = _path(written, scope)
    is_volume = False
    for one in filters:
        name, colon, argument = one.partition(":")
        argument = argument.strip()
        match name.strip():
            case "into" | "volume-target" if not colon:
                pass
            case "first" | "last" if not colon:
                path = f"{path}.{'0' if name == 'first' else '-1'}"
            case "volume" if not colon:
                is_volume = True
            case "or" if colon and not set(argument) & set("${}"):
                default = argument.removeprefix("[").removesuffix("]") if argument.startswith("[") else argument
                default = None if argument == "[]" else default
            case "mount_as" if _MOUNT.fullmatch(argument):
                return f"{config(f'{path}.0', default)}:{argument}"
            case _:
                raise NotCarriedOver(f"the filter `{one}` is not known")
    reference = config(path, default)
    return f"{reference}:{reference}" if is_volume else reference


def _path(written: str, scope: Scope) -> str:
    segments = [segment.strip() for segment in written.split(".")]
    if not all(map(_SEGMENT.fullmatch, segments)):
        raise NotCarriedOver(f"`{{{{{written}}}}}` is no value of a configuration")
    if len(segments) > 1 and segments[0] in scope.names:
        segments = segments[1:]
    return ".".join(segments)
