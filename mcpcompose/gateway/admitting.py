"""
Whether a call that waited is still about something that its server offers: lists change while a call waits.

Pure. Calls wait for a server to start, for a person's answer, for an interceptor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from mcpcompose.gateway.table import Template
from mcpcompose.upstream.base import ServerLists

_URIS: Final = frozenset({"resources/read", "resources/subscribe"})


def about(offered: ServerLists, method: str, params: Mapping[str, Any]) -> ServerLists:
    """What of *offered* a call is about."""
    kind, name = _subject(method, params)
    return replace(
        offered,
        tools=tuple(one for one in offered.tools if kind == "tool" and one.get("name") == name),
        prompts=tuple(one for one in offered.prompts if kind == "prompt" and one.get("name") == name),
        templates=offered.templates if kind == "uri" else (),
        instructions=None,
    )


def is_offered(kept: ServerLists, method: str, params: Mapping[str, Any]) -> bool:
    """Whether a call is about something of *kept*, or about nothing that can be withheld."""
    kind, name = _subject(method, params)
    if kind == "tool":
        return any(one.get("name") == name for one in kept.tools)
    if kind == "prompt":
        return any(one.get("name") == name for one in kept.prompts)
    if kind != "uri" or not isinstance(name, str):
        return True
    if any(one.get("uri") == name for one in kept.resources):
        return True
    open_ones = (uri for one in kept.templates if isinstance(uri := one.get("uriTemplate"), str))
    if any(name == uri or _template(uri).matches(name) for uri in open_ones):
        return True
    return not any(name == uri or _template(uri).matches(name) for uri in kept.closed)


@lru_cache(maxsize=2048)
def _template(uri: str) -> Template:
    """Taken apart once, not in every call: a server may have a thousand."""
    return Template.of("", uri)


def _subject(method: str, params: Mapping[str, Any]) -> tuple[str, Any]:
    """The kind of what a call is about, and its name or URI."""
    if method == "tools/call":
        return "tool", params.get("name")
    if method == "prompts/get":
        return "prompt", params.get("name")
    if method in _URIS:
        return "uri", params.get("uri")
    ref = params.get("ref")
    if method == "completion/complete" and isinstance(ref, dict):
        return ("prompt", ref.get("name")) if ref.get("type") == "ref/prompt" else ("uri", ref.get("uri"))
    return "", None
