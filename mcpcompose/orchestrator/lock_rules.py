"""
What a lock file accepts now and did not when it was last in force on this machine.

Pure. The file may have come with somebody else's commit: who edits it accepts a changed tool for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcpcompose.orchestrator.forms import HASH_LENGTH, Form, form
from mcpcompose.spec.lockfile import FILE_NAME, KINDS, Lock, LockedImage, LockedServer

LOOSER_LOCK: Final = "looser lock"
_SHOWN: Final = 50


def lock_rules(lock: Lock | None, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What *lock* accepts, by server; of servers that are not in it any more, what it did *before*. None: no lock."""
    if lock is None:
        return None
    if lock.is_provisional:
        return dict(before) if before is not None else None
    return {**(before or {}), **{name: _rule(entry) for name, entry in lock.servers.items()}}


def lock_forms(lock: Lock | None, before: Mapping[str, Any] | None) -> Iterator[Form]:
    """One form for each server of which more is accepted than *before*; none where nothing was locked before."""
    if before is None or (lock is not None and lock.is_provisional):
        return
    if lock is None:
        lines = ["whatever servers are and offer is served as it is: the lock is gone"]
        yield form(LOOSER_LOCK, FILE_NAME, lines, sorted(before), once=True)
        return
    for name, entry in lock.servers.items():
        old, now = before.get(name), _rule(entry)
        if lines := list(_looser(old or {}, now)):
            more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
            yield form(LOOSER_LOCK, name, [*lines[:_SHOWN], *more], [old, now], once=True)


def _rule(entry: LockedServer) -> dict[str, Any]:
    held: dict[str, Any] = {
        kind: {name: _cut(found) for name, found in entry.of(kind).items()} for kind in KINDS if entry.of(kind)
    }
    runner = entry.package.runner if entry.package is not None else None
    image = entry.image or runner
    return {
        "launch": _cut(entry.launch),
        **({"image": _image(image)} if image is not None else {}),
        **({"instructions": _cut(entry.instructions)} if entry.instructions is not None else {}),
        **held,
    }


def _looser(old: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if not old:
        yield "accepts the server"
    if now.get("image") != old.get("image") and "image" in now:
        yield f"accepts image {now['image']}" + (f", was {old['image']}" if "image" in old else "")
    elif old and now["launch"] != old.get("launch"):
        yield "accepts another launch (packages, arguments, names of variables and secrets, mounts, network or URL)"
    for kind in KINDS:
        held = old.get(kind, {})
        for name, found in now.get(kind, {}).items():
            if held.get(name) != found:
                yield f"accepts {'another' if name in held else 'the new'} {kind} {name}"
    if "instructions" in now and now["instructions"] != old.get("instructions"):
        yield "accepts other instructions" if "instructions" in old else "accepts instructions"


def _image(image: LockedImage) -> str:
    return f"{image.ref} {_cut(image.digest or image.id or '')}"


def _cut(digest: str) -> str:
    return digest.removeprefix("sha256:")[:HASH_LENGTH]
