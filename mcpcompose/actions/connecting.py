"""What `client connect` was asked for, made into a target, a choice and the steps that come after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mcpcompose.actions.connections import Plan, Target, folder_of, machine_of, plan_connect
from mcpcompose.actions.endpoint import gateway_of
from mcpcompose.actions.locate import Place, absolute
from mcpcompose.auth.tokens import DEFAULT_CLIENT, DEFAULT_PROFILE
from mcpcompose.clients import edit, write
from mcpcompose.clients.choice import VARIABLE, Choice, Gateway, Wish, choose
from mcpcompose.clients.entries import Http, default_name, good_name
from mcpcompose.clients.parts import snippet
from mcpcompose.clients.places import file_of
from mcpcompose.clients.registry import Application, ScopeName, find, named
from mcpcompose.clients.write_diff import diff
from mcpcompose.errors import UsageError
from mcpcompose.paths import private_folder

if TYPE_CHECKING:
    from mcpcompose.spec.project import Project

_RELOAD: Final = {
    "watch": "{name} picks it up by itself",
    "refresh": "refresh the MCP servers in {name}",
    "session": "start a new session of {name}",
    "restart": "restart {name}",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One command line. *client* is the file's client whose token is wanted, *into* the file to write."""

    name: str
    scope: ScopeName | None = None
    wish: Wish = field(default_factory=Wish)
    client: str | None = None
    profile: str | None = None
    entry: str | None = None
    into: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """The file's client that a program is: *missing* when the file has none for it, so that it is the default one."""

    name: str
    profile: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Connecting:
    """Everything that is known before anything is written. *plan* is None for what can only be pasted."""

    application: Application
    scope: ScopeName
    member: Member
    choice: Choice
    name: str
    paste: str
    plan: Plan | None
    steps: tuple[str, ...]


def application_of(project: Project, name: str) -> Application:
    """The program that *name* names: its own, or that of a client of the file."""
    if (found := find(name)) is not None or name not in project.clients:
        return found or named(name)
    raise UsageError(
        f"`{name}` is a client of the file, but no client application that is known",
        hint=f"name the application: `mcp-compose client connect APPLICATION --as {name}`",
    )


def member_of(project: Project, application: Application, asked: Asked) -> Member:
    """The file's client for *application*. Raises `UsageError` when what was asked for contradicts the file."""
    if asked.profile is not None and asked.profile not in project.profiles:
        known = ", ".join(f"`{name}`" for name in project.profiles)
        raise UsageError(f"there is no profile `{asked.profile}`", hint=f"profiles of this project: {known}")
    member = _found(project, application, asked.client)
    if asked.profile in {None, member.profile} and not (asked.profile and member.missing and asked.client is None):
        return member
    if member.missing and asked.client is None:
        return Member(application.id, str(asked.profile), missing=True)
    raise UsageError(
        f"the client `{member.name}` of the file has the profile `{member.profile}`",
        hint=f"change `clients.{member.name}.profile`, or choose another client with `--as`",
    )


def prepare(place: Place, project: Project, asked: Asked, member: Member | None = None) -> Connecting:
    """Work out all of it. Raises whatever stands against it, before anything is written."""
    application = application_of(project, asked.name)
    member = member or member_of(project, application, asked)
    scope = _scope(application, asked.scope)
    token_of = DEFAULT_CLIENT if member.missing else member.name
    gateway = gateway_of(place, project, token_of)
    choice = choose(application, scope, gateway, asked.wish)
    name = good_name(application, asked.entry or default_name(place.name))
    writes = application.scopes[scope].writable if scope in application.scopes else False
    plan, paste = None, ""
    if not writes:
        choice = _without_token(application, scope, gateway, asked.wish)
        paste = snippet(application, name, choice, str(place.directory), scope)
    else:
        target = _target(place, application, scope, asked)
        about = {"client": token_of, "kind": choice.connection.kind, "url": _url(choice)}
        plan = plan_connect(place, target, name, choice, about, force=asked.force)
    steps = _steps(application, scope, choice, project=project, name=name, client=token_of)
    return Connecting(application, scope, member, choice, name, paste, plan, steps)


def addition(place: Place, member: Member) -> tuple[Path, str]:
    """The file, and the diff that adds *member* to its clients."""
    state = write.load(place.files[0])
    return place.files[0], diff(state.text, _with_member(state.text, member), str(place.files[0]))


