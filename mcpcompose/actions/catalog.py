"""The catalogs of a project: what they offer, found, shown and compared."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.errors import FetchFailed, UsageError

if TYPE_CHECKING:
    from mcpcompose.catalog.copies import Supply
    from mcpcompose.catalog.entry import Entry, Summary
    from mcpcompose.catalog.index import Index
    from mcpcompose.catalog.kept import Copies, Location
    from mcpcompose.catalog.source import Local
    from mcpcompose.catalog.view import Change

NEVER_FETCHED = "never fetched"


@dataclass(frozen=True, slots=True)
class Opened:
    """A catalog that a project declares; without an *index*, *problem* says why."""

    name: str
    location: Local | Location
    index: Index | None
    problem: str | None = None
    file: Path | None = None
    lines_before: int = 0


class Catalogs:
    """The catalogs of *place*. *notes* is told what could not be asked."""

    def __init__(self, place: Place) -> None:
        from mcpcompose.catalog.kept import copies_of

        self.notes: list[str] = []
        self._place = place
        self.environ, self._home = place.options.environ, place.options.home
        self._copies = copies_of(self.environ)
        self._declared: dict[str, Local | Location] | None = None

    def declared(self) -> dict[str, Local | Location]:
        """Where the project's catalogs are. Raises `FileProblems`."""
        if self._declared is None:
            from mcpcompose.config.load import catalogs_of

            self._declared = dict(catalogs_of(self._place.request()))
        return self._declared

    def open_all(self) -> list[Opened]:
        """All of them, as they are known here."""
        return [self.open(name) for name in self.declared()]

    def open(self, name: str) -> Opened:
        """One of them. Raises `UsageError` when the project declares no such catalog."""
        location = self._location(name)
        from mcpcompose.catalog.source import source_of

        try:
            fetched = source_of(location, self._copies).read()
        except FetchFailed as error:
            return Opened(name, location, None, error.message)
        if fetched is None:
            return Opened(name, location, None, NEVER_FETCHED)
        return self._indexed(name, location, fetched.data, fetched.file, fetched.lines_before, fetched.kind)

    def _location(self, name: str) -> Local | Location:
        declared = self.declared()
        if name not in declared:
            known = ", ".join(f"`{one}`" for one in declared) or "none"
            raise UsageError(f"there is no catalog `{name}` in this project", hint=f"its catalogs: {known}")
        return declared[name]

    def _indexed(  # noqa: PLR0917  what there is to know of a document
        self, name: str, location: Local | Location, data: bytes, file: Path | None, before: int, kind: str | None
    ) -> Opened:
        from mcpcompose.catalog.index import open_index
        from mcpcompose.catalog.marked import NotReadable
        from mcpcompose.config.catalog_tree import parse_yaml

        try:
            index = open_index(data, self._copies.folder / "indexes", parse_yaml, kind)
        except NotReadable as error:
            return Opened(
                name, location, None, f"{error.message} (line {error.line + before}, column {error.column})", file
            )
        return Opened(name, location, index, None, file, before)

    # --- looking ------------------------------------------------------------------------------------------------------

    def search(self, words: list[str]) -> list[tuple[str, Summary]]:
        """The entries of all catalogs that hold *words*, the best first; registries are asked."""
        from mcpcompose.catalog.ranking import ranked

        return ranked(words, self._offered(words))

    def _offered(self, words: list[str]) -> Iterator[tuple[str, Summary]]:
        from mcpcompose.catalog.kept import Registry

        for opened in self.open_all():
            known: set[str] = set()
            for one in opened.index.summaries() if opened.index is not None else ():
                known.add(one.name)
                yield opened.name, one
            if isinstance(opened.location, Registry):
                for one in self._asked(opened.name, opened.location, words):
                    if one.name not in known:
                        yield opened.name, one
            elif opened.problem is not None:
                self.notes.append(f"catalog `{opened.name}`: {opened.problem}")

    def _asked(self, name: str, location: Location, words: list[str]) -> list[Summary]:
        """What a registry finds for the longest of *words*."""
        import json

        from mcpcompose.catalog.registry_api import search

        try:
            found = asyncio.run(search(str(location).partition(":")[2], max(words, key=len), self._supply().egress))
        except FetchFailed as error:
            self.notes.append(f"catalog `{name}`: {error.message}")
            return []
        data = json.dumps({"servers": found, "metadata": {}}).encode()
        opened = self._indexed(name, location, data, None, 0, "registry")
        if opened.index is None:
            self.notes.append(f"catalog `{name}`: {opened.problem}")
            return []
        return opened.index.summaries()

    def entry(self, text: str) -> tuple[Entry, Opened]:
        """
        The entry that `catalog/entry@version` means; a catalog that was never fetched is fetched.

        Raises `UsageError`, `FetchFailed`.
        """
        from mcpcompose.config.catalog_shelf import reference_parts

        parts = reference_parts(text)
        if parts is None:
            raise UsageError(f"`{text}` is no entry of a catalog", hint="write it as `catalog/entry`")
        catalog, name, version = parts
        opened = self.open(catalog)
        found = opened.index.entry(name, version) if opened.index is not None else None
        if found is None and self._fetch(opened, (name, version)):
            opened = self.open(catalog)
            found = opened.index.entry(name, version) if opened.index is not None else None
        if opened.index is None:
            raise FetchFailed(f"catalog `{catalog}`: {opened.problem}")
        if found is None:
            raise UsageError(
                f"catalog `{catalog}` has no `{name}`" + (f" in the version `{version}`" if version else ""),
                hint=_near(catalog, name, opened.index),
            )
        return found, opened

    def _fetch(self, opened: Opened, wanted: tuple[str, str | None]) -> bool:
        """Whether something could be fetched that was missing."""
        from mcpcompose.catalog.fetching import fetcher
        from mcpcompose.catalog.kept import Registry
        from mcpcompose.catalog.source import Local
        from mcpcompose.config.catalog_tree import parse_yaml

        location = opened.location
        if isinstance(location, Local) or not (opened.problem == NEVER_FETCHED or isinstance(location, Registry)):
            return False
        fetcher(self.environ, self._home, self._copies, parse_yaml)(location, (wanted,))
        return True

    # --- comparing ----------------------------------------------------------------------------------------------------

    def compare(self, before: str, after: str | None) -> list[Change]:
        """
        How the catalog *after* differs from *before*; without it, how what there is now differs from the last copy.

        Both are names of catalogs, or files. Raises `UsageError`, `FetchFailed`.
        """
        from mcpcompose.catalog.view import differences

        old = self._readable(self._named(before))
        new = self._readable(self._named(after)) if after is not None else self._readable(self._fresh(before))
        return list(differences(old, new))

    def _named(self, name: str) -> Opened:
        from mcpcompose.catalog.source import FileSource, Local

        if name in self.declared() or not ("/" in name or name.endswith((".yaml", ".yml", ".json"))):
            return self.open(name)
        location = Local(self._place.options.directory / name)
        read = FileSource(location).read()
        return self._indexed(name, location, read.data, read.file, 0, None)

    def _readable(self, opened: Opened) -> Index:
        if opened.index is None:
            hint = "fetch it with `mcp-compose catalog pull`" if opened.problem == NEVER_FETCHED else None
            raise FetchFailed(f"catalog `{opened.name}`: {opened.problem}", hint=hint)
        return opened.index

    def _fresh(self, name: str) -> Opened:
        """The catalog as it is now, which is not kept."""
        from mcpcompose.catalog.kept import Copies, Registry
        from mcpcompose.catalog.source import Local

        location = self._location(name)
        if isinstance(location, Local):
            raise UsageError(
                f"catalog `{name}` is a file; there is only what it holds", hint="name two catalogs, or another file"
            )
        with tempfile.TemporaryDirectory() as folder:
            copy, _ = asyncio.run(self._supply(Copies(Path(folder))).fresh(location))
        kind = "registry" if isinstance(location, Registry) else copy.kind
        return self._indexed(name, location, copy.data, None, 0, kind)

    def _supply(self, copies: Copies | None = None) -> Supply:
        from mcpcompose.catalog.copies import Supply

        return Supply(self.environ, self._home, copies or self._copies)


def shown(entry: Entry, opened: Opened) -> dict[str, Any]:
    """*entry* for people and programs, with where its catalog is."""
    from mcpcompose.catalog.view import view

    place = f"{opened.file}:{entry.line + opened.lines_before}" if opened.file is not None else str(opened.location)
    return {"from": f"{opened.name}/{entry.name}", "catalog": str(opened.location), "place": place, **view(entry)}


def _near(catalog: str, name: str, index: Index) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, index.names(), n=1)
    versions = index.versions(name)
    if versions:
        return f"known: {', '.join(f'`{one}`' for one in versions[:5])}"
    return f"did you mean `{catalog}/{close[0]}`?" if close else f"look with `mcp-compose catalog search {name}`"
