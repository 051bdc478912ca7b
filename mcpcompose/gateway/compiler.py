"""
Compile what a project says and what its servers offer into what endpoints serve.

Pure: same input, same table, in the file's order. Nothing here awaits or asks a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mcpcompose.gateway.fragments import (
    Fragments,
    Named,
    NamedFragment,
    ResourceFragment,
    Route,
    own_uris,
    prompts_fragment,
    resources_fragment,
    tools_fragment,
)
from mcpcompose.gateway.names import SEPARATOR, marked
from mcpcompose.gateway.pages import Beside, Entry, beside_all, beside_one
from mcpcompose.gateway.table import LISTS, EndpointTable, Place, Template
from mcpcompose.gateway.uris import Rewriting, ui_resource
from mcpcompose.spec.project import Profile, Project
from mcpcompose.spec.server import Server
from mcpcompose.upstream.base import ServerLists, readable
from mcpcompose.upstream.headers import ANNOTATION
from mcpcompose.upstream.wire import own_info

_INSTRUCTIONS: Final = 16_000
"""Characters of instructions of all servers together."""
_NOTHING: Final = ServerLists()


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """What the gateway works from; endpoints are compiled when first asked for."""

    project: Project | None = None
    lists: Mapping[str, ServerLists] = field(default_factory=dict)
    fragments: Fragments = field(default_factory=Fragments, repr=False, compare=False)
    _made: dict[tuple[str, str | None], EndpointTable | None] = field(default_factory=dict, repr=False, compare=False)

    def endpoint(self, profile: str, server: str | None = None) -> EndpointTable | None:
        """The endpoint of *profile*, or of one *server* in it; None when there is no such thing."""
        key = (profile, server)
        if key not in self._made:
            if self.project is None or profile not in self.project.profiles:
                return None
            if server is not None and server not in self.project.profiles[profile].servers:
                return None
            self._made[key] = compile_endpoint(self.project, self.lists, profile, server, self.fragments)
        return self._made[key]


def compile_table(
    project: Project, lists: Mapping[str, ServerLists], before: RoutingTable | None = None
) -> RoutingTable:
    """The routing table of *project*, with what its servers offer now; what is as *before* is not made again."""
    return RoutingTable(project, dict(lists), before.fragments.following() if before is not None else Fragments())


def compile_endpoint(
    project: Project,
    lists: Mapping[str, ServerLists],
    profile_name: str,
    only: str | None,
    fragments: Fragments | None = None,
) -> EndpointTable | None:
    """The endpoint of a profile, prefixed; or of one server of it, not renamed but filtered all the same."""
    profile = project.profiles[profile_name]
    names = tuple(name for name in profile.servers if name in project.servers and only in {None, name})
    if only is not None and not names:
        return None
    offered = {name: lists.get(name, _NOTHING) for name in names}
    parts = _Parts(project, profile_name, profile, only, fragments or Fragments())
    rewriting, marks = parts.rewriting(offered)
    prefixes = frozenset(_prefix(name, project.servers[name]) for name in names)
    tools, prompts = _Names(prefixes), _Names(prefixes)
    resources, templates = _Uris("resource"), _Uris("template")
    for name, offer in offered.items():
        mark = rewriting.get(name)
        prefix = None if only is not None else _prefix(name, project.servers[name])
        tools.add(name, parts.tools(name, offer, prefix, mark), prefix)
        prompts.add(name, parts.prompts(name, offer, prefix, mark), prefix)
        resources.add(name, parts.resources(name, offer, "resources", mark))
        templates.add(name, parts.resources(name, offer, "templates", mark))
    resources.own_shown(offered, rewriting)
    owning = [n for n, offer in offered.items() if offer.resources or offer.templates or _has(offer, "resources")]
    return EndpointTable(
        profile=profile_name,
        server=only,
        servers=names,
        entries={
            "tools": tuple(tools.entries),
            "prompts": tuple(prompts.entries),
            "resources": tuple(resources.entries),
            "templates": tuple(templates.entries),
        },
        beside=_beside(lists, names, only, is_one_for_all=project.gateway.auth == "none"),
        tool_routes=tools.with_bare_names(),
        prompt_routes=prompts.with_bare_names(),
        resource_owners=resources.owners,
        template_owners=_templates(templates.owners),
        template_places={
            uri: Place(name, rewriting[name].back(uri) if name in rewriting else uri)
            for uri, name in templates.owners.items()
        },
        rewriting=rewriting,
        closed=tuple(one for name, offer in offered.items() for one in _templates(dict.fromkeys(offer.closed, name))),
        only_owner=owning[0] if len(owning) == 1 else None,
        prefixes={_prefix(name, project.servers[name]): name for name in reversed(names)},
        said={name: offer.capabilities for name, offer in offered.items()},
        instructions=_instructions(project, offered, only),
        info=_info(project, offered, only),
        collisions=(*tools.collisions, *prompts.collisions, *marks, *resources.collisions, *templates.collisions),
    )


class _Parts:
    """The fragments of one endpoint, made or found."""

    def __init__(
        self, project: Project, profile_name: str, profile: Profile, only: str | None, fragments: Fragments
    ) -> None:
        self._servers = project.servers
        self._profile_name = profile_name
        self._profile = profile
        self._plain = only is not None
        self._fragments = fragments

    def rewriting(self, offered: Mapping[str, ServerLists]) -> tuple[dict[str, Rewriting], list[tuple[str, str]]]:
        """The servers with a URI that one before them has, too; and that said to people."""
        found: dict[str, Rewriting] = {}
        told: list[tuple[str, str]] = []
        taken: dict[str, str] = {}
        for name, offer in offered.items() if len(offered) > 1 else ():
            of = (offer.resources, offer.templates, offer.tools)
            own = self._fragments.get(("uris", name), of, lambda of=of: own_uris(*of))  # type: ignore[misc]
            if taken.keys().isdisjoint(own):
                taken.update(dict.fromkeys(own, name))
            else:
                found[name] = Rewriting(name)
                same = min(taken.keys() & own)
                text = f"its resources have `{name}` in front: `{taken[same]}` has `{same}`, too, and came first"
                told.append((name, readable(text)))
        return found, told

    def tools(self, name: str, offer: ServerLists, prefix: str | None, mark: Rewriting | None) -> NamedFragment:
        """Of one server."""
        rules, narrowed, title = self._servers[name].tools, self._profile.tools.get(name), self._title(name, prefix)
        key = ("tools", name, self._profile_name if narrowed is not None else None, prefix, mark)
        out = mark.out if mark is not None else None
        return self._fragments.get(
            key,
            (offer.tools, rules, narrowed, title),
            lambda: tools_fragment(name, offer.tools, rules, narrowed, prefix, title, out),
        )

    def prompts(self, name: str, offer: ServerLists, prefix: str | None, mark: Rewriting | None) -> NamedFragment:
        """Of one server."""
        out, title = mark.out if mark is not None else None, self._title(name, prefix)
        return self._fragments.get(
            ("prompts", name, prefix, mark),
            (offer.prompts, title),
            lambda: prompts_fragment(name, offer.prompts, prefix, title, out),
        )

    def _title(self, name: str, prefix: str | None) -> str | None:
        """What people call the server, said where several are together; its own endpoint says it of itself."""
        return None if prefix is None else self._servers[name].title

    def resources(
        self, name: str, offer: ServerLists, what: Literal["resources", "templates"], mark: Rewriting | None
    ) -> ResourceFragment:
        """Of one server."""
        items = offer.resources if what == "resources" else offer.templates
        key = "uri" if what == "resources" else "uriTemplate"
        out = mark.out if mark is not None else None
        return self._fragments.get((what, name, mark), (items,), lambda: resources_fragment(items, key, out))


class _Names:
    """Entries under their exposed names; the table goes both ways and no name is ever split."""

    def __init__(self, prefixes: frozenset[str]) -> None:
        self._prefixes = prefixes
        self.entries: list[Entry] = []
        self.collisions: list[tuple[str, str]] = []
        self._routes: dict[str, Route] = {}
        self._bare: dict[str, Route | None] = {}

    def add(self, server: str, fragment: NamedFragment, prefix: str | None) -> None:
        """All of one server, at once where none of its names is in the way of another."""
        for original in fragment.refused:
            self._tell(server, f"`{original}` is left out: its `{ANNOTATION}` breaks the rules")
        if fragment.is_clean and prefix != "" and self._routes.keys().isdisjoint(fragment.routes):
            self._routes.update(fragment.routes)
            self.entries += fragment.entries
            self._add_bare(fragment.bare)
            return
        once: set[str] = set()
        for part in fragment.parts:
            if part.route.name not in once:  # some servers list a tool twice
                once.add(part.route.name)
                self._add_one(server, part, prefix)

    def _add_one(self, server: str, part: Named, prefix: str | None) -> None:
        exposed, entry, route = part.entry.name, part.entry, part.route
        first = self._routes.get(exposed)
        borrowed = prefix == "" and exposed.partition(SEPARATOR)[0] in self._prefixes
        if first is not None or borrowed:
            exposed = self._free(exposed, f"{server}\0{route.name}")
            why = f"`{first.server}` came first" if first is not None else "that prefix is another server's"
            self._tell(server, f"`{route.name}` is `{exposed}`: {why}")
            entry = part.renamed(exposed)
        self._routes[exposed] = route
        self._add_bare(dict.fromkeys(part.bare, route))
        self.entries.append(entry)

    def _free(self, exposed: str, original: str) -> str:
        """A name of its own: where a server made a name of another's digest to hide its tool, more digits are taken."""
        for digits in (6, 12, 24):
            name = marked(exposed, original, digits)
            if name not in self._routes:
                return name
        return marked(exposed, f"{len(self._routes)}\0{original}", 40)

    def _add_bare(self, more: Mapping[str, Route | None]) -> None:
        twice = self._bare.keys() & more.keys()
        self._bare.update(more)
        self._bare.update(dict.fromkeys(twice))

    def _tell(self, server: str, text: str) -> None:
        self.collisions.append((server, readable(text)))

    def with_bare_names(self) -> dict[str, Route]:
        """Bare names are taken where only one server has them; they are not listed."""
        unique = {bare: route for bare, route in self._bare.items() if route is not None}
        return unique | self._routes


