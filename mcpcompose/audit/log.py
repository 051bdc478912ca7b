"""
Write down every request before it goes to its server, and how it ended before its answer leaves.

A record is written (`write(2)`) when `began` and `ended` return, so `kill -9` loses none; what cannot be written raises
`AuditUnavailable`, and the request is refused. No secret value that the gateway knows is ever in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mcpcompose.audit.cleaning import LARGEST_VALUES, LONGEST_TEXT, Cleaning
from mcpcompose.audit.record import Clock, sizes
from mcpcompose.audit.store import Store
from mcpcompose.errors import AuditUnavailable
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Audit

_log: Final = logging.getLogger(__name__)


class AuditLog:
    """One project's, in *folder*. Making it touches nothing; a folder that cannot be written shows with `began`."""

    def __init__(
        self, folder: Path, settings: Audit, redactor: Redactor, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.problem: str | None = None
        """What is wrong now, or was found to have been done to the log since this gateway runs; for `ps`."""
        self._clock = Clock(clock)
        self._clean = Cleaning(redactor)
        self._store = Store(folder, self._clock, self._found)
        self._folder = folder
        self._told: str | None = None
        self._settings = settings
        self._values = False
        self._take(settings)

    def follow(self, settings: Audit) -> None:
        """Go by *settings* from now on; turning it off and on is written down, too."""
        before, self._settings = self._settings, settings
        self._take(settings)
        if before.enabled != settings.enabled:
            self._note({"event": "on" if settings.enabled else "off"})

    def began(
        self,
        *,
        id: str,  # noqa: A002  the name of the member
        client: str,
        profile: str,
        session: str,
        server: str,
        method: str,
        name: str | None,
        arguments: Mapping[str, Any] | None,
        params_size: int = 0,
        modern: bool = False,
        direction: str = "to_server",
    ) -> None:
        """A request is about to be sent on. Raises `AuditUnavailable`."""
        names = self._clean.names()
        record: dict[str, Any] = {
            "seq": 0,
            "time": self._clock(),
            "event": "begin",
            "id": id,
            "client": names[client],
            "profile": names[profile],
            "session": session,
            "server": names[server],
            "method": names[method],
        }
        if name is not None:
            record["name"] = names[name]
        if arguments is not None:
            record["arguments"] = found = sizes(arguments, names)
            if self._values and sum(found.values()) <= LARGEST_VALUES:
                record["values"] = self._clean.tree(arguments)
        if params_size:
            record["size"] = params_size
        if modern:
            record["modern"] = True
        if direction != "to_server":
            record["direction"] = direction
        self._append(record, first=True)

    def ended(
        self,
        *,
        id: str,  # noqa: A002  the name of the member
        outcome: str,
        decisions: Sequence[Mapping[str, Any]] = (),
        seconds: float = 0.0,
        error: str | None = None,
        result: bytes | None = None,
    ) -> None:
        """A request is over, and its answer about to leave. Raises `AuditUnavailable`."""
        record: dict[str, Any] = {
            "seq": 0,
            "time": self._clock(),
            "event": "end",
            "id": id,
            "outcome": outcome,
            "ms": round(seconds * 1000, 3),
        }
        if decisions:
            record["decisions"] = [self._clean.decision(one) for one in decisions]
        if error is not None:
            record["error"] = self._clean.text(error)[:LONGEST_TEXT]
        if result is not None:
            record["bytes"] = len(result)
            if self._values:
                record["result"] = self._clean.result(result)
        self._append(record)

    async def synced(self) -> None:
        """Wait until everything written so far is on disk. Raises `AuditUnavailable`."""
        try:
            await asyncio.to_thread(self._store.sync)
        except OSError as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Say that it ends, put everything on disk, and close. Raises nothing: there is no request to refuse."""
        if self._store.is_open:
            self._note({"event": "stop"})
        try:
            self._store.close()
        except OSError as error:
            _log.warning("the audit log was not closed in order", extra={"reason": error.strerror})

    def _take(self, settings: Audit) -> None:
        store = self._store
        store.rotate, store.keep, store.always = settings.rotate, settings.keep, settings.sync == "always"
        self._values = settings.values == "redacted"

    def _note(self, event: dict[str, Any]) -> None:
        try:
            self._append({"seq": 0, "time": self._clock(), **event})
        except AuditUnavailable:
            return

    def _append(self, record: dict[str, Any], *, first: bool = False) -> None:
        try:
            self._store.append(record, first=first)
        except OSError as error:
            raise self._unavailable(error) from error
        if self.problem is not self._told:
            self.problem = self._told
            _log.info("the audit log is written again")

    def _unavailable(self, error: OSError) -> AuditUnavailable:
        problem = f"the audit log cannot be written, so requests are refused: {error.strerror or error}"
        if self.problem != problem:
            self.problem = problem
            _log.error("the audit log cannot be written; requests are refused", extra={"reason": error.strerror})
        return AuditUnavailable(problem, hint=f"make room and access for `{self._folder}`; it goes on by itself")

    def _found(self, remark: Mapping[str, Any]) -> None:
        """The log is not as it was left; the chain says each time how, `problem` and our own log the first time."""
        if remark["event"] == "torn":
            _log.info("the audit log ended in the middle of a record; it goes on after it")
            return
        if self._told is None:
            lost = remark["event"] == "head-lost"
            what = "`head`" if lost else f"records {remark['from']} to {remark['to']}"
            self._told = f"{what} of the audit log had been removed or changed; see `mcp-compose audit verify`"
            _log.error("the audit log is not as it was left", extra=dict(remark))
