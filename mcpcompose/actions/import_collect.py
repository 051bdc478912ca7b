"""Which source an import means: a client application by its name, Docker's folder, or a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcpcompose.actions.locate import absolute
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from mcpcompose.actions.options import Options
    from mcpcompose.clients.import_entry import Entry
    from mcpcompose.clients.import_sources import Collected
    from mcpcompose.clients.registry import ScopeName

_DOCKER: Final = frozenset({"docker-mcp", "docker"})
_TOKEN: Final = "mcpc_"  # noqa: S105  how every token of ours begins
_VARIABLE: Final = "MCP_COMPOSE_TOKEN"
_SUFFIXES: Final = frozenset({".json", ".jsonc", ".json5", ".yaml", ".yml", ".toml"})


def collect(options: Options, source: str, only: Sequence[str], scope: ScopeName | None) -> Collected:
    """The servers of *source*, without the entries that clients have for gateways of ours. Raises `UsageError`."""
    from mcpcompose.actions.record import records

    found = _collected(options, source, only, scope)
    ours = [record.endpoint for _, record in records(options.environ) if record.endpoint]
    own = [entry for entry in found.entries if _is_own(entry, ours)]
    if not own:
        return found
    kept = tuple(entry for entry in found.entries if entry not in own)
    left_out = tuple((entry.name, "it is `mcp-compose` itself") for entry in own)
    return replace(found, entries=kept, left_out=(*found.left_out, *left_out))


def _is_own(entry: Entry, endpoints: Sequence[str]) -> bool:
    """An entry that `client connect` wrote: by where it leads, or by its token."""
    if entry.url is None:
        return False
    base = [endpoint.removesuffix("/mcp") for endpoint in endpoints]
    leads_here = any(entry.url == one or entry.url.startswith(f"{one}/") for one in base)
    texts = (*entry.headers.values(), entry.bearer or "")
    return leads_here or any(_TOKEN in text or _VARIABLE in text for text in texts)


def _collected(options: Options, source: str, only: Sequence[str], scope: ScopeName | None) -> Collected:
    if source in _DOCKER:
        from mcpcompose.clients.import_docker import from_folder

        return from_folder(options.home / ".docker" / "mcp")
    path = _path(options, source)
    if path is not None:
        return _from_path(path, only)
    from mcpcompose.clients.import_sources import from_client
    from mcpcompose.clients.places import Machine
    from mcpcompose.clients.registry import named

    return from_client(named(source), Machine(options.home, options.environ, options.directory), scope)


def _path(options: Options, source: str) -> Path | None:
    """*source* as a path, when it is one."""
    expanded = str(options.home / source[2:]) if source.startswith("~/") else source
    path = absolute(options.directory, expanded)
    is_written_so = "/" in source or source in {".", "..", "~"} or path.suffix.lower() in _SUFFIXES
    if is_written_so and not path.exists():
        raise UsageError(f"there is no file `{path}`")
    return path if is_written_so else None


def _from_path(path: Path, only: Sequence[str]) -> Collected:
    from mcpcompose.clients.import_docker import from_catalog, from_folder, from_profile, is_catalog, is_profile
    from mcpcompose.clients.import_sources import from_value, read_file

    if path.is_dir():
        return from_folder(path)
    root = read_file(path)
    if is_catalog(root):
        return from_catalog(root, path, only)
    if is_profile(root):
        return from_profile(root, path)
    return from_value(root, path)