class _Uris:
    """Resources or templates; of two servers with the same one that cannot be told apart, the first has it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.entries: list[Entry] = []
        self.owners: dict[str, str] = {}
        self.collisions: list[tuple[str, str]] = []

    def add(self, server: str, fragment: ResourceFragment) -> None:
        """Of one server."""
        for entry in fragment.entries:
            uri = entry.name
            if self.owners.get(uri) == server:
                continue
            if uri in self.owners:
                text = f"{self._what} `{uri}` is hidden: `{self.owners[uri]}` has it too and came first"
                self.collisions.append((server, readable(text)))
                continue
            self.owners[uri] = server
            self.entries.append(entry)

    def own_shown(self, offered: Mapping[str, ServerLists], rewriting: Mapping[str, Rewriting]) -> None:
        """What tools show (MCP Apps) need not be listed to have an owner."""
        for name, offer in offered.items():
            for tool in offer.tools:
                uri = ui_resource(tool) if "_meta" in tool else None
                if uri is not None:
                    self.owners.setdefault(rewriting[name].out(uri) if name in rewriting else uri, name)


def _prefix(name: str, server: Server) -> str:
    return name if server.prefix is None else server.prefix


def _has(offer: ServerLists, capability: str) -> bool:
    return offer.capabilities is not None and offer.capabilities.get(capability) is not None


def _beside(
    lists: Mapping[str, ServerLists], names: Iterable[str], only: str | None, *, is_one_for_all: bool
) -> dict[str, Beside]:
    """
    What stands beside the lists: all that the one server said, or the hints of several together.

    Where tokens say who gets what, no list is public, whatever a server said of it
    (server/utilities/caching of 2026-07-28, security considerations).
    """
    found = _beside_as_said(lists, names, only)
    return found if is_one_for_all else {one: beside.private() for one, beside in found.items()}


def _beside_as_said(lists: Mapping[str, ServerLists], names: Iterable[str], only: str | None) -> dict[str, Beside]:
    fields = [*(attribute for attribute, _ in LISTS.values()), "greeting"]
    if only is not None:
        said = lists[only].beside if only in lists else None
        return {one: beside_one((said or {}).get(one)) for one in fields}

    def offers(offer: ServerLists, kind: str) -> bool:
        return offer.capabilities is None or _has(offer, "resources" if kind == "templates" else kind)

    return {
        one: beside_all(
            [
                (lists[name].beside or {}).get(one) if name in lists else None
                for name in names
                if name not in lists or one == "greeting" or offers(lists[name], one)
            ]
        )
        for one in fields
    }


def _templates(owners: Mapping[str, str]) -> tuple[Template, ...]:
    found = [Template.of(name, uri) for uri, name in owners.items()]
    return tuple(sorted(found, key=lambda template: -sum(map(len, template.literals))))


def _instructions(project: Project, offered: Mapping[str, ServerLists], only: str | None) -> str | None:
    texts = {
        name: text
        for name, offer in offered.items()
        if (text := project.servers[name].instructions or offer.instructions)
    }
    if only is not None:
        return texts.get(only)
    joined = "\n\n".join(
        f"## {_heading(name, project.servers[name])}\n\n{text[: _INSTRUCTIONS // 4]}" for name, text in texts.items()
    )
    return joined[:_INSTRUCTIONS] or None


def _heading(name: str, server: Server) -> str:
    """The server's name is in the names of its tools, so it is always there."""
    return f"{readable(server.title)} ({name})" if server.title else name


def _info(project: Project, offered: Mapping[str, ServerLists], only: str | None) -> dict[str, Any]:
    if only is not None and (info := offered[only].info) and isinstance(info.get("name"), str):
        title = project.servers[only].title
        return {"version": "0", **info, **({"title": title} if title is not None else {})}
    title = project.servers[only].title if only is not None else None
    return {**own_info(), "title": title or f"{project.name} (mcp-compose)"}
