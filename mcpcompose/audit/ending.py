"""
How the log was left: by a gateway that ended, was killed or lost its disk, or by somebody who removed or changed it.

Only looks; what it finds is written into the chain by `audit.store`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpcompose.audit.files import end_of, files, first_of, oldest_of, read_head
from mcpcompose.audit.record import START, Link


@dataclass(frozen=True, slots=True)
class Ending:
    """The newest file (*path* None: there is none) and what is to be said before it goes on."""

    path: Path | None
    needs_newline: bool
    before: Link
    """What the next record comes after: the number of the last one known, the hash of the last one there."""
    oldest: int
    remarks: tuple[dict[str, Any], ...]
    has_head: bool = True


def look(folder: Path, known: Link | None) -> Ending:
    """The end of the log in *folder*, of which everything up to *known* (None: what `head` says) must be there.

    Removes empty files, which a gateway leaves that ended between making and writing one. Raises `OSError`.
    """
    said = known or read_head(folder)
    found = [path for path in files(folder) if _has_content(path)]
    if not found:
        last = said or START
        gone = [_lost(1, last)] if last.seq else []
        return Ending(
            None, needs_newline=False, before=last, oldest=last.seq + 1, remarks=tuple(gone), has_head=said is not None
        )
    end = end_of(found[-1])
    last = end.last or _last_of(found[:-1])
    expected = said or last
    remarks: list[dict[str, Any]] = []
    if end.torn:
        remarks.append({"event": "torn", "prev": last.hash, "bytes": end.torn, "sha256": end.digest})
    if expected.seq > last.seq:
        remarks.append(_lost(last.seq + 1, expected))
    elif expected.seq == last.seq and expected.hash != last.hash:
        remarks.append(_lost(last.seq, expected))
    if said is None:
        remarks.append({"event": "head-lost"})
    oldest = oldest_of(found[-1]) or first_of(found[0]) or 1
    return Ending(
        found[-1],
        not end.newline,
        Link(max(last.seq, expected.seq), last.hash),
        oldest,
        tuple(remarks),
        said is not None,
    )


def _lost(first: int, expected: Link) -> dict[str, Any]:
    return {"event": "gap", "from": first, "to": expected.seq, "expected": expected.hash}


def _has_content(path: Path) -> bool:
    if path.stat().st_size:
        return True
    path.unlink()
    return False


def _last_of(found: list[Path]) -> Link:
    """The last record of the newest of *found* that has one."""
    for path in reversed(found):
        last = end_of(path).last
        if last is not None:
            return last
    return START
