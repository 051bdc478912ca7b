"""An entry as it is shown to people and to programs, and how two of them differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcpcompose.catalog.entry import Entry, Secret, kind_of
from mcpcompose.catalog.index import Index
from mcpcompose.catalog.marked import plain


def view(entry: Entry) -> dict[str, Any]:
    """What an entry says, without what it does not say."""
    shown = {
        "name": entry.name.partition("@")[0],
        "version": entry.version,
        "title": entry.title,
        "description": entry.description,
        "note": entry.note,
        "publisher": entry.publisher,
        "license": entry.license,
        "homepage": entry.homepage,
        "icon": entry.icon,
        "tags": list(entry.tags),
        "kind": kind_of(entry.server),
        "server": plain(entry.server),
        "secrets": {one.name: _secret(one) for one in entry.secrets},
        "needs_one_of": list(entry.needs_one_of),
        "config": entry.config,
        "tools": [_said(name=tool.name, description=tool.description) for tool in entry.tools],
        "refused": [_said(message=one.message, line=one.line, hint=one.hint) for one in entry.refusals],
    }
    return {key: value for key, value in shown.items() if value not in ("", [], {}, None)}


def _said(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in ("", None)}


def _secret(one: Secret) -> dict[str, Any]:
    said = {"description": one.description, "env": one.env, "example": one.example, "required": one.is_required}
    if one.env is None and one.is_delivered:
        said["target"] = one.target or one.name
    return _said(**said)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: *before* or *after* is None where it is not there at all."""

    entry: str
    key: str
    before: Any
    after: Any


def differences(before: Index, after: Index) -> Iterator[Change]:
    """How *after* differs from *before*, entry by entry in the order of their names."""
    if before.digest == after.digest:
        return
    for name in sorted({*before.places, *after.places}):
        old, new = before.entry(name), after.entry(name)
        if old is None or new is None:
            yield Change(name, "", view(old) if old is not None else None, view(new) if new is not None else None)
        else:
            yield from _changes(name, "", view(old), view(new))


def _changes(name: str, key: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner in dict.fromkeys((*old, *new)):
            yield from _changes(name, f"{key}.{inner}" if key else str(inner), old.get(inner), new.get(inner))
    elif old != new and not key.endswith(".line"):
        yield Change(name, key, old, new)
