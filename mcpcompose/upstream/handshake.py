"""The first words with a server: which era it speaks, and everything it offers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

from mcpcompose.errors import UpstreamError
from mcpcompose.spec.limits import exceeded, size
from mcpcompose.upstream.allowance import UNSAID, Allowance
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call, Origin
from mcpcompose.upstream.connection import Connection, ask, listens, unreachable
from mcpcompose.upstream.wire import (
    DEEPEST,
    HANDSHAKE_VERSIONS,
    MODERN_VERSIONS,
    deeper,
    initialize_params,
)

EraSetting = Literal["auto", "legacy", "modern"]
_PAGES: Final = 200
_GREETING_BYTES: Final = 1 << 20
_PROBE_SECONDS: Final = 10.0
"""How long a server may think about `server/discover`, which it may not know."""

KINDS: Final = {
    "tools": ("tools/list", "tools"),
    "prompts": ("prompts/list", "prompts"),
    "resources": ("resources/list", "resources"),
    "templates": ("resources/templates/list", "resourceTemplates"),
}
"""Our field, by method and member of its result."""
_GREETED: Final = frozenset(
    {"protocolVersion", "supportedVersions", "resultType", "capabilities", "serverInfo", "instructions"}
)
_PAGED: Final = frozenset({"nextCursor", "resultType"})


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server said of itself."""

    era: Era
    version: str
    info: dict[str, Any] | None
    capabilities: dict[str, Any]
    instructions: str | None
    beside: dict[str, Any] = field(default_factory=dict)
    """What else stood in its answer."""


async def greet(
    connection: Connection,
    setting: EraSetting,
    remembered: Era | None = None,
    *,
    origin: Origin | None = None,
    probe: bool = False,
) -> Greeting:
    """
    Find out which era the server speaks and shake hands, as *origin* where the conversation is for one client alone.

    Raises `UpstreamError`. With `auto` the handshake comes first (a probe makes many legacy servers on stdio exit),
    unless *remembered* says that this very server refused it before, or *probe* that trying costs nothing (HTTP,
    basic/versioning of 2026-07-28).
    """
    order: Iterable[Era] = (Era.MODERN, Era.LEGACY) if probe else (Era.LEGACY, Era.MODERN)
    if setting != "auto":
        order = (Era(setting),)
    elif remembered is not None:
        order = (Era.MODERN, Era.LEGACY) if remembered is Era.MODERN else (Era.LEGACY, Era.MODERN)
    refusals: dict[Era, str] = {}
    left = list(order)
    while left:
        unheard = []
        for era in left:
            connection.greeted(era, HANDSHAKE_VERSIONS[-1] if era is Era.LEGACY else MODERN_VERSIONS[-1])
            result = await _first_words(connection, era, refusals, origin, patient=setting != "auto")
            if result is not None:
                return _greeting(connection, era, result)
            if not listens(connection):
                raise UpstreamError("; ".join(refusals.values()))  # it says nothing about the era
            if unreachable(connection) is not None:
                unheard.append(era)
        # One request broken off, the other answered: an engine opens a container's port before anybody listens there.
        left = unheard if len(unheard) < len(left) else []
    raise UpstreamError("; ".join(refusals.values()))


async def _first_words(
    connection: Connection, era: Era, refusals: dict[Era, str], origin: Origin | None, *, patient: bool
) -> dict[str, Any] | None:
    if era is Era.MODERN:
        seconds = None if patient else _PROBE_SECONDS
        call = await ask(connection, "server/discover", {}, seconds=seconds)
        if call.reply is not None and _names_our_version(call.reply.error):
            call = await ask(connection, "server/discover", {}, seconds=seconds)
    else:
        call = await ask(connection, "initialize", initialize_params(origin), seconds=None)
    method, reply = call.method, call.reply
    if reply is None or reply.result is None:
        refusals[era] = f"refused `{method}`: {error_text(reply.error if reply else None)}"
        return None
    if len(reply.result) > _GREETING_BYTES:
        raise UpstreamError(f"answered `{method}` with more than {_GREETING_BYTES} bytes")
    result = _object(reply.result)
    if result is None or deeper(result, DEEPEST):
        raise UpstreamError(f"answered `{method}` with something that is no object, or nested too deeply")
    if era is Era.MODERN and not _common_versions(result):  # some answer whatever they do not know with an empty result
        named = str(result.get("supportedVersions"))[:200]
        refusals[era] = f"speaks protocol versions `{named}`, none of which is known"
        return None
    return result


def _names_our_version(error: bytes | None) -> bool:
    """Whether a server that refuses a version offers one that we speak: then it is asked again (basic/versioning)."""
    fields = _object(error) if error and b"-32022" in error else None
    data = fields.get("data") if fields else None
    supported = data.get("supported") if isinstance(data, dict) else None
    return isinstance(supported, list) and any(version in supported for version in MODERN_VERSIONS)


def _common_versions(result: dict[str, Any]) -> list[str]:
    supported = result.get("supportedVersions")
    return [v for v in MODERN_VERSIONS if isinstance(supported, list) and v in supported]


