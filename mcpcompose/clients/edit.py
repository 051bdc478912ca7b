"""
Read and edit the configuration files of client applications, as texts. Pure: nothing here touches a file.

What is not ours stays byte for byte: an edit cuts and pastes at one place of the text, and its result is read again
and compared with what was meant before it is given out. *path* leads to the container of the entries; *container*
is `map` (entries by name) or `array` (entries whose field *identifier* is their name). *strict* says what the client
itself refuses: what it cannot read is not edited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, assert_never

from mcpcompose.clients import edit_json, edit_toml
from mcpcompose.clients.edit_merge import leaves, updated
from mcpcompose.clients.edit_spot import Spot, at, depth_of, merged, nested, same
from mcpcompose.clients.edit_types import NULL, Container, EditFailed, Engine, Format, Strict, Undo, Unreadable, Way

__all__ = ["Container", "EditFailed", "Format", "Undo", "Unreadable"]
__all__ += ["entry", "fields", "put", "read", "remove", "undo"]

_WHITE: Final = re.compile(r"\s+")


def read(fmt: Format, text: str, *, strict: Strict = False) -> dict[str, Any]:
    """
    The plain value of *text*; an empty mapping for a blank one.

    Raises `Unreadable`: syntax, duplicate keys, a root that is no mapping.
    """
    return _mapping(_engine(fmt).parse(text, strict=strict))


def entry(  # noqa: PLR0917  the first six say where
    fmt: Format,
    text: str,
    path: tuple[str, ...],
    name: str,
    container: Container = "map",
    identifier: str | None = None,
    *,
    strict: Strict = False,
) -> Any | None:
    """The value of the entry *name*, `NULL` for null; None when there is none. Raises `Unreadable`, `EditFailed`."""
    root = read(fmt, text, strict=strict)
    way = Spot(path, name, container, identifier or "name").way(root)
    if way is None:
        return None
    value = at(root, way)
    return NULL if value is None else value


def fields(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The ways to all that *entry* sets, for the ledger: what `put` may later take away again."""
    return tuple(leaves(entry))


def undo(
    fmt: Format, text: str, path: tuple[str, ...], *, root: Mapping[str, Any] | None = None, strict: Strict = False
) -> Undo:
    """What the first `put` at *path* into *text* will change besides the entry; give it to `remove`."""
    engine = _engine(fmt)
    value = engine.parse(text, strict=strict)
    if value is None:
        return Undo(tuple(path[:length] for length in range(len(path) + 1)), (), text, dict(root or {}))
    depth = depth_of(_mapping(value), path)
    was = None if at(value, path[:depth]) else engine.source(text, path[:depth])
    return Undo(tuple(path[:length] for length in range(depth + 1, len(path) + 1)), path[:depth], was)


def put(
    fmt: Format,
    text: str,
    path: tuple[str, ...],
    name: str,
    entry: Mapping[str, Any],
    *,
    container: Container = "map",
    identifier: str | None = None,
    root: Mapping[str, Any] | None = None,
    owned: Iterable[tuple[str, ...]] = (),
    strict: Strict = False,
) -> str:
    """
    *text* with the entry *name*, added behind the others or updated where it stands.

    An update sets the fields of *entry*, takes away those of *owned* (the `fields` of what we wrote last time) that
    are not in it any more, and keeps the rest, which is the user's. *root* are further keys of a file that was blank.
    Raises `Unreadable`, `EditFailed`.
    """
    engine = _engine(fmt)
    spot = Spot(path, name, container, identifier or "name")
    entry = entry if container == "map" else {spot.identifier: name, **entry}
    value = engine.parse(text, strict=strict)
    before: dict[str, Any] = dict(root or {}) if value is None else _mapping(value)
    way = None if value is None else spot.way(before)
    meant: Any = dict(entry)
    if value is None:
        new = engine.create(text, merged(before, nested(path, spot.held(entry))))
    elif way is None:
        new = _inserted(engine, text, before, spot, entry)
    else:
        new, meant = updated(engine, text, at(before, way), way, entry, owned=tuple(owned))
    if new != text:
        _verify(_again(fmt, new, strict=strict), before, spot, meant)
    return new


