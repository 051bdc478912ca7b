"""
One server's part of the lists, under exposed names and encoded: made anew only when that server changes. Pure.

Tables that follow each other share fragments, so that a change of one of a hundred servers costs a hundredth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, TypeVar

from mcpcompose.gateway.names import exposed_name
from mcpcompose.gateway.pages import Entry
from mcpcompose.gateway.uris import is_rewritable, rewritten_item, ui_resource
from mcpcompose.spec.server import ToolOverride, Tools
from mcpcompose.upstream.headers import ANNOTATION, Annotations, header_arguments
from mcpcompose.upstream.wire import encode

_ANNOTATION: Final = ANNOTATION.encode()
Item = dict[str, Any]
Out = Callable[[str], str]
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Route:
    """Where an exposed name goes: the server, its own name there, and the arguments that go into headers."""

    server: str
    name: str
    headers: Annotations = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A tool or prompt of a server: *bare* are the names without a prefix that it may be called by."""

    entry: Entry
    route: Route
    bare: tuple[str, ...]
    item: Item
    plain: bool

    def renamed(self, exposed: str) -> Entry:
        """Its entry under another name."""
        return _entry(exposed, self.item, plain=self.plain)


@dataclass(frozen=True)
class NamedFragment:
    """The tools or the prompts of one server; *refused* are those whose annotations break the rules."""

    parts: tuple[Named, ...]
    refused: tuple[str, ...]

    @cached_property
    def routes(self) -> dict[str, Route]:
        """By exposed name."""
        return {part.entry.name: part.route for part in self.parts}

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """In the server's order."""
        return tuple(part.entry for part in self.parts)

    @cached_property
    def bare(self) -> dict[str, Route | None]:
        """By bare name; None for one that two of them have."""
        found: dict[str, Route | None] = {}
        for part in self.parts:
            for name in part.bare:
                found[name] = part.route if name not in found else None
        return found

    @cached_property
    def is_clean(self) -> bool:
        """Whether no two of them have one exposed name."""
        return len(self.routes) == len(self.parts)


@dataclass(frozen=True)
class ResourceFragment:
    """The resources or templates of one server, by exposed URI, each with the server's own."""

    entries: tuple[Entry, ...]
    own: tuple[str, ...]


_Kept = dict[object, tuple[tuple[object, ...], Any]]
"""What was made, and of what, by key."""


class Fragments:
    """What was made for the table of before, and is made for this one."""

    def __init__(self, before: _Kept | None = None) -> None:
        self._before = before or {}
        self._made: _Kept = {}

    def get(self, key: object, of: tuple[object, ...], make: Callable[[], _Made]) -> _Made:
        """What was made under *key* of the very same things, or what is made now."""
        for kept in (self._made, self._before):
            found = kept.get(key)
            if found is not None and all(one is other or one == other for one, other in zip(found[0], of, strict=True)):
                self._made[key] = found
                result: _Made = found[1]
                return result
        result = make()
        self._made[key] = (of, result)
        return result

    def following(self) -> Fragments:
        """For the next table; what this one did not use is forgotten."""
        self._before = {}
        return Fragments(self._made)


def own_uris(resources: Sequence[Item], templates: Sequence[Item], tools: Sequence[Item]) -> frozenset[str]:
    """The URIs and templates of a server that are in the way of another server's same ones."""
    named = (item.get(key) for items, key in ((resources, "uri"), (templates, "uriTemplate")) for item in items)
    shown = (ui_resource(tool) for tool in tools)
    return frozenset(uri for uri in (*named, *shown) if isinstance(uri, str) and is_rewritable(uri))


