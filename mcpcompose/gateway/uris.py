"""
URIs of resources among several servers: untouched, but for a server whose URIs another one has already. Pure.

Such a server's URIs get its name into their scheme, `name+file:///x`, and `ui://name/x` where clients look for that
scheme; those that clients may fetch by themselves (`https:`) are never changed. Results stay the bytes that came
where nothing in them changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from mcpcompose.upstream.wire import encode, members

_UI: Final = "ui://"
_FETCHED: Final = ("http://", "https://")
_MOST_LINKS: Final = 10_000
_LONGEST_LINK: Final = 4096
_READ_FOR_LINKS: Final = 1 << 20
"""Bytes of a result that is looked through for links, where nothing else is to be done with it."""
_LINK: Final = b'"resource'
"""How the types of links and of embedded resources begin."""
_DECODE_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_DECODE_TEXT: Final = msgspec.json.Decoder(str).decode

Out = Callable[[str], str]
"""A server's own URI as clients see it."""
_Step = Callable[[msgspec.Raw, Out], bytes | None]
"""JSON with other URIs; None when nothing changes."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """The URIs of the server *name*, as clients see them, and back."""

    name: str

    def out(self, uri: str) -> str:
        """What clients see of *uri*, or of a template."""
        if not is_rewritable(uri):
            return uri
        if uri[: len(_UI)].lower() == _UI:
            return f"{uri[: len(_UI)]}{self.name}/{uri[len(_UI) :]}"
        return f"{self.name}+{uri}"

    def back(self, uri: str) -> str:
        """The server's own URI of what a client asks for; what was never changed stays."""
        if uri.startswith(f"{self.name}+"):
            return uri[len(self.name) + 1 :]
        if uri[: len(_UI)].lower() == _UI and uri[len(_UI) :].startswith(f"{self.name}/"):
            return uri[: len(_UI)] + uri[len(_UI) + len(self.name) + 1 :]
        return uri


def is_rewritable(uri: str) -> bool:
    """Whether only servers can read it."""
    return not uri[:8].lower().startswith(_FETCHED)


def ui_resource(item: dict[str, Any]) -> str | None:
    """The resource that shows what a tool does (MCP Apps), in either of its places."""
    meta = item.get("_meta")
    if not isinstance(meta, dict):
        return None
    ui = meta.get("ui")
    found = ui.get("resourceUri") if isinstance(ui, dict) else meta.get("ui/resourceUri")
    return found if isinstance(found, str) else None


def rewritten_item(item: dict[str, Any], out: Out) -> dict[str, Any]:
    """An entry of a list with its URIs as clients see them."""
    changes: dict[str, Any] = {key: out(item[key]) for key in ("uri", "uriTemplate") if isinstance(item.get(key), str)}
    meta = item.get("_meta")
    if isinstance(meta, dict) and (changed := _changed_meta(meta, out)) is not None:
        changes["_meta"] = changed
    return {**item, **changes} if changes else item


def rewritten_result(raw: bytes, out: Out) -> bytes:
    """A result with the URIs of contents, links and embedded resources as clients see them."""
    changed = _result(msgspec.Raw(raw), out)
    return raw if changed is None else changed


def may_have_links(raw: bytes) -> bool:
    """Whether it is worth looking for links in a result."""
    return len(raw) <= _READ_FOR_LINKS and _LINK in raw


class Links:
    """Whose the URIs are that results linked to and no list has; by client, the oldest are forgotten."""

    def __init__(self, most: int = _MOST_LINKS) -> None:
        self._most = most
        self._owners: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._owners)

    def saw(self, client: str, profile: str, uri: str, server: str) -> None:
        """A result of *server* named *uri*."""
        if len(uri) > _LONGEST_LINK:
            return
        key = (client, profile, uri)
        self._owners[key] = server
        self._owners.move_to_end(key)
        if len(self._owners) > self._most:
            self._owners.popitem(last=False)

    def owner(self, client: str, profile: str, uri: str) -> str | None:
        """Who named it to this client last."""
        return self._owners.get((client, profile, uri))


# --- the places of a result that hold URIs ------------------------------------------------------------------------


def _result(raw: msgspec.Raw, out: Out) -> bytes | None:
    return _with(raw, out, _RESULT)


def _with(raw: msgspec.Raw, out: Out, places: dict[str, _Step]) -> bytes | None:
    """An object of which the members in *places* may change."""
    found = members(bytes(raw))
    if found is None:
        return None
    changes = {
        key: msgspec.Raw(changed)
        for key, step in places.items()
        if key in found and (changed := step(found[key], out)) is not None
    }
    return encode({**found, **changes}) if changes else None


def _each(step: _Step) -> _Step:
    def walk(raw: msgspec.Raw, out: Out) -> bytes | None:
        """An array of which the entries may change, or one entry alone."""
        if not bytes(raw).startswith(b"["):
            return step(raw, out)
        try:
            entries = _DECODE_ARRAY(raw)
        except (msgspec.MsgspecError, RecursionError):
            return None
        changed = [step(entry, out) for entry in entries]
        if all(one is None for one in changed):
            return None
        return encode([entry if one is None else msgspec.Raw(one) for entry, one in zip(entries, changed, strict=True)])

    return walk


def _text(raw: msgspec.Raw, out: Out) -> bytes | None:
    try:
        uri = _DECODE_TEXT(raw)
    except msgspec.MsgspecError:
        return None
    changed = out(uri)
    return None if changed == uri else encode(changed)


def _contents(raw: msgspec.Raw, out: Out) -> bytes | None:
    return _with(raw, out, {"uri": _text, "_meta": _meta})


def _block(raw: msgspec.Raw, out: Out) -> bytes | None:
    """A content block: links and embedded resources have URIs, others may hold such."""
    found = members(bytes(raw))
    kind = bytes(found.get("type", b"")) if found is not None else b""
    if kind == b'"resource_link"':
        return _with(raw, out, {"uri": _text, "_meta": _meta})
    if kind == b'"resource"':
        return _with(raw, out, {"resource": _contents, "_meta": _meta})
    return _with(raw, out, {"content": _each(_block)}) if found is not None and "content" in found else None


def _message(raw: msgspec.Raw, out: Out) -> bytes | None:
    return _with(raw, out, {"content": _each(_block)})


def _meta(raw: msgspec.Raw, out: Out) -> bytes | None:
    if b"resourceUri" not in bytes(raw):
        return None
    return _with(raw, out, {"ui": _ui, "ui/resourceUri": _text})


def _ui(raw: msgspec.Raw, out: Out) -> bytes | None:
    return _with(raw, out, {"resourceUri": _text})


def _changed_meta(meta: dict[str, Any], out: Out) -> dict[str, Any] | None:
    changes: dict[str, Any] = {}
    if isinstance(meta.get("ui/resourceUri"), str):
        changes["ui/resourceUri"] = out(meta["ui/resourceUri"])
    ui = meta.get("ui")
    if isinstance(ui, dict) and isinstance(ui.get("resourceUri"), str):
        changes["ui"] = {**ui, "resourceUri": out(ui["resourceUri"])}
    return {**meta, **changes} if changes else None


_RESULT: Final[dict[str, _Step]] = {
    "contents": _each(_contents),
    "content": _each(_block),
    "messages": _each(_message),
    "_meta": _meta,
    "result": _result,
}
