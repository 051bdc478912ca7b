"""
From what a source holds to drafts of servers, all of which load together; nothing is written or started.

A value that was found to be a secret is one wherever else it stands: everything is read again until no draft shows one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.clients.import_draft import Draft, draft
from mcpcompose.clients.import_names import server_name
from mcpcompose.clients.import_text import Marks
from mcpcompose.clients.import_vault import Found, Vault
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from mcpcompose.clients.import_paths import Surroundings
    from mcpcompose.clients.import_sources import Collected

MOST: Final = 500
"""Servers that are imported at once without being named."""
_ROUNDS: Final = 8
_SHORTEST: Final = 6
"""Shorter values stand everywhere by chance."""


@dataclass(frozen=True, slots=True)
class Left:
    """A server of the source that is not imported, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Drafts:
    """What an import makes: servers, the secrets that are new, and what is left out."""

    servers: tuple[Draft, ...]
    secrets: tuple[Found, ...] = ()
    left: tuple[Left, ...] = ()
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def drafts(
    source: Collected,
    only: Sequence[str],
    where: Surroundings,
    there: Mapping[str, Sequence[Found]],
) -> Drafts:
    """The servers of *source*, *only* those named if any are. Raises `UsageError` for a name that is not there."""
    _known(source, only)
    if not only and len(source.entries) > MOST:
        raise UsageError(f"{source.title} has {len(source.entries)} servers", hint="name those to import")
    known: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        vault = Vault(there, known)
        made = _once(source, only, where, vault)
        if not (more := _showing(made, vault)):
            return _with_used(made, vault)
        known = (*known, *more)
    vault = Vault(there, known)
    made = _without(_once(source, only, where, vault), vault)
    return _with_used(made, vault)


def _known(source: Collected, only: Sequence[str]) -> None:
    names = {entry.name for entry in source.entries} | {name for name, _ in source.left_out}
    for name in only:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, n=1)
            meant = f", did you mean `{near[0]}`?" if near else ""
            listed = ", ".join(f"`{one}`" for one in sorted(names)[:20])
            raise UsageError(f"{source.title} has no server `{name}`{meant}", hint=f"it has {listed}")


def _once(source: Collected, only: Sequence[str], where: Surroundings, vault: Vault) -> Drafts:
    servers: list[Draft] = []
    left = [Left(name, why) for name, why in source.left_out if not only or name in only]
    for entry in source.entries:
        if only and entry.name not in only:
            continue
        if entry.is_disabled and not only:
            left.append(Left(entry.name, "it is switched off there"))
            continue
        marks = Marks(dollar=source.dollar, passwords=source.passwords)
        name = server_name(entry.name, (one.name for one in servers))
        made = draft(entry, name, vault, where, marks)
        if isinstance(made, str):
            left.append(Left(entry.name, made))
        else:
            servers.append(made)
    return Drafts(tuple(servers), (), tuple(left))


def _showing(made: Drafts, vault: Vault) -> list[str]:
    """The values that some draft shows in the clear."""
    shown = json.dumps([[one.name, one.was, one.keys, one.remarks] for one in made.servers], ensure_ascii=False)
    return [
        value
        for value in vault.values()
        if len(value) >= _SHORTEST and _as_json(value) in shown and value not in vault.known
    ]


def _without(made: Drafts, vault: Vault) -> Drafts:
    """Without the servers that hold a secret where none can be."""
    kept: list[Draft] = []
    left = list(made.left)
    for one in made.servers:
        shown = json.dumps([one.name, one.was, one.keys, one.remarks], ensure_ascii=False)
        if any(len(value) >= _SHORTEST and _as_json(value) in shown for value in vault.values()):
            left.append(Left(one.name, "a secret stands where none can be"))
        else:
            kept.append(one)
    return Drafts(tuple(kept), (), tuple(left))


def _as_json(value: str) -> str:
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)[1:-1]


def _with_used(made: Drafts, vault: Vault) -> Drafts:
    """With the secrets that a server uses."""
    text = json.dumps([one.keys for one in made.servers])
    used = tuple(one for one in vault.found if f'"source": "{one.name}"' in text or f"${{secret:{one.name}}}" in text)
    spoken = tuple(one for one in vault.found if one not in used and _is_told(one, made))
    return Drafts(made.servers, (*used, *spoken), made.left)


def _is_told(one: Found, made: Drafts) -> bool:
    """A remark says where it is."""
    return any(f"`{one.name}`" in remark for server in made.servers for remark in server.remarks)


def as_value(one: Draft) -> dict[str, Any]:
    """The server's keys as plain data."""
    value: dict[str, Any] = json.loads(json.dumps(dict(one.keys)))
    return value
