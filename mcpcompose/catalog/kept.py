"""
The last good copy of every catalog that was fetched: what is used when nothing is fetched, or fetching fails.

A copy is one file, written whole or not at all: a line of JSON that says what it is a copy of, then the catalog. It is
used only while it is what that line says. Nothing here asks anybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from mcpcompose.errors import FetchFailed, McpComposeError
from mcpcompose.paths import private_folder, project_paths

MAX_BYTES: Final = 16 << 20
"""The largest catalog."""
_VERSION: Final = 1
_MAX_HEAD: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Https:
    """A catalog at a URL."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Oci:
    """A catalog in a registry."""

    reference: str

    def __str__(self) -> str:
        return f"oci:{self.reference}"


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that speaks the MCP registry API."""

    url: str

    def __str__(self) -> str:
        return f"registry:{self.url}"


Location = Https | Oci | Registry


@dataclass(frozen=True, slots=True)
class Copy:
    """A catalog as it was fetched. *digest* names an artifact's manifest, or the document itself."""

    data: bytes = field(repr=False)
    digest: str
    kind: str | None = None
    etag: str | None = None
    modified: str | None = None


class Copies:
    """The copies of one user, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, location: Location) -> Path:
        """Where the copy of *location* is, or would be."""
        return self.folder / f"{_named(location)[:40]}.catalog"

    def read(self, location: Location) -> Copy | None:
        """The last good copy of *location*; None when there is none, or it is not what it says."""
        try:
            with self.file(location).open("rb") as file:
                head = file.readline(_MAX_HEAD)
                data = file.read(MAX_BYTES + 1)
            said = json.loads(head)
            if said["version"] != _VERSION or said["source"] != _named(location):
                return None
            if said["sha256"] != hashlib.sha256(data).hexdigest():
                return None
            return Copy(data, said["digest"], said["kind"], said["etag"], said["modified"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, location: Location, copy: Copy) -> None:
        """Keep *copy* in the place of the one before. Raises `FetchFailed`; the one before is then still there."""
        about = {key: value for key, value in asdict(copy).items() if key != "data"}
        said = {"version": _VERSION, "source": _named(location), **about}
        head = json.dumps({**said, "sha256": hashlib.sha256(copy.data).hexdigest()}).encode() + b"\n"
        try:
            self._replace(self.file(location), head + copy.data)
        except OSError as error:
            raise FetchFailed(f"no copy can be kept in `{self.folder}`: {error.strerror}") from error
        except McpComposeError as error:
            raise FetchFailed(f"no copy can be kept: {error.message}", hint=error.hint) from error

    def _replace(self, file: Path, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=private_folder(self.folder), prefix=".copy-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def _named(location: Location) -> str:
    """What stands for *location*: its text may hold a token."""
    return hashlib.sha256(str(location).encode()).hexdigest()


def copies_of(environ: Mapping[str, str]) -> Copies:
    """The copies of this user: the same for all projects, since they say what they are copies of."""
    return Copies(project_paths("catalogs", environ).cache)
