"""
How a program is to reach the gateway: by its URL or by a command, with the token itself or a reference to it.

Pure. The rules: a URL where the program can, else a command. A person's own file holds the token, unless a reference is
wanted; a project's file never does, and holds a URL only where the port is the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from mcpcompose.clients.entries import Connection, Http, Stdio, can, takes_token
from mcpcompose.clients.registry import Application, Kind, ScopeName
from mcpcompose.errors import UsageError

VARIABLE: Final = "MCP_COMPOSE_TOKEN"
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,39}\]")


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    The project's gateway as clients reach it.

    *endpoint* is None before the first `up`, unless the file fixes the port (*fixed*). *here* is the command that
    reaches it from anywhere on this machine, *there* the one for a file that others have, too.
    """

    endpoint: str | None
    fixed: bool
    open: bool
    token: Callable[[], str] = field(repr=False)
    here: Stdio
    there: Stdio


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for: *kind* None is ours to choose; *host* is how the program's machine calls this one."""

    kind: Kind | None = None
    reference: bool = False
    variable: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """*secret* is the token that the entry holds, *variable* the one that the program must find in its environment."""

    connection: Connection
    secret: str | None = field(default=None, repr=False)
    variable: str | None = None
    why: str | None = None


def choose(application: Application, scope: ScopeName, gateway: Gateway, wish: Wish) -> Choice:
    """The connection to write. Raises `UsageError` for what the program cannot do or a project's file must not hold."""
    _check(wish)
    kind, why = (wish.kind, None) if wish.kind else _kind(application, scope, gateway, wish)
    if not can(application, kind):
        raise UsageError(
            f"{application.name} takes no servers by {'URL' if kind == 'http' else 'command'}",
            hint=f"leave `--{kind}` away",
        )
    if kind == "stdio":
        return Choice(gateway.there if scope == "project" else gateway.here, why=why)
    url = _url(application, gateway, wish)
    if gateway.open:
        return Choice(Http(url), why=why)
    if not takes_token(application):
        if not application.writable:
            return Choice(Http(url), why="it cannot send the token that this gateway asks for")
        raise UsageError(
            f"{application.name} cannot send a token, which this gateway asks for", hint="use `--stdio` instead"
        )
    if scope == "project" or wish.reference:
        return _by_reference(application, scope, url, wish.variable or application.variable or VARIABLE, why)
    token = gateway.token()
    return Choice(Http(url, f"Bearer {token}"), secret=token, why=why)


def can_refer(application: Application, scope: ScopeName) -> bool:
    """Whether an entry can hold a reference to the token instead of the token."""
    return application.by_variable is not None or application.reference_to(VARIABLE, "header", scope) is not None


def _check(wish: Wish) -> None:
    if wish.variable is not None and not _VARIABLE_NAME.fullmatch(wish.variable):
        raise UsageError(f"`{wish.variable}` is no name of a variable", hint="letters, digits and `_`")
    if wish.host is not None and not _HOST.fullmatch(wish.host):
        raise UsageError(f"`{wish.host}` is no host name", hint="such as `host.docker.internal`")


def _kind(application: Application, scope: ScopeName, gateway: Gateway, wish: Wish) -> tuple[Kind, str | None]:
    if not can(application, "stdio"):
        return "http", None
    if not can(application, "http") or application.prefer == "stdio":
        return "stdio", None
    if not gateway.open and not takes_token(application):
        return "stdio", "it cannot send a token"
    if (scope == "project" or wish.reference) and not gateway.open and not can_refer(application, scope):
        return "stdio", "its files cannot refer to a token"
    if scope == "project" and not gateway.fixed:
        return "stdio", "the port differs from machine to machine: `gateway.port` would fix it"
    return "http", None


def _url(application: Application, gateway: Gateway, wish: Wish) -> str:
    if gateway.endpoint is None:
        raise UsageError(
            "the project was never up, so its port is not chosen yet",
            hint="run `mcp-compose up -d` once, or set `gateway.port`, or use `--stdio`",
        )
    host = wish.host or application.host
    if host is None:
        return gateway.endpoint
    parts = urlsplit(gateway.endpoint)
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}"))


def _by_reference(application: Application, scope: ScopeName, url: str, variable: str, why: str | None) -> Choice:
    if application.by_variable is not None:
        return Choice(Http(url, variable=variable), variable=variable, why=why)
    form = application.reference_to(variable, "header", scope)
    if form is None:
        raise UsageError(
            f"the {scope} file of {application.name} cannot refer to a token"
            + (", and a project's file gets no token itself" if scope == "project" else ""),
            hint="use `--stdio`" + ("" if scope == "user" else ", or `--scope user`"),
        )
    return Choice(Http(url, f"Bearer {form}"), variable=variable, why=why)
