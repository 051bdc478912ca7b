"""What all clients together want of one server on the conversation of all: resources to hear of, the log level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mcpcompose.upstream.base import Era
from mcpcompose.upstream.call import Call, Origin, Reply
from mcpcompose.upstream.connection import Connection
from mcpcompose.upstream.levels import SET_LEVEL, Loudest
from mcpcompose.upstream.subscriptions import ACKNOWLEDGED, Subscriptions, Told

_SECONDS: Final = 10.0
_DONE: Final = Reply(result=b"{}")


class Wishes:
    """Of the server *name*; said again whenever a conversation begins."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.subscriptions = Subscriptions(name, clock)
        self._loudest = Loudest()
        self._connection: Connection | None = None
        self._speaks_of_levels = False

    @property
    def are_any(self) -> bool:
        """Whether somebody waits for a word of the server."""
        return bool(self.subscriptions.uris)

    def begin(self, connection: Connection, era: Era, capabilities: Mapping[str, Any]) -> None:
        """A conversation has begun, with a server that says it can do so much."""
        self._connection = connection
        self._speaks_of_levels = era is Era.LEGACY and capabilities.get("logging") is not None
        if self._loudest.level is not None:
            self._say_level()
        self.subscriptions.begin(connection, era)

    def again(self) -> None:
        """The server forgot what it knew of this conversation."""
        if self._connection is not None:
            connection, era = self._connection, self._connection.era
            self.subscriptions.end()
            if self._loudest.level is not None:
                self._say_level()
            self.subscriptions.begin(connection, era)

    def end(self) -> None:
        """It is over."""
        self._connection = None
        self.subscriptions.end()

    def heard(self, method: str, params: bytes) -> bool:
        """Take what concerns only us."""
        if method == ACKNOWLEDGED:
            self.subscriptions.acknowledged(params)
        return method == ACKNOWLEDGED

    def of_call(self, origin: Origin | None) -> None:
        """A call goes out for a client that may want to hear more than others (a level in the envelope)."""
        if origin is not None and origin.modern and origin.level is not None:
            self.level(f"client {origin.client}", origin.level)

    def level(self, who: str, level: str | None, told: Told | None = None) -> None:
        """*who* wants this level from now on; *told* is told when the server knows."""
        changed = self._loudest.wants(who, level)
        if changed and self._speaks_of_levels and self._connection is not None:
            self._say_level(told)
        elif told is not None:
            told(_DONE)

    def _say_level(self, told: Told | None = None) -> None:
        if self._connection is not None and self._speaks_of_levels:
            say_level(self._connection, str(self._loudest.level), told)


def say_level(connection: Connection, level: str, told: Told | None) -> None:
    """Tell a handshake server which messages to send."""

    def answered(_call: Call, reply: Reply) -> bool:
        if told is not None:
            told(reply)
        return False

    connection.begin(Call(SET_LEVEL, {"level": level}, driver=answered, idle=_SECONDS, total=_SECONDS))
