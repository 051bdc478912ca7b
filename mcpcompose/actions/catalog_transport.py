"""Fetch the catalogs that a project declares, and push one to a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.actions.locate import Place
from mcpcompose.actions.options import Options
from mcpcompose.errors import FetchFailed, McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.catalog.kept import Copy, Location

Event = dict[str, Any]
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of one catalog: *state* is `fetched`, `unchanged`, `local` or `failed`."""

    name: str
    source: str
    state: str
    digest: str = ""
    size: int = 0
    reason: str = ""
    hint: str = ""
    is_usable: bool = True
    """Whether there is a copy, of now or of before."""


def pull(place: Place, names: Sequence[str], on_event: Callable[[Event], None]) -> tuple[Pulled, ...]:
    """
    Fetch the catalogs with these *names* (none: all that the project declares) as they are now.

    What cannot be fetched keeps its last good copy. Raises `UsageError` for a name that is not declared.
    """
    from mcpcompose.catalog.source import Local
    from mcpcompose.config.load import catalogs_of

    declared = catalogs_of(place.request())
    for name in names:
        if name not in declared:
            known = ", ".join(f"`{one}`" for one in declared) or "none"
            raise UsageError(f"there is no catalog `{name}`", hint=f"the project declares {known}")
    chosen = {name: where for name, where in declared.items() if not names or name in names}
    local = [Pulled(name, str(where), "local") for name, where in chosen.items() if isinstance(where, Local)]
    away = {name: where for name, where in chosen.items() if not isinstance(where, Local)}
    return (*local, *(asyncio.run(_pulled(place.options, away, on_event)) if away else ()))


async def _pulled(options: Options, away: dict[str, Location], on_event: Callable[[Event], None]) -> tuple[Pulled, ...]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str, location: Location) -> Pulled:
        async with turns:
            return await _one(options, name, location, on_event)

    return tuple(await asyncio.gather(*(one(name, location) for name, location in away.items())))


async def _one(options: Options, name: str, location: Location, on_event: Callable[[Event], None]) -> Pulled:
    from mcpcompose.catalog.copies import Supply
    from mcpcompose.catalog.index import judge
    from mcpcompose.config.catalog_tree import parse_yaml

    supply = Supply(options.environ, options.home)
    step: Event = {"event": "step", "server": name, "text": f"get {location}"}
    on_event({**step, "status": "started"})

    def told(done: int, whole: int | None) -> None:
        text = f"{done >> 10} KiB" if not whole else f"{100 * done // whole} % of {whole >> 10} KiB"
        on_event({"event": "progress", "server": name, "text": text})

    def judged(copy: Copy) -> None:
        judge(copy.data, parse_yaml, copy.kind)

    try:
        copy, changed = await supply.fresh(location, judged, told)
    except McpComposeError as error:
        on_event({**step, "status": "failed", "detail": error.message})
        has_copy = supply.copies.read(location) is not None
        return Pulled(name, str(location), "failed", "", 0, error.message, error.hint or "", has_copy)
    state = "fetched" if changed else "unchanged"
    on_event({**step, "status": "done"})
    return Pulled(name, str(location), state, copy.digest, len(copy.data))


def push(options: Options, file: str, reference: str, on_event: Callable[[Event], None]) -> str:
    """Push the catalog in *file* to *reference*; the artifact's digest. Raises `FetchFailed`, `UsageError`."""
    data = _read(options.directory / file)
    return asyncio.run(_pushed(options, data, Path(file).name, reference, on_event))


async def _pushed(options: Options, data: bytes, title: str, reference: str, on_event: Callable[[Event], None]) -> str:
    from mcpcompose.catalog.copies import Supply
    from mcpcompose.catalog.index import judge
    from mcpcompose.catalog.oci import push as pushed
    from mcpcompose.catalog.reference import parse
    from mcpcompose.config.catalog_tree import parse_yaml

    target = parse(reference)
    kind = judge(data, parse_yaml)
    if kind not in {"own", "docker"}:
        raise UsageError(f"`{title}` is no catalog that is pushed", hint="a catalog is of our format or of Docker's")
    supply = Supply(options.environ, options.home)
    step: Event = {"event": "step", "server": title, "text": f"push to {target}"}
    on_event({**step, "status": "started"})
    try:
        digest = await pushed(
            target, data, "docker" if kind == "docker" else "own", supply.egress, supply.logins, title=title
        )
    except McpComposeError as error:
        on_event({**step, "status": "failed", "detail": error.message})
        raise
    on_event({**step, "status": "done"})
    return digest


def _read(file: Path) -> bytes:
    from mcpcompose.catalog.source import FileSource, Local

    try:
        return FileSource(Local(file)).read().data
    except FetchFailed as error:
        raise UsageError(f"`{file}`: {error.message}") from error


def as_json(pulled: Pulled) -> dict[str, Any]:
    """One catalog as `--format json` prints it."""
    shown: dict[str, Any] = {"name": pulled.name, "source": pulled.source, "state": pulled.state}
    if pulled.digest:
        shown |= {"digest": pulled.digest, "size": pulled.size}
    if pulled.reason:
        shown |= {"reason": pulled.reason, "usable": pulled.is_usable}
    return shown