def add(place: Place, member: Member) -> None:
    """Add *member* to the clients of the file."""
    backups = private_folder(private_folder(place.paths.state) / folder_of(place).name) / "backups"
    write.change(place.files[0], lambda state: _with_member(state.text, member), backups)


def placeholder(application: Application, scope: ScopeName, wish: Wish) -> str:
    """What stands for the token where it is not shown."""
    variable = wish.variable or application.variable or VARIABLE
    return application.reference_to(variable, "header", scope) or f"${{{variable}}}"


def _with_member(text: str, member: Member) -> str:
    return edit.put("yaml", text, ("clients",), member.name, {"profile": member.profile})


def _found(project: Project, application: Application, asked: str | None) -> Member:
    if asked is not None and asked != DEFAULT_CLIENT and asked not in project.clients:
        known = ", ".join(f"`{name}`" for name in [*project.clients, DEFAULT_CLIENT])
        raise UsageError(f"there is no client `{asked}`", hint=f"clients of this project: {known}")
    names = (asked,) if asked is not None else (application.id, *application.aliases)
    for name in names:
        if name in project.clients:
            return Member(name, project.clients[name].profile)
    return Member(DEFAULT_CLIENT, DEFAULT_PROFILE, missing=asked is None)


def _scope(application: Application, asked: ScopeName | None) -> ScopeName:
    scopes = application.scopes
    if asked is not None:
        if scopes and asked not in scopes:
            known = ", ".join(f"`{name}`" for name in scopes)
            raise UsageError(f"{application.name} has no {asked} file", hint=f"it has: {known}")
        return asked
    return "user" if "user" in scopes or not scopes else next(iter(scopes))


def _target(place: Place, application: Application, scope: ScopeName, asked: Asked) -> Target:
    found = application.scopes[scope]
    if asked.into is not None:
        return Target(application, found, absolute(place.options.directory, asked.into), place.directory)
    return Target(application, found, file_of(application, found, machine_of(place)), place.directory)


def _without_token(application: Application, scope: ScopeName, gateway: Gateway, wish: Wish) -> Choice:
    """The same choice with a placeholder where the token would be."""
    text = placeholder(application, scope, wish)
    choice = choose(application, scope, replace(gateway, token=lambda: text), wish)
    return replace(choice, secret=None, variable=choice.variable or wish.variable or application.variable or VARIABLE)


def _url(choice: Choice) -> str | None:
    return choice.connection.url if isinstance(choice.connection, Http) else None


def _steps(
    application: Application, scope: ScopeName, choice: Choice, *, project: Project, name: str, client: str
) -> tuple[str, ...]:
    found = application.scopes.get(scope)
    reload = _RELOAD.get(application.reload)
    steps = [*application.steps]
    steps += [reload.format(name=application.name)] if reload and found is not None and found.writable else []
    steps += [found.next.replace("@name", name)] if found is not None and found.next else []
    steps += _token_steps(application, choice, client)
    if choice.connection.kind == "stdio" and scope == "project":
        steps.append("everybody needs `mcp-compose` on the PATH that the program sees")
    if isinstance(choice.connection, Http):
        steps += _host_steps(project, choice.connection.url)
    return tuple(steps)


def _token_steps(application: Application, choice: Choice, client: str) -> list[str]:
    if choice.variable is None:
        return []
    printed = f"`mcp-compose client config {client} --token` prints it"
    if application.inputs:
        return [f"it asks for the token once: {printed}"]
    return [f"`{choice.variable}` must hold the token in its environment: {printed}"]


def _host_steps(project: Project, url: str) -> list[str]:
    host = urlsplit(url).hostname or ""
    if host in {"127.0.0.1", "localhost", "::1"} or host in project.gateway.allowed_hosts:
        return []
    return [f"allow that address in the file: `gateway: {{allowed_hosts: [{host}]}}`"]


def as_json(one: Connecting) -> dict[str, Any]:
    """What `connect` tells programs."""
    return {
        "application": one.application.id,
        "name": one.name,
        "scope": one.scope,
        "client": one.member.name if not one.member.missing else DEFAULT_CLIENT,
        "profile": one.member.profile,
        "kind": one.choice.connection.kind,
        "url": _url(one.choice),
        "variable": one.choice.variable,
        "file": str(one.plan.target.file) if one.plan is not None else None,
        "changes": one.plan.changes if one.plan is not None else False,
        "diff": one.plan.shown if one.plan is not None else None,
        "paste": one.paste if one.plan is None else None,
        "why": one.choice.why,
        "steps": list(one.steps),
    }
