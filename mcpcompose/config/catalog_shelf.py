"""The catalogs that a project declares, each read when a server is first looked up in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from mcpcompose.catalog.entry import Entry
from mcpcompose.catalog.index import Index, digest_of, open_index
from mcpcompose.catalog.kept import Copies, Location, Registry
from mcpcompose.catalog.marked import NotReadable
from mcpcompose.catalog.source import Fetched, Local, location_of, source_of
from mcpcompose.catalog.view import view
from mcpcompose.config.catalog_tree import Places, data, parse_yaml
from mcpcompose.config.tree import Map, Node, Scalar, scalars
from mcpcompose.config.wording import closest
from mcpcompose.errors import FetchFailed, Position, Problem
from mcpcompose.spec.catalog import CatalogSource

_REFERENCE: Final = re.compile(r"(?P<catalog>[^/@\s]+)/(?P<entry>[^@\s]+)(?:@(?P<version>[^@\s]+))?")

Wanted = tuple[str, str | None]
"""A server of a registry, by name and version."""
Fetch = Callable[[Location, tuple[Wanted, ...]], None]
"""Fetch a catalog that was never fetched, or servers of a registry. Raises `FetchFailed`."""


def reference_parts(text: str) -> tuple[str, str, str | None] | None:
    """The catalog, the entry and the version of `catalog/entry@version`; None when it is none."""
    found = _REFERENCE.fullmatch(text)
    return (found["catalog"], found["entry"], found["version"]) if found is not None else None


class Shelf:
    """
    The catalogs at *node*, the project's `catalogs`. *folder_of*: the folder that paths in a file are relative to.

    *fetch*: used for what was never fetched; without it, nobody is asked. *problems* is added to, *files* holds what
    was read.
    """

    def __init__(  # noqa: PLR0917  what a shelf is made of
        self,
        node: Node | None,
        copies: Copies,
        folder_of: Callable[[Path], Path],
        home: Path,
        problems: list[Problem],
        fetch: Fetch | None = None,
    ) -> None:
        self.problems = problems
        self.files: dict[Path, None] = {}
        self._node = node if isinstance(node, Map) else None
        self._copies, self._folder_of, self._home, self._fetch = copies, folder_of, home, fetch
        self._open: dict[str, tuple[Index, Fetched, Local | Location] | None] = {}
        self._used: dict[str, dict[str, Entry]] = {}

    @property
    def digests(self) -> dict[str, str]:
        """
        What each catalog was read from, of those that were.

        Of a registry, what its entries say that are used: which others were fetched is each machine's own.
        """
        read = {name: found for name, found in self._open.items() if found is not None}
        return {
            name: self._digest_of_used(name) if isinstance(location, Registry) else index.digest
            for name, (index, _, location) in read.items()
        }

    def _digest_of_used(self, catalog: str) -> str:
        used = [view(entry) for _, entry in sorted(self._used.get(catalog, {}).items())]
        return digest_of(json.dumps(used, sort_keys=True, ensure_ascii=True).encode())

    def check(self) -> None:
        """Refuse references in the places of catalogs: no variable is carried away with an address."""
        for _, scalar in scalars(self._node) if self._node is not None else ():
            if "$" in scalar.text:
                hint = "write the address itself: what it holds is asked for before anybody approved it"
                self.problems.append(Problem("the place of a catalog cannot hold a reference", scalar.position, hint))

    def entry(self, text: str, at: Scalar) -> tuple[Entry, Places] | None:
        """The entry that `from: text` means, and where its parts are; None after a problem."""
        parts = reference_parts(text)
        if parts is None:
            self.problems.append(
                Problem(f"`{text}` is no entry of a catalog", at.position, "write `from: catalog/entry`")
            )
            return None
        catalog, name, version = parts
        declared = list(self._node.entries) if self._node is not None else []
        if catalog not in declared:
            close = closest(catalog, declared)
            hint = f"did you mean `{close}`?" if close else f"declare it: `catalogs: {{{catalog}: ./catalog.yaml}}`"
            self.problems.append(Problem(f"there is no catalog `{catalog}`", at.position, hint))
            return None
        opened = self._opened(catalog, at, (name, version))
        if opened is None:
            return None
        index, fetched, _ = opened
        found = index.entry(name, version)
        if found is None:
            self.problems.append(_missing(index, catalog, name, version, at.position))
            return None
        self._used.setdefault(catalog, {})[f"{name}@{found.version}"] = found
        return found, Places(fetched.file, fetched.lines_before)

    def _opened(self, catalog: str, at: Scalar, wanted: Wanted) -> tuple[Index, Fetched, Local | Location] | None:
        if catalog not in self._open:
            self._open[catalog] = self._read(catalog, at.position, wanted)
        found = self._open[catalog]
        if found is not None and isinstance(found[2], Registry) and found[0].entry(*wanted) is None and self._fetch:
            self._open[catalog] = found = self._read(catalog, at.position, wanted, again=True)
        return found

    def _read(
        self, catalog: str, at: Position, wanted: Wanted, *, again: bool = False
    ) -> tuple[Index, Fetched, Local | Location] | None:
        location = self.location(catalog)
        if location is None:
            return None
        try:
            fetched = None if again else source_of(location, self._copies).read()
            if fetched is None and self._fetch is not None and not isinstance(location, Local):
                self._fetch(location, (wanted,) if isinstance(location, Registry) else ())
                fetched = source_of(location, self._copies).read()
        except FetchFailed as error:
            place = self._place(catalog) or at
            self.problems.append(Problem(f"catalog `{catalog}`: {error.message}", place, error.hint))
            return None
        if fetched is None:
            message = f"catalog `{catalog}` was never fetched"
            self.problems.append(Problem(message, self._place(catalog), "fetch it with `mcp-compose catalog pull`"))
            return None
        self.files[fetched.file] = None
        try:
            index = open_index(fetched.data, self._copies.folder / "indexes", parse_yaml, fetched.kind)
        except NotReadable as error:
            where = Places(fetched.file, fetched.lines_before).at(error.line, error.column)
            self.problems.append(Problem(f"catalog `{catalog}`: {error.message}", where))
            return None
        return index, fetched, location

    def location(self, catalog: str) -> Local | Location | None:
        """Where a declared catalog is; None when it does not say so, which binding complains about."""
        node = self._node.get(catalog) if self._node is not None else None
        if node is None or any("$" in scalar.text for _, scalar in scalars(node)):
            return None
        try:
            declared = _ADAPTER.validate_python(data(node))
        except ValidationError:
            return None
        return location_of(declared, self._folder_of(node.position.file), self._home)

    def _place(self, catalog: str) -> Position | None:
        node = self._node.get(catalog) if self._node is not None else None
        return node.position if node is not None else None


_ADAPTER: Final[TypeAdapter[CatalogSource]] = TypeAdapter(CatalogSource)


def _missing(index: Index, catalog: str, name: str, version: str | None, at: Position) -> Problem:
    if name in index or index.versions(name):
        known = ", ".join(f"`{one}`" for one in index.versions(name)[:5])
        hint = f"known: {known}" if known else "the catalog gives it no version"
        wanted = f"in the version `{version}`" if version else "without a version"
        return Problem(f"catalog `{catalog}` has no `{name}` {wanted}", at, hint)
    close = closest(name, index.names())
    hint = f"did you mean `{catalog}/{close}`?" if close else f"look with `mcp-compose catalog search {name[:40]}`"
    return Problem(f"catalog `{catalog}` has no entry `{name}`", at, hint)
