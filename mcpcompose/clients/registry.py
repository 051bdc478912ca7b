"""
The client applications that are known, from `data/clients.json`; the data says everything that differs between them.

Read when first asked for. `scripts/client-data` makes the file from `data/clients.yaml`, where the keys are explained.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from mcpcompose.clients.edit_types import Container, Format, Strict
from mcpcompose.errors import UsageError

System = Literal["linux", "darwin", "windows"]
ScopeName = Literal["user", "project", "local"]
Kind = Literal["stdio", "http"]
SYSTEMS: Final[tuple[System, ...]] = ("linux", "darwin", "windows")
SCOPES: Final[tuple[ScopeName, ...]] = ("user", "project", "local")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where one kind of configuration of a program is. *writable* is false for what can only be pasted."""

    name: ScopeName
    paths: Mapping[System, tuple[str, ...]]
    moved_by: Mapping[str, str]
    create: str | None
    makes: bool
    root: Mapping[str, Any]
    key: tuple[str, ...]
    writable: bool
    old: tuple[str, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Variant:
    """Another shape of a program's file: entries are below *key* when there is a mapping at *when*."""

    when: tuple[str, ...]
    key: tuple[str, ...]
    instead_of: Mapping[str, Any]
    has: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Application:
    """One program. *templates* are its entries, *code* what is no file but a piece of a program."""

    id: str
    name: str
    kind: str
    status: str
    aliases: tuple[str, ...]
    docs: str | None
    commands: tuple[str, ...]
    traces: tuple[str, ...]
    format: Format
    comments: Literal["kept", "lost", "refused"]
    trailing_commas: bool
    key: tuple[str, ...]
    list_of: str | None
    scopes: Mapping[ScopeName, Scope]
    templates: Mapping[Kind, Mapping[str, Any]]
    by_variable: Mapping[str, Any] | None
    keep_empty: Mapping[Kind, tuple[str, ...]]
    reference: Mapping[str, str]
    variant: Variant | None
    prefer: Kind | None
    host: str | None
    variable: str | None
    bare_command: bool
    reserved: tuple[str, ...]
    paste: Literal["document", "entry", "list"]
    steps: tuple[str, ...]
    code: Mapping[Kind, str]
    lock: str | None
    reload: str
    note: str | None
    ran: str | None
    asked: str | None
    sure: str
    inputs: bool = field(default=False)

    @property
    def container(self) -> Container:
        """What holds the entries."""
        return "array" if self.list_of else "map"

    @property
    def is_strict(self) -> bool:
        """Whether its files hold no comments."""
        return self.comments == "refused"

    @property
    def strict(self) -> Strict:
        """What its files must not hold."""
        return True if self.is_strict else False if self.trailing_commas else "commas"

    @property
    def writable(self) -> bool:
        """Whether there is a file that can be written at all."""
        return any(scope.writable for scope in self.scopes.values())

    def reference_to(self, variable: str, place: Literal["env", "header"], scope: ScopeName) -> str | None:
        """How *variable* is written in that place; None where it would not be expanded."""
        if self.reference.get("only", scope) != scope or (form := self.reference.get(place)) is None:
            return None
        return form.replace("VAR", input_id(variable) if "{input:" in form else variable)


@cache
def applications() -> Mapping[str, Application]:
    """Every application by its id, in the order of the data."""
    text = files("mcpcompose.clients").joinpath("data", "clients.json").read_text(encoding="utf-8")
    return {name: _application(name, data) for name, data in json.loads(text).items()}


def find(name: str) -> Application | None:
    """The application with this id or other name."""
    known = applications()
    wanted = name.lower()
    return known.get(wanted) or next((one for one in known.values() if wanted in one.aliases), None)


def named(name: str) -> Application:
    """The same; raises `UsageError` with the name that may have been meant."""
    if (found := find(name)) is not None:
        return found
    names = [alias for one in applications().values() for alias in (one.id, *one.aliases)]
    near = get_close_matches(name.lower(), names, n=1)
    meant = f", did you mean `{near[0]}`?" if near else ""
    raise UsageError(
        f"`{name}` is no client application that is known{meant}", hint="`mcp-compose client ls --all` lists them"
    )


def input_id(variable: str) -> str:
    """What VS Code calls the value that it asks for instead of looking at a variable."""
    return variable.lower().replace("_", "-")


def _application(name: str, data: Mapping[str, Any]) -> Application:
    detect = data.get("detect", {})
    key = tuple(data.get("key", ()))
    reference = dict(data.get("reference", {}))
    return Application(
        id=name,
        name=data["name"],
        kind=data["kind"],
        status=data.get("status", "active"),
        aliases=tuple(data.get("aliases", ())),
        docs=data.get("docs"),
        commands=tuple(detect.get("commands", ())),
        traces=tuple(detect.get("paths", ())),
        format=data["format"],
        comments=data.get("comments", "refused"),
        trailing_commas=data.get("trailing_commas", True),
        key=key,
        list_of=data.get("list_of"),
        scopes={one: _scope(one, data["scopes"][one], key) for one in SCOPES if one in data.get("scopes", {})},
        templates=_kinds(data),
        by_variable=data.get("http_by_variable"),
        keep_empty={kind: tuple(kept) for kind, kept in data.get("keep_empty", {}).items()},
        reference=reference,
        variant=_variant(data.get("variant")),
        prefer=data.get("prefer"),
        host=data.get("host"),
        variable=data.get("variable"),
        bare_command=data.get("bare_command", False),
        reserved=tuple(data.get("reserved", ())),
        paste=data.get("paste", "document"),
        steps=tuple(data.get("steps", ())),
        code=data.get("code", {}),
        lock=data.get("lock"),
        reload=data.get("reload", "none"),
        note=data.get("note"),
        ran=data.get("ran"),
        asked=data.get("asked"),
        sure=data["sure"],
        inputs="${input:" in reference.get("header", ""),
    )


def _kinds(data: Mapping[str, Any]) -> Mapping[Kind, Mapping[str, Any]]:
    kinds: Iterable[Kind] = ("stdio", "http")
    return {kind: data[kind] for kind in kinds if kind in data}


def _scope(name: ScopeName, data: Mapping[str, Any], key: tuple[str, ...]) -> Scope:
    paths = data["paths"]
    by_system: Mapping[System, list[str]] = paths if isinstance(paths, dict) else dict.fromkeys(SYSTEMS, paths)
    return Scope(
        name=name,
        paths={system: tuple(found) for system, found in by_system.items()},
        moved_by=data.get("moved_by", {}),
        create=data.get("create"),
        makes="create" not in data or data["create"] is not None,
        root=data.get("root", {}),
        key=tuple(data.get("key", key)),
        writable=data.get("write") != "paste",
        old=tuple(data.get("old", ())),
        next=data.get("next"),
    )


def _variant(data: Mapping[str, Any] | None) -> Variant | None:
    if data is None:
        return None
    return Variant(tuple(data["when"]), tuple(data["key"]), data["instead_of"], data["has"])
