"""
Compile what a project says and what its servers offer into what endpoints serve.

Pure: same input, same table, in the file's order. Nothing here awaits or asks a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from mcpcompose.gateway.names import SEPARATOR, exposed_name, marked
from mcpcompose.gateway.table import EndpointTable, Route, Template
from mcpcompose.spec.project import Profile, Project
from mcpcompose.spec.server import Server
from mcpcompose.upstream.base import ServerLists, readable
from mcpcompose.upstream.headers import ANNOTATION, Annotations, header_arguments
from mcpcompose.upstream.wire import encode, own_info

_VARIABLE: Final = re.compile(r"\{[^{}]*\}")
_INSTRUCTIONS: Final = 16_000
"""Characters of instructions of all servers together."""
_NOTHING: Final = ServerLists()


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """What the gateway works from; endpoints are compiled when first asked for."""

    project: Project | None = None
    lists: Mapping[str, ServerLists] = field(default_factory=dict)
    _made: dict[tuple[str, str | None], EndpointTable | None] = field(default_factory=dict, repr=False, compare=False)

    def endpoint(self, profile: str, server: str | None = None) -> EndpointTable | None:
        """The endpoint of *profile*, or of one *server* in it; None when there is no such thing."""
        key = (profile, server)
        if key not in self._made:
            if self.project is None or profile not in self.project.profiles:
                return None
            if server is not None and server not in self.project.profiles[profile].servers:
                return None
            self._made[key] = compile_endpoint(self.project, self.lists, profile, server)
        return self._made[key]


def compile_table(project: Project, lists: Mapping[str, ServerLists]) -> RoutingTable:
    """The routing table of *project*, with what its servers offer now."""
    return RoutingTable(project, dict(lists))


def compile_endpoint(
    project: Project, lists: Mapping[str, ServerLists], profile_name: str, only: str | None
) -> EndpointTable | None:
    """The endpoint of a profile, prefixed; or of one server of it, not renamed but filtered all the same."""
    profile = project.profiles[profile_name]
    names = tuple(name for name in profile.servers if name in project.servers and only in {None, name})
    if only is not None and not names:
        return None
    offered = {name: lists.get(name, _NOTHING) for name in names}
    prefixes = frozenset(_prefix(name, project.servers[name]) for name in names)
    tools, prompts = _Names(prefixes), _Names(prefixes)
    for name, offer in offered.items():
        server = project.servers[name]
        prefix = "" if only is not None else _prefix(name, server)
        for tool in _allowed(offer.tools, server, profile, name):
            renamed = server.tools.rename.get(tool["name"], tool["name"]) if only is None else tool["name"]
            tools.add(name, tool, prefix, renamed, _annotated(tool), plain=only is not None)
        for prompt in offer.prompts:
            if isinstance(prompt.get("name"), str):
                prompts.add(name, prompt, prefix, prompt["name"], (), plain=only is not None)
    resources, owners, collisions = _resources(offered)
    with_resources = [
        n for n, offer in offered.items() if offer.resources or offer.templates or _has(offer, "resources")
    ]
    return EndpointTable(
        profile=profile_name,
        server=only,
        servers=names,
        tools=tuple(tools.items),
        prompts=tuple(prompts.items),
        resources=resources,
        templates=tuple(
            t for offer in offered.values() for t in offer.templates if isinstance(t.get("uriTemplate"), str)
        ),
        tool_routes=tools.with_bare_names(),
        prompt_routes=prompts.with_bare_names(),
        resource_owners=owners,
        template_owners=_templates(offered),
        only_owner=with_resources[0] if len(with_resources) == 1 else None,
        prefixes={_prefix(name, project.servers[name]): name for name in reversed(names)},
        instructions=_instructions(project, offered, only),
        info=_info(project, offered, only),
        collisions=(*tools.collisions, *prompts.collisions, *collisions),
    )


class _Names:
    """Items under their exposed names; the table goes both ways and no name is ever split."""

    def __init__(self, prefixes: frozenset[str]) -> None:
        self._prefixes = prefixes
        self.items: list[dict[str, Any]] = []
        self.collisions: list[tuple[str, str]] = []
        self._routes: dict[str, Route] = {}
        self._bare: dict[str, list[Route]] = {}

    def add(
        self, server: str, item: dict[str, Any], prefix: str, name: str, headers: Annotations | None, *, plain: bool
    ) -> None:
        original = item["name"]
        if headers is None:
            self._tell(server, f"`{original}` is left out: its `{ANNOTATION}` breaks the rules")
            return
        exposed = name if plain else exposed_name(prefix, name)
        first = self._routes.get(exposed)
        if first is not None and first.server == server and first.name == original:
            return
        borrowed = not (plain or prefix) and exposed.partition(SEPARATOR)[0] in self._prefixes
        if first is not None or borrowed:
            exposed = marked(exposed, f"{server}\0{original}")
            if exposed in self._routes:
                self._tell(server, f"`{original}` is left out: its name is taken")
                return
            why = f"`{first.server}` came first" if first is not None else "that prefix is another server's"
            self._tell(server, f"`{original}` is `{exposed}`: {why}")
        route = Route(server, original, headers)
        self._routes[exposed] = route
        for bare in {original, name}:
            self._bare.setdefault(bare, []).append(route)
        self.items.append({**{k: v for k, v in item.items() if k != "execution"}, "name": exposed})

    def _tell(self, server: str, text: str) -> None:
        self.collisions.append((server, readable(text)))

    def with_bare_names(self) -> dict[str, Route]:
        """Bare names are taken where only one server has them; they are not listed."""
        unique = {bare: routes[0] for bare, routes in self._bare.items() if len(routes) == 1}
        return unique | self._routes


def _prefix(name: str, server: Server) -> str:
    return name if server.prefix is None else server.prefix


def _allowed(tools: Sequence[dict[str, Any]], server: Server, profile: Profile, name: str) -> Iterator[dict[str, Any]]:
    """What `allow`, `deny` and the profile leave, by the server's own names."""
    narrowed = profile.tools.get(name)
    for tool in tools:
        own = tool.get("name")
        if not isinstance(own, str) or _any(own, server.tools.deny):
            continue
        if server.tools.allow is not None and not _any(own, server.tools.allow):
            continue
        if narrowed is None or _any(own, narrowed):
            yield tool


