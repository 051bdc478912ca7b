"""A log in a folder of its own, and requests to write into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcpcompose.audit.log import AuditLog
from mcpcompose.redact import Redactor
from mcpcompose.spec.interceptor import Audit


class Prompt(AuditLog):
    """Writes each record when it is made, as a loop with nothing else to do would."""

    def began(self, **said: Any) -> None:
        """Gather and write."""
        super().began(**said)
        self.write()

    def ended(self, **said: Any) -> None:
        """Gather and write."""
        super().ended(**said)
        self.write()


class Shelf:
    """One project's log, and the gateways that write it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redactor = Redactor()
        self.logs: list[AuditLog] = []

    def log(self, **settings: Any) -> AuditLog:
        """A gateway's log, opened anew."""
        made = Prompt(self.folder, Audit(**settings), self.redactor)
        self.logs.append(made)
        return made

    def files(self) -> list[Path]:
        """The files there are, oldest first."""
        return sorted(self.folder.glob("audit-*.jsonl"))

    def lines(self) -> list[bytes]:
        """Every line of every file."""
        return [line for path in self.files() for line in path.read_bytes().splitlines(keepends=True)]

    def rewrite(self, change: Callable[[list[bytes]], None]) -> None:
        """Edit the lines of the only file."""
        (path,) = self.files()
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))


def begin(log: AuditLog, id: str = "1", **changes: Any) -> None:  # noqa: A002
    """Begin a request."""
    request = {
        "client": "cursor",
        "profile": "default",
        "session": "00112233",
        "server": "github",
        "method": "tools/call",
        "name": "create_issue",
        "arguments": {"owner": "acme", "body": "grüße"},
    }
    log.began(id=id, **{**request, **changes})


def call(log: AuditLog, id: str = "1", outcome: str = "ok", **changes: Any) -> None:  # noqa: A002
    """A whole request."""
    begin(log, id, **changes)
    log.ended(id=id, outcome=outcome, decisions=[], seconds=0.0015, error=None, result=b'{"content":[]}')
