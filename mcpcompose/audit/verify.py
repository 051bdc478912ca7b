"""
Tell whether the log is as it was written: nothing changed, removed, put in another order, or cut off.

Reads only, also while a gateway writes. What was found and healed by a gateway is told again for as long as it is in
the log; only a record that a dying machine tore is no problem.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcpcompose.audit.files import HEAD, files, first_of, read_head
from mcpcompose.audit.record import START, Link, hash_of, opened

_MOST: Final = 200
_ATTEMPTS: Final = 20
_LONGEST_LINE: Final = 256 << 20
_ASKED_FOR: Final = "what was asked for"


@dataclass(slots=True)
class Verdict:
    """What was found; the log is as it was written when there are no *problems*."""

    files: int = 0
    records: int = 0
    requests: int = 0
    completed: int = 0
    interrupted: int = 0
    """Requests that a gateway began and did not live to end."""
    first: int | None = None
    last: Link | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Something is wrong; the first 200 are told."""
        if len(self.problems) < _MOST:
            self.problems.append(text)


def verify(folder: Path, anchor: Link | None = None) -> Verdict:
    """
    Read the whole log in *folder*. *anchor* is a record that must be in it, as an earlier run gave it; one that
    rotation let go is a problem like one that never was. Raises `OSError`.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _Reading(folder, anchor).verdict()
        except FileNotFoundError:  # dropped by a gateway between listing and reading
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


class _Reading:
    def __init__(self, folder: Path, anchor: Link | None) -> None:
        self._folder = folder
        self._found = Verdict()
        self._head = read_head(folder)
        self._anchors = {"what was on disk (`head`)": self._head, _ASKED_FOR: anchor}
        self._last: Link | None = None
        self._open: set[str] = set()
        self._oldest: int | None = None
        self._torn: _Torn | None = None

    def verdict(self) -> Verdict:
        paths = files(self._folder)
        found = self._found
        found.files = len(paths)
        for path in paths:
            for where, line in _lines(path):
                self._line(path, where, line)
        self._at_end(paths)
        found.last = self._last
        return found

    # --- one line ---------------------------------------------------------------------------------------------------

    def _line(self, path: Path, where: str, line: bytes) -> None:
        entry = opened(line) if line.endswith(b"}") else None
        if entry is None:
            torn = self._torn = self._torn or _Torn(where)
            torn.take(line)
            return
        record, stated = entry
        self._chain(where, line, record, stated)
        self._torn = None
        self._remark(path, where, record)
        self._count(record)
        self._last = Link(record["seq"], stated)
        self._found.records += 1
        for whose, anchor in self._anchors.items():
            if anchor is not None and anchor.seq == self._last.seq and anchor.hash != stated:
                self._found.problem(f"{where}: record {anchor.seq} is another one than {whose}")

    def _chain(self, where: str, line: bytes, record: dict[str, Any], stated: str) -> None:
        last, seq = self._last, record["seq"]
        self._torn_before(record)
        if last is None:
            self._found.first = seq
            before = record.get("prev", START.hash)
            if not isinstance(before, str) or (seq == 1 and before != START.hash):
                self._found.problem(f"{where}: record {seq} is not the beginning of a log")
                return
        else:
            before = last.hash
            if seq > last.seq + 1:
                self._found.problem(f"{where}: records {last.seq + 1} to {seq - 1} are missing")
            elif seq <= last.seq:
                self._found.problem(f"{where}: record {seq} comes after record {last.seq}")
            if record.get("prev", before) != before:
                self._found.problem(f"{where}: record {seq} follows another record than the one before it")
                return
        if hash_of(before, line) == stated:
            return
        if last is None or seq == last.seq + 1:
            self._found.problem(f"{where}: record {seq} was changed, or the one before it")

    def _torn_before(self, record: dict[str, Any]) -> None:
        torn = self._torn
        if torn is None:
            return
        if record.get("event") == "torn" and record.get("bytes") == torn.size and record.get("sha256") == torn.digest():
            self._found.notes.append(f"{torn.where}: a record was torn when the machine or its disk failed")
        else:
            self._found.problem(f"{torn.where}: this is no record, and was not torn by a failing machine")

    def _remark(self, path: Path, where: str, record: dict[str, Any]) -> None:
        """What a gateway wrote about the log itself."""
        match record.get("event"):
            case "gap":
                first, last = record.get("from"), record.get("to")
                self._found.problem(f"{where}: a gateway found records {first} to {last} removed or changed")
            case "head-lost":
                self._found.notes.append(f"{where}: a gateway found `head` removed")
            case "file":
                if first_of(path) != record["seq"]:
                    self._found.problem(f"{where}: the file's name is not the number of its first record")
                if isinstance(record.get("oldest"), int):
                    self._oldest = record["oldest"]
            case _:
                pass

    def _count(self, record: dict[str, Any]) -> None:
        found, id_ = self._found, record.get("id")
        match record.get("event"):
            case "begin" if isinstance(id_, str):
                found.requests += 1
                self._open.add(id_)
            case "end" if isinstance(id_, str):
                found.completed += 1
                self._open.discard(id_)
            case "start":
                found.interrupted += len(self._open)
                self._open.clear()
            case _:
                pass

    # --- the whole --------------------------------------------------------------------------------------------------

    def _at_end(self, paths: list[Path]) -> None:
        found, last = self._found, self._last
        if self._torn is not None:
            found.notes.append(f"{self._torn.where}: the last record is torn; the next gateway goes on after it")
        if last is not None and self._head is None:
            found.problem(f"`{HEAD}` is missing: records may have been cut off at the end")
        for whose, anchor in self._anchors.items():
            if anchor is None or not anchor.seq:
                continue
            if last is None or anchor.seq > last.seq:
                first = last.seq + 1 if last is not None else 1
                found.problem(f"records {first} to {anchor.seq} at the end are missing: {whose} is record {anchor.seq}")
            elif found.first is not None and anchor.seq < found.first:
                self._older(anchor, whose)
        self._at_beginning(paths)

    def _older(self, anchor: Link, whose: str) -> None:
        """What is no longer kept says nothing about what is: whoever asks for it learns that it was not found."""
        text = f"record {anchor.seq}, {whose}, is older than what is kept"
        if whose == _ASKED_FOR:
            self._found.problem(f"{text}, so it does not show that this is the same log; ask for a newer one")
        else:
            self._found.notes.append(text)

    def _at_beginning(self, paths: list[Path]) -> None:
        found = self._found
        first = found.first or 1
        if self._oldest is not None and first > self._oldest:
            found.problem(f"records {self._oldest} to {first - 1} at the beginning are missing")
        elif self._oldest is None and paths and first > 1:
            found.problem(f"records 1 to {first - 1} at the beginning are missing")


class _Torn:
    """Lines that are no records, one after the other."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.size = 0
        self._digest = hashlib.sha256()

    def take(self, line: bytes) -> None:
        self.size += len(line) + 1
        self._digest.update(line + b"\n")

    def digest(self) -> str:
        return self._digest.hexdigest()


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each line without its newline, with where it is."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            yield f"{path.name}:{number}", line.removesuffix(b"\n")