def tools_fragment(  # noqa: PLR0917  what, by which rules
    server: str,
    tools: Sequence[Item],
    rules: Tools,
    narrowed: Sequence[str] | None,
    prefix: str | None,
    title: str | None,
    out: Out | None,
) -> NamedFragment:
    """
    The tools that `allow`, `deny` and the profile leave; *prefix* is None on the server's own endpoint.

    *title* is what people call the server where several are together.
    """
    parts: list[Named] = []
    refused: list[str] = []
    for tool in _allowed(tools, rules, narrowed):
        own = tool["name"]
        name = own if prefix is None else rules.rename.get(own, own)
        exposed = own if prefix is None else exposed_name(prefix, name)
        item = _titled(_overridden(tool, rules.override.get(own)), title)
        item = item if out is None else rewritten_item(item, out)
        entry = _entry(exposed, item, plain=prefix is None)
        headers = header_arguments(tool.get("inputSchema")) if _ANNOTATION in entry.modern else ()
        if headers is None:
            refused.append(own)
        else:
            bare = (own,) if own == name else (own, name)
            parts.append(Named(entry, Route(server, own, headers), bare, item, prefix is None))
    return NamedFragment(tuple(parts), tuple(refused))


def prompts_fragment(
    server: str, prompts: Sequence[Item], prefix: str | None, title: str | None, out: Out | None
) -> NamedFragment:
    """The prompts; *prefix* is None on the server's own endpoint, *title* what people call the server elsewhere."""
    parts = []
    for prompt in prompts:
        own = prompt.get("name")
        if isinstance(own, str):
            exposed = own if prefix is None else exposed_name(prefix, own)
            item = _titled(prompt, title)
            item = item if out is None else rewritten_item(item, out)
            entry = _entry(exposed, item, plain=prefix is None)
            parts.append(Named(entry, Route(server, own), (own,), item, prefix is None))
    return NamedFragment(tuple(parts), ())


def resources_fragment(resources: Sequence[Item], key: str, out: Out | None) -> ResourceFragment:
    """The resources, or the templates; *key* says where their URI is."""
    entries, own = [], []
    for resource in resources:
        uri = resource.get(key)
        if isinstance(uri, str):
            item = resource if out is None else rewritten_item(resource, out)
            content = encode(item)
            entries.append(Entry(item[key], content, content))
            own.append(uri)
    return ResourceFragment(tuple(entries), tuple(own))


def is_allowed(own: str, rules: Tools, narrowed: Sequence[str] | None) -> bool:
    """Whether the file lets the tool through that its server calls *own*; *narrowed* is what the profile keeps."""
    if _any(own, rules.deny) or (rules.allow is not None and not _any(own, rules.allow)):
        return False
    return narrowed is None or _any(own, narrowed)


def _allowed(tools: Sequence[Item], rules: Tools, narrowed: Sequence[str] | None) -> Iterator[Item]:
    """By the server's own names."""
    for tool in tools:
        own = tool.get("name")
        if isinstance(own, str) and is_allowed(own, rules, narrowed):
            yield tool


def _overridden(tool: Item, said: ToolOverride | None) -> Item:
    """*tool* as the file describes it; a title also takes the place of the older one among its annotations."""
    if said is None:
        return tool
    given = {"title": said.title, "description": said.description}
    changed: Item = {key: text for key, text in given.items() if text is not None}
    notes = tool.get("annotations")
    if "title" in changed and isinstance(notes, Mapping) and "title" in notes:
        changed["annotations"] = {**notes, "title": changed["title"]}
    return {**tool, **changed}


def _titled(item: Item, title: str | None) -> Item:
    """*item* with the server's title before its own: among several servers, `Search` alone says little."""
    own = item.get("title")
    if title is None or not isinstance(own, str) or own == title:
        return item
    return {**item, "title": f"{title}: {own}"}


def _any(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _entry(exposed: str, item: Item, *, plain: bool) -> Entry:
    """
    Modern clients know no `execution`, and among several servers nobody does (tasks of 2025-11-25 have no route).

    Handshake revisions know output schemas of objects only.
    """
    schema = item.get("outputSchema")
    is_odd = schema is not None and not (isinstance(schema, dict) and schema.get("type") == "object")
    named = item if item["name"] == exposed else {**item, "name": exposed}
    modern = encode(
        {key: value for key, value in named.items() if key != "execution"} if "execution" in item else named
    )
    hidden = ({"outputSchema"} if is_odd else set()) | (set() if plain else {"execution"})
    if not is_odd and ("execution" not in item or not plain):
        return Entry(exposed, modern, modern)
    return Entry(exposed, modern, encode({key: value for key, value in named.items() if key not in hidden}))
