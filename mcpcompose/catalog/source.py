"""
Where a project's catalogs are, and reading them: a file as it is, anything else as its last good copy.

Reading never fetches: loading a project does for catalogs that were never fetched, and `catalog pull` for all.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from mcpcompose.catalog.kept import MAX_BYTES, Copies, Https, Location, Oci, Registry
from mcpcompose.errors import FetchFailed
from mcpcompose.spec.catalog import Catalog, OciCatalog, RegistryCatalog, UrlCatalog

HEAD_LINES: Final = 1
"""Lines of a copy's file before the catalog itself."""


@dataclass(frozen=True, slots=True)
class Local:
    """A catalog in a file of this machine."""

    file: Path

    def __str__(self) -> str:
        return str(self.file)


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    A catalog's document. *file* holds it, after *lines_before* other lines; *kind* is its format where that is known.

    *digest* is what its source knows it by: an artifact's manifest, or the document itself.
    """

    data: bytes = field(repr=False)
    digest: str
    file: Path
    lines_before: int = 0
    kind: str | None = None


class Source(Protocol):
    """Somewhere that a catalog is kept."""

    def read(self) -> Fetched | None:
        """The catalog as it is known now, without asking anybody; None when it was never fetched."""
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A catalog in a file."""

    location: Local

    def read(self) -> Fetched:
        """The file's content. Raises `FetchFailed`."""
        file = self.location.file
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                raise FetchFailed("this is not a regular file")
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise FetchFailed("the file does not exist") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FetchFailed(f"the file cannot be read: {reason}") from error
        if len(data) > MAX_BYTES:
            raise FetchFailed(f"the catalog is larger than {MAX_BYTES >> 20} MiB")
        return Fetched(data, "", file)


@dataclass(frozen=True, slots=True)
class CopySource:
    """A catalog that is somewhere else, as it was when it was last fetched."""

    location: Location
    copies: Copies

    def read(self) -> Fetched | None:
        """The last good copy."""
        copy = self.copies.read(self.location)
        if copy is None:
            return None
        kind = "registry" if isinstance(self.location, Registry) else copy.kind
        return Fetched(copy.data, copy.digest, self.copies.file(self.location), HEAD_LINES, kind)


def location_of(declared: Catalog, folder: Path, home: Path) -> Local | Location:
    """Where *declared* is; paths are relative to *folder*."""
    if isinstance(declared, OciCatalog):
        return Oci(declared.oci)
    if isinstance(declared, RegistryCatalog):
        return Registry(declared.registry.rstrip("/"))
    if isinstance(declared, UrlCatalog):
        return Https(declared.url)
    text = declared.file
    path = home / text[2:] if text == "~" or text.startswith("~/") else Path(text)
    return Local(path if path.is_absolute() else folder / path)


def source_of(location: Local | Location, copies: Copies) -> FileSource | CopySource:
    """How to read what is at *location*."""
    return FileSource(location) if isinstance(location, Local) else CopySource(location, copies)
