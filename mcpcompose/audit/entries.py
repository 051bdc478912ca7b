"""
Read the log as requests: what began, with how it ended.

Nothing is checked here; that is what `audit.verify` is for. Lines that are no records are passed over.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from mcpcompose.audit.files import files, first_of
from mcpcompose.audit.record import opened

INTERRUPTED: Final = "interrupted"
"""The outcome of a request whose gateway ended before it did."""
UNDER_WAY: Final = "under way"
_MOST_OPEN: Final = 100_000
_HIDDEN: Final = ("seq", "event", "prev")
_BEGUN: Final = "method"
"""What an entry has whose beginning was read."""
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests are meant: those that fit everything given; names may be globs."""

    id: str | None = None
    client: str | None = None
    profile: str | None = None
    session: str | None = None
    server: str | None = None
    name: str | None = None
    method: str | None = None
    outcome: str | None = None
    interceptor: str | None = None
    """An interceptor that decided something, or the rule it decided by."""
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, entry: Record) -> bool:
        """Whether *entry* is meant."""
        names = ("id", "client", "profile", "session", "server", "name", "method", "outcome")
        asked = ((getattr(self, name), entry.get(name)) for name in names)
        if not all(glob is None or (isinstance(value, str) and fnmatchcase(value, glob)) for glob, value in asked):
            return False
        return self._is_in_time(entry) and (self.interceptor is None or self._is_decided_by(entry, self.interceptor))

    def _is_in_time(self, entry: Record) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            at = datetime.fromisoformat(str(entry.get("time")))
        except ValueError:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    @staticmethod
    def _is_decided_by(entry: Record, glob: str) -> bool:
        decisions = entry.get("decisions")
        for one in decisions if isinstance(decisions, list) else ():
            for key in ("interceptor", "rule"):
                if isinstance(one, dict) and fnmatchcase(str(one.get(key, "")), glob):
                    return True
        return False


class Joining:
    """Puts the beginning and the end of each request together."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Any]] = {}

    def take(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The requests that are whole with *record*; those that were cut off come with the next gateway's start."""
        match record.get("event"):
            case "begin":
                self._open[str(record.get("id"))] = _shown(record)
                if len(self._open) > _MOST_OPEN:
                    yield self._cut(next(iter(self._open)))
            case "end":
                begun = self._open.pop(str(record.get("id")), None)
                ended = _shown(record)
                ended["ended"] = ended.pop("time", None)
                yield {**(begun or {"time": record.get("time")}), **ended}
            case "start":
                yield from [self._cut(id_) for id_ in list(self._open)]
            case _:
                return

    def rest(self) -> Iterator[dict[str, Any]]:
        """Those that have not ended, yet."""
        for entry in self._open.values():
            yield {**entry, "outcome": UNDER_WAY}

    def _cut(self, id_: str) -> dict[str, Any]:
        return {**self._open.pop(id_), "outcome": INTERRUPTED}


def entries(folder: Path, asked: Filter) -> Iterator[dict[str, Any]]:
    """Every request of the log in *folder* that *asked* means, in the order they ended. Raises `OSError`."""
    yield from filter(asked.fits, _joined(files(folder)))


def newest(folder: Path, asked: Filter, count: int) -> list[dict[str, Any]]:
    """The last *count* of `entries`, reading about no more files than it takes. Raises `OSError`."""
    paths = files(folder)
    taken = 1
    while taken < len(paths):
        joined = _joined(paths[-taken:])
        found = deque((one for one in joined if _BEGUN not in one or asked.fits(one)), maxlen=count)
        if len(found) == count and all(_BEGUN in one for one in found):
            return list(found)
        taken *= 4
    return list(deque(filter(asked.fits, _joined(paths)), maxlen=count))


def ends(folder: Path) -> dict[Path, int]:
    """How long each file is now: where `follow` goes on. Raises `OSError`."""
    found = {}
    for path in files(folder):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_size
    return found


def follow(
    folder: Path, asked: Filter, wait: Callable[[], None], after: Mapping[Path, int] | None = None
) -> Iterator[dict[str, Any]]:
    """
    What ends from now on, or *after* what `ends` told; *wait* is called when there is nothing new. Raises `OSError`.

    What rotation lets go before it was read is not shown.
    """
    joining = Joining()
    at = dict(ends(folder) if after is None else after)
    last = max(at, key=_number, default=None)
    if last is not None:
        for record in _records(last, at[last]):
            deque(joining.take(record), maxlen=0)
    while True:
        for path in [one for one in files(folder) if last is None or _number(one) >= _number(last)]:
            for line, end in _whole_lines(path, at.get(path, 0)):
                at[path] = end
                for record in _opened((line,)):
                    yield from filter(asked.fits, joining.take(record))
            last = path
        wait()


def _joined(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    joining = Joining()
    for path in paths:
        for record in _records(path):
            yield from joining.take(record)
    yield from joining.rest()


def _number(path: Path) -> int:
    return first_of(path) or 0


def _records(path: Path, until: int | None = None) -> Iterator[dict[str, Any]]:
    """Those of the file, or of its first *until* bytes; none where a gateway let it go since it was listed."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if until is not None and file.tell() > until:
                return
            yield from _opened((line.rstrip(b"\n"),))


def _whole_lines(path: Path, start: int) -> Iterator[tuple[bytes, int]]:
    """From the byte *start* on, each without its newline and with where it ends."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(start)
        while (line := file.readline()).endswith(b"\n"):
            yield line[:-1], file.tell()


def _opened(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        found = opened(line)
        if found is not None:
            yield found[0]


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in _HIDDEN}
