"""The last change of a client's file, kept so that `client undo` can take it back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcpcompose.actions.files import read_json, write_atomically
from mcpcompose.clients import write
from mcpcompose.clients.ledger import Ledger
from mcpcompose.clients.write import FileState, Saved
from mcpcompose.errors import McpComposeError, UsageError

_FILE: Final = "last.json"
_LEDGER: Final = "clients.json"


@dataclass(frozen=True, slots=True)
class LastChange:
    """
    *before* is a copy of the file as it was (None: it was not there), *mode* what it had; *digest* is what it is since
    (None: it is gone).

    *ledger* is the text of the ledger as it was; *made* are the folders that were made for the file.
    """

    what: str
    file: Path
    digest: str | None
    before: Path | None
    mode: int | None
    private: bool
    made: tuple[Path, ...]
    ledger: str | None

    def current(self) -> FileState:
        """The file now. Raises `McpComposeError` when somebody changed it since."""
        state = write.load(self.file)
        now = hashlib.sha256(state.encoded(state.text)).hexdigest() if state.exists else None
        if now != self.digest:
            where = f"; as it was before, it is in `{self.before}`" if self.before else ""
            raise McpComposeError(
                f"`{self.file}` was changed since{where}", hint="`client disconnect` takes only our entry out"
            )
        return state


def snapshot(folder: Path) -> str | None:
    """The ledger's text; None when there is none."""
    try:
        return (folder / _LEDGER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def remember(folder: Path, what: str, state: FileState, saved: Saved, ledger: str | None, *, private: bool) -> None:
    """Keep the change that *saved* tells of, as the last one."""
    data = {
        "what": what,
        "file": str(state.path),
        "digest": saved.after,
        "before": None if saved.backup is None else str(saved.backup),
        "mode": state.mode,
        "private": private,
        "made": [str(path) for path in saved.made],
        "ledger": ledger,
    }
    write_atomically(folder / _FILE, json.dumps(data, indent=1))


def last(folder: Path) -> LastChange:
    """The last change. Raises `UsageError` when there is none."""
    data: Any = read_json(folder / _FILE)
    try:
        before = data["before"]
        return LastChange(
            what=data["what"],
            file=Path(data["file"]),
            digest=data["digest"],
            before=Path(before) if before else None,
            mode=data.get("mode"),
            private=data["private"],
            made=tuple(map(Path, data["made"])),
            ledger=data["ledger"],
        )
    except (KeyError, TypeError):  # none, or one that somebody spoilt
        raise UsageError("there is no change of a client's file to take back") from None


def take_back(folder: Path, change: LastChange, backups: Path) -> None:
    """
    Make the file, and what the ledger knows of it, what they were.

    Raises `McpComposeError` when somebody changed the file since, or the ledger is spoilt.
    """
    state, ledger = change.current(), Ledger(folder)
    ledger.connections()
    if change.before is None:
        write.erase(state, backups, made=change.made)
    else:
        write.save(state, write.load(change.before).text, backups, private=change.private)
        if change.mode is not None and not change.private:
            write.reopen(state.path, change.mode)
    ledger.take_back(change.ledger, change.file)
    (folder / _FILE).unlink(missing_ok=True)


def restore_ledger(folder: Path, text: str | None) -> None:
    """Make the ledger what `snapshot` found."""
    if text is None:
        (folder / _LEDGER).unlink(missing_ok=True)
    else:
        write_atomically(folder / _LEDGER, text)
