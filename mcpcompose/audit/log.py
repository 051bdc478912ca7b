"""
Write down every request before it goes to its server, and how it ended before its answer leaves.

`began` and `ended` gather, and all that was gathered is written (`write(2)`) when `write` returns, so `kill -9` loses
none that went on; what cannot be written raises `AuditUnavailable`, and the requests are refused. No secret value that
the gateway knows is ever in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mcpcompose.audit.cleaning import LARGEST_VALUES, LONGEST_TEXT, Cleaning
from mcpcompose.audit.record import Clock, members, sizes
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
        self._gathered: list[str] = []
        self._moment = ""
        """When what is gathered was; one look at the clock is enough for what is written together."""
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
        """A request is about to be sent on; *id* is letters, digits and hyphens."""
        clean = self._clean
        clean.look()
        if not self._gathered:
            self._moment = self._clock()
        said = (
            f'"time":"{self._moment}","event":"begin","id":"{id}",'
            f"{clean.request(client, profile, session, server, method, name, direction, modern)}"
        )
        if arguments is not None:
            found = sizes(arguments, clean.names)
            more: dict[str, Any] = {"arguments": found}
            if self._values and sum(found.values()) <= LARGEST_VALUES:
                more["values"] = clean.tree(arguments)
            said = f"{said},{members(more)}"
        if params_size:
            said = f'{said},"size":{params_size}'
        self._gathered.append(said)

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
        """A request is over, and its answer about to leave; *outcome* is a word."""
        if not self._gathered:
            self._moment = self._clock()
        said = f'"time":"{self._moment}","event":"end","id":"{id}","outcome":"{outcome}","ms":{seconds * 1000:.3f}'
        if result is not None:
            said = f'{said},"bytes":{len(result)}'
        if not decisions and error is None and not self._values:
            self._gathered.append(said)
            return
        more: dict[str, Any] = {}
        if decisions:
            more["decisions"] = [self._clean.decision(one) for one in decisions]
        if error is not None:
            more["error"] = self._clean.text(error)[:LONGEST_TEXT]
        if result is not None and self._values:
            more["result"] = self._clean.result(result)
        self._gathered.append(f"{said},{members(more)}" if more else said)

    def write(self) -> None:
        """Write what was gathered, all or nothing; what failed is forgotten. Raises `AuditUnavailable`."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._append(gathered)

    def forget(self) -> None:
        """What was gathered is not written."""
        self._gathered.clear()

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
            self._append([members({"time": self._clock(), **event})])
        except AuditUnavailable:
            return

    def _append(self, said: Sequence[str]) -> None:
        try:
            self._store.append(said)
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
