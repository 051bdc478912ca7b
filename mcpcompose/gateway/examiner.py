"""Looks at what servers offer, once each; large lists in a thread, so that nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from mcpcompose.gateway.poison import Examined, examine, shadowing
from mcpcompose.spec.canonical import digest
from mcpcompose.upstream.base import Finding, ServerLists

_AT_ONCE: Final = 32 << 10
"""Bytes of lists that are looked at where they arrive."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in *offered*; *digests* are those of its definitions, by identity of the object."""

    offered: ServerLists
    examined: Examined
    digests: Mapping[int, str]

    def digest_of(self, item: Any) -> str:
        """The digest of one of the definitions."""
        return self.digests.get(id(item)) or digest(item)

    def of(self, kind: str, name: str) -> tuple[Finding, ...]:
        """What was found in one definition."""
        return tuple(one for one in self.examined.findings if (one.kind, one.name) == (kind, name))


def look(offered: ServerLists) -> Looked:
    """Look at *offered* now."""
    every = (*offered.tools, *offered.prompts, *offered.templates)
    return Looked(offered, examine(offered), {id(item): digest(item) for item in every})


class Examiner:
    """*done* is told (on the event loop) when something that took longer has been looked at."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._looked: dict[str, Looked] = {}
        self._looking: dict[str, tuple[ServerLists, asyncio.Task[None]]] = {}
        self._told: tuple[object, dict[str, tuple[Finding, ...]]] = (None, {})

    def of(self, server: str, offered: ServerLists) -> Looked | None:
        """What was found in what *server* offers; None while it is being looked at."""
        known = self._looked.get(server)
        if known is not None and known.offered is offered:
            return known
        under_way = self._looking.get(server)
        if under_way is not None and under_way[0] is offered:
            return None
        if _loop() is None or len(msgspec.json.encode(offered)) <= _AT_ONCE:
            self._break_off(server)
            self._looked[server] = look(offered)
            return self._looked[server]
        self._break_off(server)
        self._looking[server] = (offered, asyncio.create_task(self._look(server, offered), name=f"look at {server}"))
        return None

    def findings(self) -> dict[str, tuple[Finding, ...]]:
        """By server everything that was found, in view of each other's tools too."""
        looked = dict(self._looked)
        key = tuple((server, id(one)) for server, one in looked.items())
        if self._told[0] != key:
            names = {server: _tools(one.offered) for server, one in looked.items()}
            told = {
                server: (
                    *one.examined.findings,
                    *shadowing(one.examined, names[server], {n: found for n, found in names.items() if n != server}),
                )
                for server, one in looked.items()
            }
            self._told = (key, told)
        return self._told[1]

    def forget(self, declared: Mapping[str, Any]) -> None:
        """Only these servers are still declared."""
        self._looked = {name: found for name, found in self._looked.items() if name in declared}
        for name in [name for name in self._looking if name not in declared]:
            self._break_off(name)

    async def close(self) -> None:
        """Look at nothing more."""
        for _, task in tuple(self._looking.values()):
            task.cancel()
            await asyncio.wait({task})
        self._looking.clear()

    def _break_off(self, server: str) -> None:
        """What is being looked at is not offered any more."""
        if (under_way := self._looking.pop(server, None)) is not None:
            under_way[1].cancel()

    async def _look(self, server: str, offered: ServerLists) -> None:
        found = await asyncio.to_thread(look, offered)
        if self._looking.get(server, (None,))[0] is offered:
            del self._looking[server]
            self._looked[server] = found
            self._done()


def _tools(offered: ServerLists) -> tuple[str, ...]:
    return tuple(name for tool in offered.tools if isinstance(name := tool.get("name"), str))


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
