"""Fetching for a project that is loaded: what was never fetched, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from mcpcompose.catalog.index import judge
from mcpcompose.catalog.kept import Copies, Copy, Location, Registry
from mcpcompose.catalog.marked import Parse
from mcpcompose.errors import FetchFailed

Wanted = tuple[tuple[str, str | None], ...]


def fetcher(
    environ: Mapping[str, str], home: Path, copies: Copies, parse_yaml: Parse
) -> Callable[[Location, Wanted], None]:
    """What fetches one catalog, or the wanted servers of a registry, and keeps it. Raises `FetchFailed`."""

    def fetch(location: Location, wanted: Wanted) -> None:
        _run(lambda: _fetched(location, wanted, environ, home, copies, parse_yaml))

    return fetch


async def _fetched(  # noqa: PLR0917  all that fetching needs
    location: Location,
    wanted: Wanted,
    environ: Mapping[str, str],
    home: Path,
    copies: Copies,
    parse_yaml: Parse,
) -> None:
    from mcpcompose.catalog.copies import Supply  # noqa: PLC0415  HTTP is only for who fetches
    from mcpcompose.catalog.registry_api import some  # noqa: PLC0415  the same

    def judged(copy: Copy) -> None:
        judge(copy.data, parse_yaml, copy.kind)

    supply = Supply(environ, home, copies)
    if not isinstance(location, Registry):
        await supply.fresh(location, judged)
        return
    made = await some(location.url, wanted, supply.egress, copies.read(location))
    judged(made)
    copies.write(location, made)


def _run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Do *work* on a loop of its own: whoever loads a project may be on one already."""
    import asyncio  # noqa: PLC0415  only where something is fetched
    import threading  # noqa: PLC0415  the same

    failed: list[FetchFailed] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except FetchFailed as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="catalogs")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
