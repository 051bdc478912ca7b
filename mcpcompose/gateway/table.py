"""What one endpoint serves: its lists, encoded once when first asked for, and where each name goes. Immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcpcompose.gateway.names import SEPARATOR
from mcpcompose.upstream.headers import Annotations
from mcpcompose.upstream.wire import META_SERVER, encode

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


@dataclass(frozen=True, slots=True)
class Route:
    """Where an exposed name goes: the server, its own name there, and the arguments that go into headers."""

    server: str
    name: str
    headers: Annotations = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A resource template as the literal parts between its variables; matched from left to right in linear time."""

    server: str
    literals: tuple[str, ...]

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
class EndpointTable:
    """One endpoint: a profile, or one server of it."""

    profile: str
    server: str | None
    servers: tuple[str, ...]
    tools: tuple[dict[str, Any], ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    templates: tuple[dict[str, Any], ...] = ()
    tool_routes: Mapping[str, Route] = field(default_factory=dict)
    prompt_routes: Mapping[str, Route] = field(default_factory=dict)
    resource_owners: Mapping[str, str] = field(default_factory=dict)
    template_owners: tuple[Template, ...] = ()
    only_owner: str | None = None
    """The one server that has resources, when it is one: what matches nothing goes there."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Whose names begin with which prefix; empty where nothing is prefixed."""
    instructions: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    collisions: tuple[tuple[str, str], ...] = ()
    """What could not be exposed as it is: the server, and a sentence for people."""
    _encoded: dict[tuple[str, bool], bytes] = field(default_factory=dict, repr=False, compare=False)

    def listed(self, method: str, *, modern: bool) -> bytes:
        """The result of a list method."""
        key = (method, modern)
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = self._encode(method, modern=modern)
        return found

    @property
    def info_json(self) -> bytes:
        """Our `serverInfo` here, as JSON."""
        key = ("info", True)
        if key not in self._encoded:
            self._encoded[key] = encode(self.info)
        return self._encoded[key]

    def named(self, name: str) -> str | None:
        """Whose tool or prompt *name* would be, going by its prefix alone."""
        if self.server is not None:
            return self.server
        own = (prefix for prefix in self.prefixes if prefix and name.startswith(prefix + SEPARATOR))
        longest = max(own, key=len, default=None)
        return None if longest is None else self.prefixes[longest]

    def owner(self, uri: str) -> str | None:
        """Whose resource *uri* is: listed, made from a template (the most particular), or of the only one with any."""
        found = self.resource_owners.get(uri)
        if found is not None:
            return found
        return next((template.server for template in self.template_owners if template.matches(uri)), self.only_owner)

    def _encode(self, method: str, *, modern: bool) -> bytes:
        attribute, member = LISTS[method]
        items = getattr(self, attribute)
        if not modern:
            return encode({member: [_for_handshake(item) for item in items] if attribute == "tools" else items})
        return encode(
            {
                "resultType": "complete",
                member: items,
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {META_SERVER: self.info},
            }
        )


def _for_handshake(tool: dict[str, Any]) -> dict[str, Any]:
    """Handshake revisions know output schemas of objects only."""
    schema = tool.get("outputSchema")
    if schema is None or (isinstance(schema, dict) and schema.get("type") == "object"):
        return tool
    return {key: value for key, value in tool.items() if key != "outputSchema"}
