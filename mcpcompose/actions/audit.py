"""The audit log, read from its files: no gateway is needed, and none is asked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.actions.locate import Place
from mcpcompose.errors import McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.audit.entries import Filter
    from mcpcompose.audit.verify import Verdict

_LOOK_EVERY: Final = 0.1
_AGO: Final = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ANCHOR: Final = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


def folder_of(place: Place) -> Path:
    """Where the project's audit log is."""
    return place.paths.state / "audit"


def tail(place: Place, asked: Filter, count: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The last *count* requests that *asked* means, then, with *follow*, those that end from now on."""
    from mcpcompose.audit import entries

    folder = folder_of(place)
    try:
        found = entries.newest(folder, asked, count) if count else []
        ends = entries.ends(folder)
        yield from found
        if follow:
            yield from entries.follow(folder, asked, lambda: time.sleep(_LOOK_EVERY), ends)
    except OSError as error:
        raise _unreadable(folder, error) from error


def show(place: Place, asked: Filter) -> Iterator[dict[str, Any]]:
    """Every request that *asked* means, oldest first."""
    from mcpcompose.audit.entries import entries

    folder = folder_of(place)
    try:
        yield from entries(folder, asked)
    except OSError as error:
        raise _unreadable(folder, error) from error


def verify(place: Place, anchor: str | None) -> Verdict:
    """Whether the log is as it was written; *anchor* is `NUMBER:HASH` of a record that must be in it."""
    from mcpcompose.audit.record import Link
    from mcpcompose.audit.verify import verify as verified

    link = None
    if anchor is not None:
        found = _ANCHOR.fullmatch(anchor)
        if found is None:
            raise UsageError(
                f"`--head` wants `NUMBER:HASH`, not `{anchor}`",
                hint="`mcp-compose audit verify` prints it in its last line",
            )
        link = Link(int(found[1]), found[2])
    folder = folder_of(place)
    try:
        return verified(folder, link)
    except OSError as error:
        raise _unreadable(folder, error) from error


def moment(text: str, now: datetime | None = None) -> datetime:
    """A time as people write it: `2026-11-22`, `2026-11-22T10:00`, or how long ago, `15m`. Raises `UsageError`."""
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        hint = "write it as `2026-11-22`, `2026-11-22T10:00`, or how long ago: `90s`, `15m`, `2h`, `7d`"
        raise UsageError(f"`{text}` is no time", hint=hint) from None
    return found if found.tzinfo is not None else found.astimezone()


def _unreadable(folder: Path, error: OSError) -> McpComposeError:
    return McpComposeError(f"the audit log in `{folder}` cannot be read: {error.strerror or error}")
