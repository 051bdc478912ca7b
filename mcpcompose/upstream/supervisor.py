"""Owns every server's slot: who is declared, who retires, what they offer, how they are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from mcpcompose.engine.base import Endpoint
from mcpcompose.engine.check import Health
from mcpcompose.spec.project import Project
from mcpcompose.upstream.base import Instances, Restart, ServerLists, State, Status
from mcpcompose.upstream.call import Ask, Call, Origin, unavailable
from mcpcompose.upstream.copies import Copies
from mcpcompose.upstream.listcache import ListCache
from mcpcompose.upstream.slot import Slot
from mcpcompose.upstream.subscriptions import Subscriptions, Told
from mcpcompose.upstream.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)
_SWEEP: Final = 0.5
_POLL: Final = 0.02
_UNSETTLED: Final = frozenset({State.WAITING, State.STARTING})


class Heard(Protocol):
    """Who is told what servers say outside of calls."""

    def said(self, server: str, origin: Origin | None, method: str, params: bytes) -> None:
        """A notification, to the client of *origin* or to whomever it concerns."""

    def asked(self, server: str, origin: Origin, ask: Ask) -> None:
        """A question of *server* to the client of *origin*."""

    def listens(self, origin: Origin) -> bool:
        """Whether that client hears anything outside of its calls."""


class Supervisor:
    """
    The servers of one project.

    *cache* is the folder of tool lists, *restart* starts an instance again, *changed* is told (on the event loop,
    often) that the lists or who offers them changed, *redactor* hides secret values in reasons. *instances* runs
    further instances, *heard* is told what servers say outside of calls. *admits* says whether a server that has said
    what it offers may have a call that came before.
    """

    def __init__(
        self,
        *,
        cache: Path,
        restart: Restart,
        changed: Callable[[], None],
        redactor: Callable[[str], str] | None = None,
        instances: Instances | None = None,
        heard: Heard | None = None,
        admits: Callable[[str, Call], bool] | None = None,
    ) -> None:
        self._copies = Copies(instances) if instances is not None else None
        self._around = Surroundings(
            ListCache(cache, redactor), restart, changed, redactor or (lambda text: text), self._copies
        )
        if admits is not None:
            self._around = replace(self._around, admits=admits)
        if heard is not None:
            self._around = replace(self._around, heard=heard.said, asked=heard.asked, listens=heard.listens)
        self._slots: dict[str, Slot] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self.lists_first = False
        """Servers get no call before they have said what they offer, without a lock too."""

    # --- as in orchestrator.serving ---------------------------------------------------------------------------------

    def declare(self, project: Project, fingerprints: Mapping[str, str]) -> None:
        """Set which servers there are; lists of before are offered at once where the launch identity is the same."""
        self.start()
        limit = project.gateway.limits.result
        before, self._slots = self._slots, {}
        for name, spec in project.servers.items():
            fingerprint = fingerprints.get(name)
            slot = before.pop(name, None)
            if slot is None:
                slot = Slot(name, spec, fingerprint, limit, self._around)
            else:
                slot.redeclare(spec, fingerprint, limit)
            slot.lists_first = project.lock is not None or (self.lists_first and spec.integrity != "off")
            self._slots[name] = slot
        for name, slot in before.items():
            self._retire(name, slot)

    def starting(self, server: str) -> None:
        """Its instance is being made."""
        if slot := self._slots.get(server):
            slot.starting()

    async def attach(self, server: str, endpoint: Endpoint) -> None:
        """Its instance runs and is reached here; the handshake follows by itself."""
        slot = self._slots.get(server)
        if slot is not None:
            await slot.attach(endpoint)

    async def detach(self, server: str) -> None:
        """Let calls in flight end (bounded), then let go of it."""
        retiring = self._retiring.get(server)
        if retiring is not None:
            await asyncio.wait({retiring})
        if slot := self._slots.get(server):
            await slot.detach()

    def health(self, server: str, health: Health, complaint: str) -> None:
        """What the check of its instance says."""
        if slot := self._slots.get(server):
            slot.checked(health, complaint)

    def failed(self, server: str, reason: str) -> None:
        """Its instance cannot be had."""
        if slot := self._slots.get(server):
            slot.failed(reason)

    def stopped(self, server: str) -> None:
        """Stopped on purpose."""
        if slot := self._slots.get(server):
            slot.stopped()

    # --- for the gateway --------------------------------------------------------------------------------------------

    def submit(self, server: str, call: Call) -> None:
        """Send *call* to *server*, now or as soon as it is there. Never raises."""
        slot = self._slots.get(server)
        if slot is None:
            call.finish(unavailable(server, f"server `{server}` is no longer declared"))
        else:
            slot.submit(call)

    def session_ended(self, session: str) -> None:
        """A client's session is over: nothing is kept for it any more."""
        for slot in self._slots.values():
            slot.session_ended(session)

    def wanted(self, servers: Iterable[str], kind: str) -> None:
        """Somebody reads this list of these servers."""
        for server in servers:
            if slot := self._slots.get(server):
                slot.wanted(kind)

    def subscriptions(self, server: str) -> Subscriptions | None:
        """The resources of *server* that somebody wants to hear of."""
        slot = self._slots.get(server)
        return slot.subscriptions() if slot is not None else None

    def is_shared(self, server: str) -> bool:
        """Whether all clients share one instance of it."""
        slot = self._slots.get(server)
        return slot is None or slot.is_shared

    def level(self, server: str, session: str, level: str, told: Told) -> None:
        """A client's session wants log messages of this level."""
        slot = self._slots.get(server)
        if slot is not None:
            slot.level(session, level, told)
        else:
            told(unavailable(server, f"server `{server}` is no longer declared"))

    def notify(self, server: str, session: str, method: str, params: dict[str, Any], *, shared: bool) -> None:
        """A notification of a client's session; *shared* says that it may go on the conversation of all."""
        if slot := self._slots.get(server):
            slot.notify(session, method, params, shared=shared)

    def session_hears(self, session: str) -> None:
        """A client listens outside of its calls from now on."""
        for slot in self._slots.values():
            slot.session_hears(session)

    def timeouts(self, server: str) -> tuple[float, float]:
        """How long a call to *server* may be silent, and take."""
        slot = self._slots.get(server)
        return slot.timeouts if slot is not None else (60.0, 1800.0)

    def excuse(self, server: str) -> str | None:
        """Why nothing is known of what *server* offers; None when its lists are there."""
        slot = self._slots.get(server)
        return slot.excuse if slot is not None and slot.offers is None else None

    def lists(self) -> dict[str, ServerLists]:
        """What is offered now, in the file's order."""
        return {name: offers for name, slot in self._slots.items() if (offers := slot.offers) is not None}

    def lists_of(self, server: str) -> ServerLists | None:
        """What *server* offers now."""
        slot = self._slots.get(server)
        return slot.offers if slot is not None else None

    def status(self) -> tuple[Status, ...]:
        """How each server is doing, in the file's order."""
        return tuple(slot.status() for slot in self._slots.values())

    async def settled(self, timeout: float) -> bool:  # noqa: ASYNC109  asked by people, answers False
        """Wait until no server is waiting or starting; False when that takes longer than *timeout* seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while any(slot.state in _UNSETTLED for slot in self._slots.values()):  # noqa: ASYNC110  for people
                    await asyncio.sleep(_POLL)
                return True
        return False

    def start(self) -> None:
        """Begin to watch the time of calls; done by `declare` too."""
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep(), name="sweep")

    async def close(self) -> None:
        """Let go of every server; calls in flight end with an error."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
            self._sweeper = None
        ends = await asyncio.gather(*(slot.close() for slot in self._slots.values()), return_exceptions=True)
        for name, end in zip(self._slots, ends, strict=True):
            if isinstance(end, Exception):
                _log.error("server `%s` could not be let go of", name, exc_info=end)
        for task in tuple(self._leaving):
            task.cancel()
            await asyncio.wait({task})
        if self._copies is not None:
            await self._copies.close()

    def _retire(self, name: str, slot: Slot) -> None:
        async def retire() -> None:
            try:
                await slot.detach()
            finally:
                await slot.close()
                if self._retiring.get(name) is task:
                    del self._retiring[name]

        task = asyncio.create_task(retire(), name=f"retire {name}")
        self._retiring[name] = task
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            now = self._around.clock()
            for slot in self._slots.values():
                slot.sweep(now)
