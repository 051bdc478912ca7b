"""The first words with a server: which era it speaks, and everything it offers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from mcpcompose.errors import UpstreamError
from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.call import Call
from mcpcompose.upstream.connection import Connection, ask, unreachable
from mcpcompose.upstream.wire import DEEPEST, HANDSHAKE_VERSIONS, MODERN_VERSIONS, deeper, own_info

EraSetting = Literal["auto", "legacy", "modern"]
_PAGES: Final = 200
_ITEMS: Final = 10_000
_LIST_BYTES: Final = 8 << 20
_GREETING_BYTES: Final = 1 << 20

KINDS: Final = {
    "tools": ("tools/list", "tools"),
    "prompts": ("prompts/list", "prompts"),
    "resources": ("resources/list", "resources"),
    "templates": ("resources/templates/list", "resourceTemplates"),
}
"""Our field, by method and member of its result."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server said of itself."""

    era: Era
    version: str
    info: dict[str, Any] | None
    capabilities: dict[str, Any]
    instructions: str | None


async def greet(connection: Connection, setting: EraSetting, remembered: Era | None = None) -> Greeting:
    """
    Find out which era the server speaks and shake hands. Raises `UpstreamError`.

    With `auto` the handshake comes first (a probe makes many legacy servers exit), unless *remembered* says
    that this very server refused it before.
    """
    order: Iterable[Era] = (Era.LEGACY, Era.MODERN)
    if setting != "auto":
        order = (Era(setting),)
    elif remembered is Era.MODERN:
        order = (Era.MODERN, Era.LEGACY)
    refusals: list[str] = []
    for era in order:
        connection.greeted(era, HANDSHAKE_VERSIONS[-1] if era is Era.LEGACY else MODERN_VERSIONS[-1])
        result = await _first_words(connection, era, refusals)
        if result is not None:
            return _greeting(connection, era, result)
        if unreachable(connection):
            break  # nobody listens yet, which says nothing about the era
    raise UpstreamError("; ".join(refusals))


async def _first_words(connection: Connection, era: Era, refusals: list[str]) -> dict[str, Any] | None:
    method, params = ("server/discover", {}) if era is Era.MODERN else ("initialize", _initialize_params())
    call = await ask(connection, method, params, seconds=None)
    reply = call.reply
    if reply is None or reply.result is None:
        refusals.append(f"refused `{method}`: {error_text(reply.error if reply else None)}")
        return None
    if len(reply.result) > _GREETING_BYTES:
        raise UpstreamError(f"answered `{method}` with more than {_GREETING_BYTES} bytes")
    result = _object(reply.result)
    if result is None or deeper(result, DEEPEST):
        raise UpstreamError(f"answered `{method}` with something that is no object, or nested too deeply")
    return result


def _initialize_params() -> dict[str, Any]:
    return {"protocolVersion": HANDSHAKE_VERSIONS[-1], "capabilities": {}, "clientInfo": own_info()}


def _greeting(connection: Connection, era: Era, result: dict[str, Any]) -> Greeting:
    if era is Era.LEGACY:
        version = result.get("protocolVersion")
        if version not in HANDSHAKE_VERSIONS:
            raise UpstreamError(f"speaks protocol version `{str(version)[:40]}`, which is unknown")
        info = result.get("serverInfo")
    else:
        supported = result.get("supportedVersions")
        common = [v for v in MODERN_VERSIONS if isinstance(supported, list) and v in supported]
        if not common:
            raise UpstreamError(f"speaks protocol versions `{str(supported)[:200]}`, none of which is known")
        version = common[-1]
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
    )


async def fetch_lists(connection: Connection, greeting: Greeting, *, seconds: float = 30.0) -> ServerLists:
    """Everything the server offers, all pages of it. Raises `UpstreamError`."""
    lists = ServerLists(instructions=greeting.instructions, info=greeting.info, capabilities=greeting.capabilities)
    for field in KINDS:
        lists = await fetch_kind(connection, greeting, lists, field, seconds=seconds)
    return lists


async def fetch_kind(
    connection: Connection, greeting: Greeting, lists: ServerLists, field: str, *, seconds: float = 30.0
) -> ServerLists:
    """*lists* with this one read anew."""
    capability = "resources" if field == "templates" else field
    if greeting.capabilities.get(capability) is None:
        return _with(lists, field, ())
    method, member = KINDS[field]
    return _with(lists, field, tuple(await _all_pages(connection, method, member, seconds)))


def _with(lists: ServerLists, field: str, items: tuple[dict[str, Any], ...]) -> ServerLists:
    changes: dict[str, Any] = {field: items}
    return replace(lists, **changes)


async def _all_pages(connection: Connection, method: str, member: str, seconds: float) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str] = set()
    size = 0
    for _ in range(_PAGES):
        call = await ask(connection, method, {} if cursor is None else {"cursor": cursor}, seconds=seconds)
        reply = call.reply
        if reply is None or reply.result is None:
            if method != "tools/list":  # many servers announce more than they answer
                return items
            raise UpstreamError(f"failed `{method}`: {error_text(reply.error if reply else None)}")
        size += len(reply.result)
        if size > _LIST_BYTES:
            raise UpstreamError(f"its `{method}` is larger than {_LIST_BYTES} bytes")
        found, cursor = _page(reply.result, method, member)
        items += found
        if cursor is None:
            return items
        if cursor in seen or len(items) > _ITEMS:
            break
        seen.add(cursor)
    raise UpstreamError(f"its `{method}` does not end (more than {_PAGES} pages, {_ITEMS} entries, or a cursor twice)")


def _page(data: bytes, method: str, member: str) -> tuple[list[dict[str, Any]], str | None]:
    """The entries of one page, and the cursor of the next; what is nested too deeply to be sent on is left out."""
    page = _object(data)
    if page is None:
        raise UpstreamError(f"answered `{method}` with something that cannot be read")
    found, cursor = page.get(member), page.get("nextCursor")
    if isinstance(found, list) and len(found) > _ITEMS:
        raise UpstreamError(f"its `{method}` has more than {_ITEMS} entries")
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if deeper(items, DEEPEST):
        items = [item for item in items if not deeper(item, DEEPEST)]
    return items, cursor if isinstance(cursor, str) else None


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
