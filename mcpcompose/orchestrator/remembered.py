"""
The launch identities of last time, so that lists of before can be served before the engine was asked.

Which image a reference stands for only the engine knows. Until it has answered, the identity that a server had when
it was last declared stands, if the server is written as it was then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class Remembered:
    """Identities by server, in *file*; nothing is remembered without one. A loss costs only the speed of a start."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def of(self, written: Mapping[str, str]) -> dict[str, str]:
        """The identities of last time; *written* are the servers' identities as far as the file tells them."""
        kept = self._read()
        return {
            server: known
            for server, identity in written.items()
            if isinstance(pair := kept.get(server), list) and len(pair) == 2  # noqa: PLR2004  as `keep` writes it
            for before, known in (pair,)
            if before == identity and isinstance(known, str)
        }

    def keep(self, written: Mapping[str, str], known: Mapping[str, str]) -> None:
        """Remember *known*; a full disk is no reason to stop."""
        wanted = {server: [identity, known[server]] for server, identity in written.items() if server in known}
        if self._file is None or wanted == self._read():
            return
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(wanted, file)
            draft.replace(self._file)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _read(self) -> dict[str, object]:
        if self._file is None:
            return {}
        try:
            kept = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}
