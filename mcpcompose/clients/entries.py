"""
What our entry looks like in each program's file, and what somebody's entry there says.

Pure: from the templates of the data and a `Connection` to the exact value, and back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.clients.registry import Application, Kind
from mcpcompose.errors import UsageError

_DEAD_ENDS: Final[tuple[object, ...]] = ({}, [], None)
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_COMMANDS: Final = ("command", "cmd", "serverCommand")
_URLS: Final = ("url", "httpUrl", "serverUrl", "baseUrl", "uri", "endpoint")
_ENVIRONMENTS: Final = ("env", "environment", "envs")
_HEADERS: Final = ("headers", "http_headers")
_NESTED: Final = ("transport", "remote", "requestInit", "requestOptions", "command")
"""Where programs put parts of an entry: a mapping below one of these keys is read as if it stood above."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """A command that the program starts."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    kind: Kind = "stdio"


@dataclass(frozen=True, slots=True)
class Http:
    """
    An endpoint that the program connects to.

    *authorization* is the header's value, a secret or a reference; with *variable* instead, the entry names the
    variable that holds the token. Neither: whoever reaches the endpoint is let in.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)
    variable: str | None = None
    kind: Kind = "http"


Connection = Stdio | Http


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody's entry leads to; *kind* None: nothing that we know of."""

    kind: Kind | None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


def entry(application: Application, name: str, connection: Connection) -> dict[str, Any]:
    """The exact value to store for the server *name*. Raises `UsageError` when the program cannot have it."""
    template = _template(application, connection)
    values = _values(name, connection)
    _check(application, connection)
    kept = application.keep_empty.get(connection.kind, ())
    filled: dict[str, Any] = _filled(template, values, kept)
    return filled


def can(application: Application, kind: Kind) -> bool:
    """Whether the program knows servers of this kind."""
    return kind in application.templates or kind in application.code


def takes_token(application: Application) -> bool:
    """Whether an HTTP entry of the program can say who it is."""
    return (
        "@headers" in _scalars(application.templates.get("http"))
        or application.by_variable is not None
        or ({"@token", "@bearer"} & _scalars(application.templates.get("http")) != set())
    )


def varied(application: Application, value: Mapping[str, Any]) -> dict[str, Any]:
    """*value* in the program's other shape."""
    variant = application.variant
    if variant is None:
        return dict(value)
    return {key: one for key, one in value.items() if key not in variant.instead_of} | dict(variant.has)


def good_name(application: Application, name: str) -> str:
    """*name* itself. Raises `UsageError` for one that some program would refuse, or that is this one's own."""
    if not _NAME.fullmatch(name) or name.endswith("-") or "--" in name:
        raise UsageError(
            f"`{name}` is no name that every client takes",
            hint="small letters, digits and single `-`, starting with a letter, at most 40",
        )
    if name in application.reserved:
        raise UsageError(f"{application.name} keeps the name `{name}` for itself", hint="choose another with `--name`")
    return name


def default_name(project: str) -> str:
    """The name of a project's entry: the project's, as far as every client takes it."""
    name = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")
    return (name if name[:1].isalpha() else f"mcp-{name}".rstrip("-"))[:40].rstrip("-")


def parse_entry(raw: Mapping[str, Any]) -> Written:
    """What *raw*, an entry of whatever program, leads to."""
    flat = _flattened(raw)
    command, args = _command(flat)
    url = next((flat[key] for key in _URLS if isinstance(flat.get(key), str)), None)
    kind: Kind | None = "http" if url else "stdio" if command else None
    return Written(kind, command, args, _texts(flat, _ENVIRONMENTS), url, _texts(flat, _HEADERS))


def _template(application: Application, connection: Connection) -> Mapping[str, Any]:
    if isinstance(connection, Http) and connection.variable is not None and application.by_variable is not None:
        return application.by_variable
    template = application.templates.get(connection.kind)
    if template is None:
        other = "a URL" if connection.kind == "http" else "a command"
        raise UsageError(f"{application.name} has no entries with {other}", hint="leave `--http` and `--stdio` away")
    return template


def _values(name: str, connection: Connection) -> dict[str, Any]:
    match connection:
        case Stdio(command, args, env):
            return {
                "@name": name,
                "@command": command,
                "@args": list(args),
                "@argv": [command, *args],
                "@env": dict(env),
            }
        case Http(url, authorization, variable):
            bearer = authorization or ""
            return {
                "@name": name,
                "@url": url,
                "@headers": {"Authorization": bearer} if bearer else {},
                "@bearer": bearer,
                "@token": bearer.removeprefix("Bearer "),
                "@variable": variable or "",
            }


def _check(application: Application, connection: Connection) -> None:
    """Refuse what the program would read as something else."""
    if not isinstance(connection, Stdio):
        return
    if application.bare_command and " " in connection.command:
        raise UsageError(f"{application.name} takes no command with a space: `{connection.command}`")
    if not application.reference:
        return
    marks = ("$", "{env:", "{{")
    for text in (connection.command, *connection.args, *connection.env.values()):
        if any(mark in text for mark in marks):
            raise UsageError(
                f"{application.name} would replace what looks like a variable in `{text}`",
                hint="choose a folder without `$` and `{` in its name, or `--http`",
            )


def _filled(value: Any, values: Mapping[str, Any], kept: Sequence[str]) -> Any:
    if isinstance(value, str):
        return values.get(value, value)
    if isinstance(value, list):
        return [_filled(one, values, kept) for one in value]
    if not isinstance(value, Mapping):
        return value
    filled: dict[str, Any] = {}
    for key, one in value.items():
        made = _filled(one, values, kept)
        if made not in _DEAD_ENDS or key in kept or one in _DEAD_ENDS:
            filled[key] = made
    return filled


def _scalars(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    items: Iterator[Any] = iter(())
    if isinstance(value, Mapping):
        items = iter(value.values())
    elif isinstance(value, list):
        items = iter(value)
    return set().union(*(_scalars(one) for one in items))


def _flattened(raw: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(raw)
    for key in _NESTED:
        if isinstance(below := flat.get(key), Mapping):
            del flat[key]
            flat = {**{k: v for k, v in below.items() if k != "path"}, **flat}
            if key == "command" and isinstance(below.get("path"), str):  # as Zed had it
                flat["command"] = below["path"]
    return flat


def _command(flat: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    command = next((flat[key] for key in _COMMANDS if flat.get(key)), None)
    args = flat.get("args")
    rest = tuple(str(one) for one in args) if isinstance(args, list) else ()
    if isinstance(command, list) and command:
        return str(command[0]), (*map(str, command[1:]), *rest)
    return (command, rest) if isinstance(command, str) else (None, ())


def _texts(flat: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        if isinstance(one := flat.get(key), Mapping):
            found |= {str(name): str(value) for name, value in one.items() if isinstance(value, str | int | float)}
    return found
