"""What `client config` prints for one application: its own entries, in its own format, and where they belong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from mcpcompose.actions.config import load
from mcpcompose.actions.connecting import Asked, Member, application_of, member_of, placeholder
from mcpcompose.actions.connections import machine_of
from mcpcompose.actions.endpoint import gateway_of
from mcpcompose.actions.locate import Place
from mcpcompose.auth.tokens import DEFAULT_CLIENT
from mcpcompose.clients.choice import Wish, choose
from mcpcompose.clients.entries import can, default_name
from mcpcompose.clients.parts import snippet
from mcpcompose.clients.places import candidates
from mcpcompose.clients.registry import Application, Kind, ScopeName
from mcpcompose.errors import UsageError


def client_of(place: Place, name: str) -> str:
    """The file's client that the program *name* is."""
    project = load(place).project
    member: Member = member_of(project, application_of(project, name), Asked(name))
    return DEFAULT_CLIENT if member.missing else member.name


def snippets(place: Place, application: Application, client: str, *, show_token: bool) -> dict[str, Any]:
    """
    `{id, name, format, files, steps, http, stdio}`: the files by scope, and the entries as text to paste.

    An entry is None where the program has none of the kind, or where the gateway was never up; `why` says so.
    """
    project = load(place).project
    gateway = gateway_of(place, project, client)
    scope: ScopeName = "user" if "user" in application.scopes or not application.scopes else "project"
    made: dict[str, Any] = {"http": None, "stdio": None}
    why: dict[str, str] = {}
    kinds: tuple[Kind, ...] = ("http", "stdio")
    for kind in kinds:
        if not can(application, kind):
            continue
        wish = Wish(kind)
        shown = gateway if show_token else replace(gateway, token=partial(placeholder, application, scope, wish))
        try:
            choice = choose(application, scope, shown, wish)
        except UsageError as error:
            why[kind] = str(error)
            continue
        made[kind] = snippet(application, default_name(place.name), choice, str(place.directory), scope)
    return {
        "id": application.id,
        "name": application.name,
        "format": application.format,
        "files": _files(place, application),
        "steps": list(application.steps),
        **made,
        "why": why,
    }


def _files(place: Place, application: Application) -> dict[str, str]:
    machine = machine_of(place)
    return {
        name: str(found[0])
        for name, scope in application.scopes.items()
        if scope.writable and (found := candidates(scope, machine))
    }
