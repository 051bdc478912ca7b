"""
The MCP registry's API, `/v0.1` and the older `/v0`: single servers by name and version, or all of them.

What is kept is one document, `{"servers": […]}` with each server as the registry gave it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from mcpcompose.catalog.https import Egress, Progress, quiet, shown
from mcpcompose.catalog.kept import MAX_BYTES, Copy
from mcpcompose.errors import FetchFailed

REVISIONS: Final = ("v0.1", "v0")
PAGE: Final = 100
MAX_PAGES: Final = 1000
_MAX_PAGE: Final = 8 << 20
_OFFICIAL: Final = "io.modelcontextprotocol.registry/official"
_OK: Final = 200
_ABSENT: Final = frozenset({400, 404, 405, 422})
"""What a registry answers for a way to ask that it does not know, and for what it does not have."""

Item = dict[str, Any]


async def everything(url: str, egress: Egress, before: Copy | None = None, progress: Progress = quiet) -> Copy:
    """
    Every server of the registry at *url* in its newest version, and the versions that *before* holds beside them.

    Raises `FetchFailed`.
    """
    revision = await _revision(url, egress)
    items: list[Item] = []
    size, cursor = 0, ""
    for _ in range(MAX_PAGES):
        asked = {"limit": PAGE, "version": "latest", **({"cursor": cursor} if cursor else {})}
        page = await _asked(f"{url}/{revision}/servers?{urlencode(asked)}", egress)
        if page is None:
            raise FetchFailed(f"`{shown(url)}` does not list its servers")
        found, following = _page(page, url)
        items += found
        size += sum(len(json.dumps(item)) for item in found)
        progress(size, None)
        if size > MAX_BYTES:
            raise FetchFailed(
                f"the servers of `{shown(url)}` are more than {MAX_BYTES >> 20} MiB",
                hint="servers that are used are fetched one by one; search with `mcp-compose catalog search`",
            )
        if not following or following == cursor:
            break
        cursor = following
    else:
        raise FetchFailed(f"`{shown(url)}` lists its servers over more than {MAX_PAGES} pages")
    return _copy([*items, *_known(before)])


async def some(url: str, wanted: Iterable[tuple[str, str | None]], egress: Egress, before: Copy | None = None) -> Copy:
    """*before* with the servers *wanted*, by name and version (None: the newest). Raises `FetchFailed`."""
    found = [await _one(url, name, version, egress) for name, version in wanted]
    return _copy([*found, *_known(before)])


async def search(url: str, words: str, egress: Egress, limit: int = PAGE) -> list[Item]:
    """The servers whose names hold *words*, as the registry finds them. Raises `FetchFailed`."""
    revision = await _revision(url, egress)
    asked = urlencode({"search": words, "limit": limit, "version": "latest"})
    page = await _asked(f"{url}/{revision}/servers?{asked}", egress)
    return _page(page, url)[0] if page is not None else []


async def _one(url: str, name: str, version: str | None, egress: Egress) -> Item:
    path = f"servers/{quote(name, safe='')}/versions/{quote(version or 'latest', safe='')}"
    for revision in REVISIONS:
        answer = await _asked(f"{url}/{revision}/{path}", egress)
        if answer is not None and _is(answer, name, version):
            return answer
    for revision in REVISIONS:  # the first revisions know their servers by number: look for it by name
        page = await _asked(f"{url}/{revision}/servers?{urlencode({'search': name, 'limit': PAGE})}", egress)
        for item in _page(page, url)[0] if page is not None else []:
            if _is(item, name, version):
                return item
    what = f"`{name}` in the version `{version}`" if version else f"`{name}`"
    raise FetchFailed(f"`{shown(url)}` has no server {what}", hint="look for it with `mcp-compose catalog search`")


async def _revision(url: str, egress: Egress) -> str:
    """The newest revision of the API that the registry speaks."""
    for revision in REVISIONS:
        if await _asked(f"{url}/{revision}/servers?limit=1", egress) is not None:
            return revision
    raise FetchFailed(f"`{shown(url)}` does not speak the MCP registry API", hint="check the address")


async def _asked(url: str, egress: Egress) -> Item | None:
    """The answer at *url*; None when there is none."""
    answer = await egress.ask("GET", url, headers={"accept": "application/json"}, limit=_MAX_PAGE)
    if answer.status in _ABSENT:
        return None
    if answer.status != _OK:
        raise FetchFailed(f"`{shown(url)}` answered {answer.status}")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(f"`{shown(url)}` answered something that is no JSON") from error
    if not isinstance(found, dict):
        raise FetchFailed(f"`{shown(url)}` answered what no MCP registry answers")
    return found


def _page(page: Mapping[str, Any], url: str) -> tuple[list[Item], str]:
    """The servers of a page, and where the next one begins."""
    servers = page.get("servers")
    if servers is None:
        servers = []
    if not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
        raise FetchFailed(f"`{shown(url)}` answered what no MCP registry answers")
    metadata = page.get("metadata")
    meta = metadata if isinstance(metadata, dict) else {}
    following = meta.get("nextCursor") or meta.get("next_cursor") or ""
    return servers, following if isinstance(following, str) else ""


def _server(item: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = item.get("server")
    return inner if isinstance(inner, dict) else item


def _version(server: Mapping[str, Any]) -> str:
    detail = server.get("version_detail")
    return str(server.get("version") or (detail.get("version") if isinstance(detail, dict) else "") or "")


def _is(item: Mapping[str, Any], name: str, version: str | None) -> bool:
    """The registry answered what it was asked for: nothing else is taken for it."""
    server = _server(item)
    return server.get("name") == name and version in {None, _version(server)}


def _known(before: Copy | None) -> list[Item]:
    """The servers that are kept already; what is not readable is not kept."""
    try:
        servers = json.loads(before.data).get("servers") if before is not None else []
    except (ValueError, AttributeError, RecursionError):
        return []
    return [one for one in servers if isinstance(one, dict)] if isinstance(servers, list) else []


def _copy(items: Iterable[Item]) -> Copy:
    """A document with each version of each server once, the ones that came first winning."""
    kept: dict[tuple[str, str], Item] = {}
    for item in items:
        server = _server(item)
        kept.setdefault((str(server.get("name")), _version(server)), item)
    seen: set[str] = set()
    ordered = []
    for (name, _), item in kept.items():
        ordered.append(item if name not in seen else _not_latest(item))
        if is_latest(item):
            seen.add(name)
    data = json.dumps({"servers": ordered, "metadata": {"count": len(ordered)}}, indent=1, ensure_ascii=False).encode()
    if len(data) > MAX_BYTES:
        raise FetchFailed(f"the servers are more than {MAX_BYTES >> 20} MiB")
    return Copy(data, "", "registry")


def is_latest(item: Mapping[str, Any]) -> bool:
    """Whether the registry says, or does not deny, that this is the newest version."""
    meta = item.get("_meta")
    official = meta.get(_OFFICIAL) if isinstance(meta, dict) else None
    detail = _server(item).get("version_detail")
    for said in (official, detail, item):
        for key in ("isLatest", "is_latest"):
            if isinstance(said, dict) and key in said:
                return bool(said[key])
    return True


def _not_latest(item: Item) -> Item:
    """*item*, of which a newer version is known by now."""
    meta = item.get("_meta")
    official = meta.get(_OFFICIAL) if isinstance(meta, dict) else None
    if not isinstance(official, dict) or not isinstance(meta, dict):
        return {**item, "isLatest": False}
    changed = {**official, "isLatest": False}
    return {**item, "_meta": {**meta, _OFFICIAL: changed}}
