"""
Governed sessions: what each client has read, and what it is pinned to. Labels and pins only accumulate.

A session belongs to a client's token, not to a connection: reconnecting, a second connection, another profile's
endpoint or another protocol revision is the same session. It ends after a time of silence or when a person resets it.
Clients without a token of their own share one session, and see the labels of all others as theirs, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

SHARED: Final = "(shared)"
"""Whose session is that of clients without a token of their own."""
_MOST_PINS: Final = 1024
_LONGEST_PIN: Final = 512
_SAVE_EVERY: Final = 60.0
"""Seconds after which it is written down again when each client was last heard of."""


class TooMany(ValueError):  # noqa: N818  reads as what it is
    """A session holds as many pins as it can."""


class GovernedSession:
    """One client's. Changes are told to the store that made it, which writes them down before they count."""

    __slots__ = ("_changed", "_others", "client", "id", "labels", "last", "pins", "since", "users")

    def __init__(
        self,
        client: str,
        now: float,
        changed: Callable[[], None] = lambda: None,
        others: Callable[[], tuple[GovernedSession, ...]] = lambda: (),
    ) -> None:
        self.users = 0
        """Requests of it that are under way: it does not end before them."""
        self.id = secrets.token_hex(8)
        self.client = client
        self.since = self.last = now
        self.labels: dict[str, str] = {}
        """Where each label first came from, for people: `github/get_issue`."""
        self.pins: dict[str, str] = {}
        """By interceptor, what it is pinned to."""
        self._changed = changed
        self._others = others

    @property
    def reset_command(self) -> str:
        """What a person runs to end it."""
        return f"mcp-compose session reset {self.client.strip('()')}"

    def label(self, label: str, source: str) -> None:
        """It has read something with *label* from *source*."""
        if label not in self.labels:
            self.labels[label] = source[:_LONGEST_PIN]
            self._write_down(self.labels, label)

    def has(self, label: str) -> str | None:
        """Where it, or for clients without a token anybody, has read something with *label*; None when nowhere."""
        found = self.labels.get(label)
        if found is None:
            found = next((other.labels[label] for other in self._others() if label in other.labels), None)
        return found

    def all_labels(self) -> list[str]:
        """Those of `has`."""
        return sorted({*self.labels, *(label for other in self._others() for label in other.labels)})

    def pin(self, key: str, value: str) -> str:
        """Pin *key* to *value* unless it is pinned; returns what it is pinned to. Raises `TooMany`."""
        for one in (self, *self._others()):
            if (pinned := one.pins.get(key)) is not None and pinned != value:
                return pinned
        if key not in self.pins:
            if len(self.pins) >= _MOST_PINS or len(value) > _LONGEST_PIN:
                raise TooMany
            self.pins[key] = value
            self._write_down(self.pins, key)
        return value

    def pinned(self, key: str) -> str | None:
        """What *key* is pinned to, of this session or, for clients without a token, of any."""
        found = self.pins.get(key)
        if found is None:
            found = next((other.pins[key] for other in self._others() if key in other.pins), None)
        return found

    def _write_down(self, among: dict[str, str], key: str) -> None:
        """What cannot be written down does not count, so that the next request tries again."""
        try:
            self._changed()
        except OSError:
            del among[key]
            raise

    def as_json(self) -> dict[str, Any]:
        """For `session ls`, and to be kept."""
        return {
            "id": self.id,
            "client": self.client,
            "since": self.since,
            "last": self.last,
            "labels": dict(self.labels),
            "pins": dict(self.pins),
        }


class GovernedSessions:
    """
    All of a project's; *path* keeps them over a restart of the gateway (0600, written as a whole), None keeps nothing.

    Raises `OSError` from what changes a session when that cannot be written: nothing is let through that is forgotten.
    """

    def __init__(
        self, path: Path | None = None, *, idle: float = 1800.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.idle = idle
        self._path = path
        self._clock = clock
        self._by_client: dict[str, GovernedSession] = {}
        self._saved = clock()
        self._read()

    def of(self, client: str | None) -> GovernedSession:
        """The session of *client*; None for one without a token of its own."""
        now, name = self._clock(), client if client is not None else SHARED
        session = self._by_client.get(name)
        if session is None or (not session.users and self._is_over(session, now)):
            session = self._by_client[name] = self._new(name, now)
        session.last = max(session.last, now)
        if (session.labels or session.pins) and now - self._saved > min(_SAVE_EVERY, self.idle / 4):
            self._keep_hours()
        return session

    def all(self) -> tuple[GovernedSession, ...]:
        """Those that have not ended."""
        now = self._clock()
        return tuple(one for one in self._by_client.values() if not self._is_over(one, now))

    def let_go(self, session: GovernedSession) -> None:
        """A request of *session* has ended, which was a sign of life."""
        session.users -= 1
        session.last = max(session.last, self._clock())

    def _is_over(self, session: GovernedSession, now: float) -> bool:
        return not session.users and now - session.last > self.idle

    def reset(self, client: str) -> bool:
        """End the session of *client*, by a person; False when it has none."""
        found = self._by_client.pop(client, None) is not None
        if found:
            self.save()
        return found

    def save(self) -> None:
        """Write down what there is, also when each was last heard of."""
        if self._path is None:
            return
        self._saved = self._clock()
        kept = [one.as_json() for one in self.all() if one.labels or one.pins]
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"version": 1, "sessions": kept}, file)
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _keep_hours(self) -> None:
        """Nothing else changed, so that it can wait when it cannot be written."""
        with contextlib.suppress(OSError):
            self.save()

    def _new(self, client: str, now: float) -> GovernedSession:
        others = self._all_but_shared if client == SHARED else tuple
        return GovernedSession(client, now, self.save, others)

    def _all_but_shared(self) -> tuple[GovernedSession, ...]:
        return tuple(one for one in self.all() if one.client != SHARED)

    def _read(self) -> None:
        content: Any = None
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self._path.read_bytes())
        found = content.get("sessions") if isinstance(content, dict) else None
        for one in found if isinstance(found, list) else ():
            if isinstance(one, dict) and isinstance(client := one.get("client"), str):
                session = self._new(client, float(one.get("since", 0)))
                session.id = str(one.get("id", session.id))
                session.last = float(one.get("last", 0))
                session.labels = _texts(one.get("labels"))
                session.pins = _texts(one.get("pins"))
                self._by_client[client] = session


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}
