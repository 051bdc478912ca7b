"""What one endpoint serves: its lists, encoded entry by entry, and where each name and URI goes. Immutable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mcpcompose.gateway import capabilities
from mcpcompose.gateway.fragments import Route
from mcpcompose.gateway.names import SEPARATOR
from mcpcompose.gateway.pages import Beside, Entry, begins_at, cursor, encoded, head
from mcpcompose.gateway.uris import Rewriting
from mcpcompose.upstream.wire import encode

LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "prompts/list": ("prompts", "prompts"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("templates", "resourceTemplates"),
}
"""Our field, and the member of the result, by method."""
CHANGES: Final = {
    "tools": ("tools/list",),
    "prompts": ("prompts/list",),
    "resources": ("resources/list", "resources/templates/list"),
}
"""Which lists a `notifications/<kind>/list_changed` is about."""
_KEPT: Final = 1 << 20
"""Bytes of a whole list that are kept joined; longer ones are joined each time, which is quick."""
_NOTHING: Final = Beside()
_VARIABLE: Final = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A resource template as the literal parts between its variables; matched from left to right in linear time."""

    server: str
    literals: tuple[str, ...]

    @classmethod
    def of(cls, server: str, uri: str) -> Template:
        """A server's template as it is written."""
        return cls(server, tuple(_VARIABLE.split(uri)))

    def matches(self, uri: str) -> bool:
        """Whether *uri* can be made from it."""
        first, *rest = self.literals
        if not rest:
            return uri == first
        if not uri.startswith(first):
            return False
        at = len(first)
        for literal in rest[:-1]:
            found = uri.find(literal, at)
            if found < 0:
                return False
            at = found + len(literal)
        return uri.endswith(rest[-1]) and len(uri) - len(rest[-1]) >= at


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URI that a client named is: the server, and the server's own URI."""

    server: str
    uri: str


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """One endpoint: a profile, or one server of it."""

    profile: str
    server: str | None
    servers: tuple[str, ...]
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """By our field of `LISTS`."""
    beside: Mapping[str, Beside] = field(default_factory=dict)
    """By our field of `LISTS`, and `greeting`."""
    tool_routes: Mapping[str, Route] = field(default_factory=dict)
    prompt_routes: Mapping[str, Route] = field(default_factory=dict)
    resource_owners: Mapping[str, str] = field(default_factory=dict)
    template_owners: tuple[Template, ...] = ()
    template_places: Mapping[str, Place] = field(default_factory=dict)
    """By template as it is listed."""
    rewriting: Mapping[str, Rewriting] = field(default_factory=dict)
    """The servers whose URIs clients see changed, as another server has some of them."""
    closed: tuple[Template, ...] = ()
    """What is withheld of the servers: a resource that is made from it, and from nothing that is listed, is unknown."""
    only_owner: str | None = None
    """The one server that has resources, when it is one: what matches nothing goes there."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Whose names begin with which prefix; empty where nothing is prefixed."""
    said: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    """The capabilities of each server; None of one that was never asked."""
    instructions: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    collisions: tuple[tuple[str, str], ...] = ()
    """What could not be exposed as it is: the server, and a sentence for people."""
    _encoded: dict[tuple[str, bool], bytes] = field(default_factory=dict, repr=False, compare=False)

    # --- lists ------------------------------------------------------------------------------------------------------

    def listed(self, method: str, *, modern: bool) -> bytes:
        """The result of a list method, everything in one page."""
        found = self._encoded.get((method, modern))
        if found is None:
            attribute, member = LISTS[method]
            found = self._page(method, self.entries.get(attribute, ()), member, modern=modern)
            if len(found) <= _KEPT:
                self._encoded[method, modern] = found
        return found

    def page(self, method: str, at: object, most: int | None, *, modern: bool) -> bytes | None:
        """The page that the cursor *at* leads to, of *most* entries; None for a cursor that is not of ours."""
        attribute, member = LISTS[method]
        entries = self.entries.get(attribute, ())
        first = begins_at(at, attribute, entries)
        if first is None:
            return None
        if first == 0 and (most is None or len(entries) <= most):
            return self.listed(method, modern=modern)
        end = len(entries) if most is None else first + most
        rest = {"nextCursor": cursor(attribute, end, entries[end - 1].name)} if end < len(entries) else {}
        return self._page(method, entries[first:end], member, rest, modern=modern)

    def items(self, attribute: str) -> tuple[dict[str, Any], ...]:
        """The entries of a list as a modern client sees them."""
        return tuple(msgspec.json.decode(entry.modern) for entry in self.entries.get(attribute, ()))

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """As a modern client sees them."""
        return self.items("tools")

    @property
    def resources(self) -> tuple[dict[str, Any], ...]:
        """As a modern client sees them."""
        return self.items("resources")

    def _page(
        self, method: str, entries: Iterable[Entry], member: str, rest: Mapping[str, Any] | None = None, *, modern: bool
    ) -> bytes:
        others = head(self.beside.get(LISTS[method][0], _NOTHING), self.info, modern=modern)
        raws: Sequence[bytes] = [entry.modern if modern else entry.handshake for entry in entries]
        return encoded(member, raws, {**others, **(rest or {})})

    # --- what it says of itself -------------------------------------------------------------------------------------

    @property
    def info_json(self) -> bytes:
        """Our `serverInfo` here, as JSON."""
        key = ("info", True)
        if key not in self._encoded:
            self._encoded[key] = encode(self.info)
        return self._encoded[key]

    def capabilities(self, *, modern: bool) -> dict[str, Any]:
        """What can be done here."""
        if self.server is not None:
            return capabilities.of_one(self.said.get(self.server), modern=modern)
        return capabilities.of_all(self.said.values(), modern=modern)

    def greeting(self, *, modern: bool) -> dict[str, Any]:
        """The members of the answer to the first words that are the same every time."""
        others = head(self.beside.get("greeting", _NOTHING), self.info, modern=modern)
        others["capabilities"] = self.capabilities(modern=modern)
        if self.instructions is not None:
            others["instructions"] = self.instructions
        return others

    # --- where things are -------------------------------------------------------------------------------------------

    def named(self, name: str) -> str | None:
        """Whose tool or prompt *name* would be, going by its prefix alone."""
        if self.server is not None:
            return self.server
        own = (prefix for prefix in self.prefixes if prefix and name.startswith(prefix + SEPARATOR))
        longest = max(own, key=len, default=None)
        return None if longest is None else self.prefixes[longest]

    def meant(self, name: str) -> Iterator[tuple[str, str]]:
        """Whose tool or prompt *name* could be: the servers, each with its own name for it."""
        for prefix, server in self.prefixes.items():
            if prefix and self.server is None and name.startswith(prefix + SEPARATOR):
                yield server, name.removeprefix(prefix + SEPARATOR)
        for server in self.servers:
            yield server, name

    def owner(self, uri: str) -> str | None:
        """Whose resource *uri* is."""
        place = self.place(uri)
        return None if place is None else place.server

    def place(self, uri: str, linked: str | None = None) -> Place | None:
        """Where *uri* is: as the lists say, else with the server whose result linked to it, else the only one."""
        found = self.known(uri)
        if found is None:
            server = linked if linked in self.servers else self.only_owner
            found = self._opened(Place(server, uri) if server is not None else None)
        return found

    def known(self, uri: str) -> Place | None:
        """Where *uri* is as the lists say: listed, made from a template (the most particular), or with our mark."""
        server = self.resource_owners.get(uri)
        if server is None:
            server = next((template.server for template in self.template_owners if template.matches(uri)), None)
        if server is None:
            return self._opened(self._marked(uri))
        rewriting = self.rewriting.get(server)
        return Place(server, uri if rewriting is None else rewriting.back(uri))

    def template(self, uri: str) -> Place | None:
        """Where a template, as it is listed, or a URI is."""
        return self.template_places.get(uri) or self.place(uri)

    def _opened(self, place: Place | None) -> Place | None:
        """*place* unless it is withheld."""
        if place is None or not self.closed:
            return place
        shut = any(one.server == place.server and one.matches(place.uri) for one in self.closed)
        return None if shut else place

    def _marked(self, uri: str) -> Place | None:
        """URIs with a server's mark stay good when that server needs none any more."""
        name = uri.partition("+")[0]
        if len(self.servers) > 1 and name in self.servers and self.server is None:
            return Place(name, Rewriting(name).back(uri))
        for rewriting in self.rewriting.values():
            own = rewriting.back(uri)
            if own != uri:
                return Place(rewriting.name, own)
        return None
