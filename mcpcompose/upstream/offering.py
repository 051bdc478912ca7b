"""What one server offers: remembered from last time, then as it says itself, and when to ask it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mcpcompose.upstream.base import Era, ServerLists
from mcpcompose.upstream.freshness import Freshness
from mcpcompose.upstream.handshake import Greeting
from mcpcompose.upstream.listcache import ListCache


class Offering:
    """The lists of one server; *fingerprint* is its launch identity, None for one that is not cached."""

    def __init__(self, cache: ListCache, fingerprint: str | None, clock: Callable[[], float]) -> None:
        self.lists: ServerLists | None = None
        self.era: Era | None = None
        """What it spoke last time."""
        self._cache = cache
        self._fingerprint = fingerprint
        self._freshness = Freshness(clock)
        self._remembered: tuple[ServerLists, ServerLists] | None = None
        """The lists of before, and the same without hints for caches: the server may offer something else by now."""
        self._has_spoken = False
        """Its lists are its own, and not those of a server like it."""
        self._remember()

    def identify(self, fingerprint: str | None) -> None:
        """It is launched like this from now on."""
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._remember()

    def said(self, lists: ServerLists, greeting: Greeting) -> None:
        """It offers this, in its own words."""
        self.lists, self._has_spoken = lists, True
        self._freshness.read()
        if self._fingerprint is not None:
            self._cache.store(self._fingerprint, lists, greeting.era, greeting.version)

    @property
    def without_hints(self) -> ServerLists | None:
        """The lists, for while it does not serve."""
        if self.lists is None:
            return None
        if self._remembered is None or self._remembered[0] is not self.lists:
            self._remembered = (self.lists, replace(self.lists, beside=None))
        return self._remembered[1]

    def may_be_old(self, kind: str) -> bool:
        """Whether to read a list again that somebody wants now; told once."""
        return self.lists is not None and self._freshness.is_over(kind, self.lists)

    def _remember(self) -> None:
        """What is cached of this launch identity; without it what the server said itself stays, and nothing else."""
        stored = self._cache.load(self._fingerprint) if self._fingerprint is not None else None
        if stored is not None:
            self.lists, self.era = stored
        else:
            self.era = None
            if not self._has_spoken:
                self.lists = None