def _greeting(connection: Connection, era: Era, result: dict[str, Any]) -> Greeting:
    if era is Era.LEGACY:
        version = result.get("protocolVersion")
        if version not in HANDSHAKE_VERSIONS:
            raise UpstreamError(f"speaks protocol version `{str(version)[:40]}`, which is unknown")
        info = result.get("serverInfo")
    else:
        version = _common_versions(result)[-1]
        meta = result.get("_meta")
        info = meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None
    connection.greeted(era, version)
    if era is Era.LEGACY:
        connection.notify("notifications/initialized")
    capabilities = result.get("capabilities")
    instructions = result.get("instructions")
    return Greeting(
        era,
        version,
        info if isinstance(info, dict) else None,
        capabilities if isinstance(capabilities, dict) else {},
        instructions if isinstance(instructions, str) else None,
        {key: value for key, value in result.items() if key not in _GREETED},
    )


async def fetch_lists(
    connection: Connection, greeting: Greeting, *, seconds: float = 30.0, allowance: Allowance | None = None
) -> ServerLists:
    """Everything the server offers, all pages of it. Raises `UpstreamError`."""
    lists = ServerLists(
        instructions=greeting.instructions,
        info=greeting.info,
        capabilities=greeting.capabilities,
        beside={"greeting": greeting.beside},
    )
    for kind in KINDS:
        lists = await fetch_kind(connection, greeting, lists, kind, seconds=seconds, allowance=allowance)
    return lists


async def fetch_kind(
    connection: Connection,
    greeting: Greeting,
    lists: ServerLists,
    kind: str,
    *,
    seconds: float = 30.0,
    allowance: Allowance | None = None,
) -> ServerLists:
    """*lists* with this one read anew."""
    capability = "resources" if kind == "templates" else kind
    if greeting.capabilities.get(capability) is None:
        return _with(lists, kind, (), {})
    method, member = KINDS[kind]
    items, beside = await _all_pages(connection, method, member, seconds, allowance or UNSAID)
    return _with(lists, kind, tuple(items), beside)


def _with(lists: ServerLists, kind: str, items: tuple[dict[str, Any], ...], beside: dict[str, Any]) -> ServerLists:
    changes: dict[str, Any] = {kind: items, "beside": {**(lists.beside or {}), kind: beside}}
    return replace(lists, **changes)


async def _all_pages(
    connection: Connection, method: str, member: str, seconds: float, allowance: Allowance
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The entries of all pages, and what stood beside them."""
    limits = allowance.limits
    items: list[dict[str, Any]] = []
    beside: dict[str, Any] = {}
    cursor: str | None = None
    seen: set[str] = set()
    read = 0
    for _ in range(_PAGES):
        call = await ask(connection, method, {} if cursor is None else {"cursor": cursor}, seconds=seconds)
        reply = call.reply
        if reply is None or reply.result is None:
            if method != "tools/list":  # many servers announce more than they answer
                return items, beside
            raise UpstreamError(f"failed `{method}`: {error_text(reply.error if reply else None)}")
        read += len(reply.result)
        if read > limits.lists:
            raise UpstreamError(exceeded(f"its `{method}` is too large", size(limits.lists), allowance.key("lists")))
        found, cursor, others = _page(reply.result, method, member)
        beside = _together(beside, others) if items else others
        items += found
        if len(items) > limits.items:
            text = exceeded(f"its `{method}` has too many entries", limits.items, allowance.key("items"))
            raise UpstreamError(text)
        if cursor is None:
            return items, beside
        if cursor in seen:
            break
        seen.add(cursor)
    raise UpstreamError(f"its `{method}` does not end (more than {_PAGES} pages, or a cursor twice)")


def _page(data: bytes, method: str, member: str) -> tuple[list[dict[str, Any]], str | None, dict[str, Any]]:
    """One page, the cursor of the next, what stands beside it; what is nested too deeply to be sent on is left out."""
    page = _object(data)
    if page is None:
        raise UpstreamError(f"answered `{method}` with something that cannot be read")
    found, cursor = page.get(member), page.get("nextCursor")
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if deeper(items, DEEPEST):
        items = [item for item in items if not deeper(item, DEEPEST)]
    others = {key: value for key, value in page.items() if key != member and key not in _PAGED}
    return items, cursor if isinstance(cursor, str) else None, {} if deeper(others, DEEPEST) else others


def _together(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """What stands beside two pages: the shorter time, and private if one is."""
    both = {**more, **first}
    times = [page.get("ttlMs") for page in (first, more)]
    if any(page.get("cacheScope") == "private" for page in (first, more)):
        both["cacheScope"] = "private"
    if "ttlMs" in both:
        both["ttlMs"] = min((time for time in times if isinstance(time, int)), default=0) if None not in times else 0
    return both


def subscribe(connection: Connection, greeting: Greeting) -> Call | None:
    """Ask a modern server to say when its lists change."""
    if greeting.era is not Era.MODERN:
        return None
    wanted = {
        f"{kind}ListChanged": True
        for kind in ("tools", "prompts", "resources")
        if isinstance(offer := greeting.capabilities.get(kind), dict) and offer.get("listChanged") is True
    }
    if not wanted:
        return None
    call = Call("subscriptions/listen", {"notifications": wanted}, idle=None, total=None)
    connection.begin(call)
    return call


def error_text(error: bytes | None) -> str:
    """What an error says, for people."""
    fields = _object(error) if error else None
    return str(fields.get("message") or f"code {fields.get('code')}")[:500] if fields else "no answer"


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
