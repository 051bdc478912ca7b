"""
A catalog, ready to be looked things up in: read once, then kept on disk by the digest of what it was read from.

The file kept is ours alone (0700), verified whole before it is believed, and made again when it is anything else.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from mcpcompose.catalog import docker, own, server_json
from mcpcompose.catalog.entry import Entry, Summary, summary
from mcpcompose.catalog.kept import MAX_BYTES
from mcpcompose.catalog.marked import NotReadable, Parse, Value, parse_json
from mcpcompose.errors import FetchFailed, McpComposeError
from mcpcompose.paths import private_folder

MAX_ENTRIES: Final = 100_000
_VERSION: Final = 2
_DAYS: Final = 30
"""How long an index is kept."""
_FORMATS: Final[dict[str, Callable[[Value], Iterator[Entry]]]] = {
    own.FORMAT: own.entries,
    server_json.FORMAT: server_json.entries,
    docker.FORMAT: docker.entries,
}
_TITLES: Final = ("title", "displayName", "name")


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The first line: what the rest is, and where each entry is in it."""

    version: int
    source: str
    body: str
    format: str
    title: str
    description: str
    summaries: int
    places: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Index:
    """The entries of one catalog. *digest* is that of the document; *format* is `own`, `docker` or `registry`."""

    digest: str
    format: str
    title: str
    description: str
    places: dict[str, tuple[int, int]] = field(repr=False)
    _summaries: bytes = field(repr=False)
    _entries: bytes = field(repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def names(self) -> list[str]:
        """The entries that are meant when no version is named."""
        return [name for name in self.places if "@" not in name]

    def summaries(self) -> list[Summary]:
        """All entries in short."""
        return msgspec.json.decode(self._summaries, type=list[Summary])

    def entry(self, name: str, version: str | None = None) -> Entry | None:
        """The entry *name*, in this *version* where one is named; None where there is none."""
        found = self._read(name)
        if version is None or (found is not None and found.version == version):
            return found
        return self._read(f"{name}@{version}")

    def versions(self, name: str) -> list[str]:
        """The versions of *name* that are known, the newest first."""
        newest = self._read(name)
        others = [key.partition("@")[2] for key in self.places if key.startswith(f"{name}@")]
        return ([newest.version] if newest is not None and newest.version else []) + others

    def _read(self, name: str) -> Entry | None:
        if (place := self.places.get(name)) is None:
            return None
        start, length = place
        return msgspec.json.decode(self._entries[start : start + length], type=Entry)


def digest_of(data: bytes) -> str:
    """What a document is known by."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def open_index(data: bytes, folder: Path, parse_yaml: Parse, kind: str | None = None) -> Index:
    """
    The index of the catalog *data*, kept in *folder*.

    *kind*: the format, where it is known from elsewhere. Raises `NotReadable` when the document is no catalog.
    """
    digest = digest_of(data)
    file = folder / f"{digest.removeprefix('sha256:')[:40]}-{kind or 'any'}.index"
    if (kept := _read(file, digest)) is not None:
        return kept
    made = _encode(data, digest, parse_yaml, kind)
    with suppress(OSError, McpComposeError):
        private_folder(folder.parent)
        _write(file, made)
    return _decoded(made, digest) or _unreadable()


def judge(data: bytes, parse_yaml: Parse, kind: str | None = None) -> str:
    """The format of the catalog *data*. Raises `FetchFailed` when it is none."""
    try:
        found = _decoded(_encode(data, "", parse_yaml, kind), "")
    except NotReadable as error:
        said = error.message.removeprefix("this is no catalog; ")
        raise FetchFailed(f"this is no catalog: {said} (line {error.line})") from error
    return (found or _unreadable()).format


def _unreadable() -> Index:
    raise NotReadable("the catalog cannot be indexed")


def _encode(data: bytes, digest: str, parse_yaml: Parse, kind: str | None) -> bytes:
    try:
        return _encoded(data, digest, parse_yaml, kind)
    except UnicodeEncodeError as error:
        raise NotReadable("the catalog holds half a character (like `\\ud800`), which is no text") from error


def _encoded(data: bytes, digest: str, parse_yaml: Parse, kind: str | None) -> bytes:
    document = _document(data, parse_yaml)
    format_ = kind if kind in _FORMATS else _format_of(document)
    places: dict[str, tuple[int, int]] = {}
    short: list[Summary] = []
    parts: list[bytes] = []
    end = 0
    for entry in _FORMATS[format_](document):
        encoded = msgspec.json.encode(entry)
        places[entry.name] = (end, len(encoded))
        end += len(encoded)
        parts.append(encoded)
        if "@" not in entry.name:
            short.append(summary(entry))
        if len(places) > MAX_ENTRIES:
            raise NotReadable(f"the catalog has more than {MAX_ENTRIES} entries")
    summaries = msgspec.json.encode(short)
    body = b"".join([summaries, *parts])
    title = next((text for key in _TITLES if (text := _text(document, key))), "")
    head = _Head(
        _VERSION,
        digest,
        hashlib.sha256(body).hexdigest(),
        format_,
        title,
        _text(document, "description"),
        len(summaries),
        places,
    )
    return msgspec.json.encode(head) + b"\n" + body


def _text(document: Value, key: str) -> str:
    found = document.get(key)
    return (found.text or "")[:1024] if found is not None else ""


def _document(data: bytes, parse_yaml: Parse) -> Value:
    if len(data) > MAX_BYTES:
        raise NotReadable(f"the catalog is larger than {MAX_BYTES >> 20} MiB")
    document = parse_json(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else parse_yaml(data)
    if not isinstance(document.value, dict):
        raise NotReadable("a catalog must be a mapping", document.line, document.column)
    return document


def _format_of(document: Value) -> str:
    if own.is_own(document):
        return own.FORMAT
    if server_json.is_registry(document):
        return server_json.FORMAT
    if docker.is_docker(document):
        return docker.FORMAT
    raise NotReadable(
        "this is no catalog; ours begin with `catalog: 1`, Docker's have a `registry`", document.line, document.column
    )


def _read(file: Path, digest: str) -> Index | None:
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_uid != os.getuid():
                return None
            return _decoded(stream.read(), digest)
    except OSError:
        return None


def _decoded(content: bytes, digest: str) -> Index | None:
    """The index in *content*; None when it is of another document, another version, or spoilt."""
    first, _, body = content.partition(b"\n")
    try:
        head = msgspec.json.decode(first, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if head.version != _VERSION or head.source != digest or hashlib.sha256(body).hexdigest() != head.body:
        return None
    return Index(
        digest, head.format, head.title, head.description, head.places, body[: head.summaries], body[head.summaries :]
    )


def _write(file: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=private_folder(file.parent), prefix=".index-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(name).replace(file)
        _tidy(file.parent)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _tidy(folder: Path) -> None:
    """Remove what was made long ago: what is still wanted is made again."""
    oldest = time.time() - _DAYS * 86400
    for one in folder.iterdir():
        with suppress(OSError):
            if one.lstat().st_mtime < oldest:
                one.unlink()