def remove(
    fmt: Format,
    text: str,
    path: tuple[str, ...],
    name: str,
    *,
    container: Container = "map",
    identifier: str | None = None,
    undo: Undo | None = None,
    strict: Strict = False,
) -> str:
    """
    *text* without the entry *name*, and without the containers that *undo* says came with it, if nothing else is in
    them. Nothing else changed since that `put` means: the text is what it was before. Without such an entry, *text*.
    Raises `Unreadable`, `EditFailed`.
    """
    engine = _engine(fmt)
    before = read(fmt, text, strict=strict)
    spot = Spot(path, name, container, identifier or "name")
    way = spot.way(before)
    if way is None:
        return text
    undo = undo or Undo()
    gone = _topmost(before, way, undo)
    new = engine.delete(text, gone)
    if undo.was is not None:
        new = _restored(engine, new, undo, strict=strict)
    _verify(_again(fmt, new, strict=strict), before, spot, None, root=None if gone else undo.root)
    return new


def _engine(fmt: Format) -> Engine:
    match fmt:
        case "json" | "jsonc":
            return edit_json
        case "toml":
            return edit_toml
        case "yaml":
            from mcpcompose.clients import edit_yaml  # noqa: PLC0415  its parser takes long to import

            return edit_yaml
        case other:
            assert_never(other)


def _mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("the file must hold a mapping")
    return value


def _inserted(engine: Engine, text: str, root: Any, spot: Spot, entry: Mapping[str, Any]) -> str:
    depth = depth_of(root, spot.path)
    way, missing = spot.path[:depth], spot.path[depth:]
    if at(root, way) is None:
        return engine.replace(text, way, nested(missing, spot.held(entry)))
    if missing:
        return engine.insert(text, way, missing[0], nested(missing[1:], spot.held(entry)))
    return engine.insert(text, way, spot.name if spot.container == "map" else None, entry)


def _topmost(root: Any, way: Way, undo: Undo) -> Way:
    """The entry at *way*, or the outermost container made for it that holds nothing else."""
    while way and way[:-1] in undo.created:
        here = at(root, way[:-1])
        if isinstance(here, dict):
            beside = {key: value for key, value in here.items() if key != way[-1]}
        else:
            beside = dict(enumerate(here[1:]))
        if beside != (undo.root if len(way) == 1 else {}):
            break
        way = way[:-1]
    return way


def _restored(engine: Engine, text: str, undo: Undo, *, strict: Strict) -> str:
    """*text* with what stood in the place of the deepest container, if that is as empty as it was."""
    was = undo.was or ""
    value = engine.parse(text, strict=strict)
    if value is None:
        return was if _squashed(text) == _squashed(was) else text
    try:
        here = at(value, undo.way)
    except (KeyError, TypeError):
        return text
    source = None if here else engine.source(text, undo.way)
    if source is None:
        return text
    now = _squashed(source)
    is_same = now == _squashed(was) or (now in {"{}", "[]"} and not was.lstrip().startswith(("{", "[")))
    return engine.restore(text, undo.way, was) if is_same else text


def _squashed(text: str) -> str:
    return _WHITE.sub("", text)


def _again(fmt: Format, text: str, *, strict: Strict) -> dict[str, Any]:
    """What our own edit reads as; what cannot be read any more was no edit to make."""
    try:
        return read(fmt, text, strict=strict)
    except Unreadable as error:
        raise EditFailed(f"the file cannot be edited safely: {error}") from error


def _verify(after: Any, before: Any, spot: Spot, meant: Any, *, root: Mapping[str, Any] | None = None) -> None:
    """Raise `EditFailed` unless *after* holds *meant* as our entry and the rest of *before*, but for *root*."""
    way = spot.way(after)
    found = None if way is None else at(after, way)
    beside = spot.beside(before)
    rest = spot.beside(after)
    unharmed = beside == rest or repr(beside) == repr(rest) or (not after and beside == dict(root or {}))
    if not unharmed or not same(found, meant):
        raise EditFailed("the file is written in a way that cannot be edited safely")