def _any(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _annotated(tool: dict[str, Any]) -> Annotations | None:
    schema = tool.get("inputSchema")
    return header_arguments(schema) if ANNOTATION.encode() in encode(schema) else ()


def _has(offer: ServerLists, capability: str) -> bool:
    return (
        bool(offer.capabilities) and offer.capabilities is not None and offer.capabilities.get(capability) is not None
    )


def _resources(
    offered: Mapping[str, ServerLists],
) -> tuple[tuple[dict[str, Any], ...], dict[str, str], list[tuple[str, str]]]:
    """URIs stay as they are; of two servers with the same one, the first in the profile's order has it."""
    listed: list[dict[str, Any]] = []
    owners: dict[str, str] = {}
    collisions: list[tuple[str, str]] = []
    for name, offer in offered.items():
        for resource in offer.resources:
            uri = resource.get("uri")
            if not isinstance(uri, str):
                continue
            if uri in owners:
                text = f"resource `{uri}` is hidden: `{owners[uri]}` has it too and came first"
                collisions.append((name, readable(text)))
                continue
            owners[uri] = name
            listed.append(resource)
    return tuple(listed), owners, collisions


def _templates(offered: Mapping[str, ServerLists]) -> tuple[Template, ...]:
    found = [
        Template(name, tuple(_VARIABLE.split(template["uriTemplate"])))
        for name, offer in offered.items()
        for template in offer.templates
        if isinstance(template.get("uriTemplate"), str)
    ]
    return tuple(sorted(found, key=lambda template: -sum(map(len, template.literals))))


def _instructions(project: Project, offered: Mapping[str, ServerLists], only: str | None) -> str | None:
    texts = {
        name: text
        for name, offer in offered.items()
        if (text := project.servers[name].instructions or offer.instructions)
    }
    if only is not None:
        return texts.get(only)
    joined = "\n\n".join(f"## {name}\n\n{text[: _INSTRUCTIONS // 4]}" for name, text in texts.items())
    return joined[:_INSTRUCTIONS] or None


def _info(project: Project, offered: Mapping[str, ServerLists], only: str | None) -> dict[str, Any]:
    if only is not None and (info := offered[only].info) and isinstance(info.get("name"), str):
        return {"version": "0", **info}
    return {**own_info(), "title": f"{project.name} (mcp-compose)"}
