"""What the running gateway does when it is asked: the answers of its admin API (`gateway.admin.Control`)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mcpcompose.actions.context import Context, Source, remember
from mcpcompose.actions.report import plan_as_json, problem_as_json, server_as_json, step_as_json, waiting_as_json, why
from mcpcompose.actions.trust import as_json
from mcpcompose.actions.version import version_number
from mcpcompose.auth.tokens import DEFAULT_PROFILE
from mcpcompose.config.watch import changes
from mcpcompose.errors import CalledOff, GatewayNotRunning, McpComposeError
from mcpcompose.log import fields
from mcpcompose.orchestrator.controller import Finish
from mcpcompose.orchestrator.outcome import OnEvent, Outcome, reason_of
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.upstream.base import State

Json = Mapping[str, Any]
_log: Final = logging.getLogger(__name__)
_SEE_LOG: Final = "please report it with what `mcp-compose logs gateway` shows"
_LOOK_EVERY: Final = 0.02
_UNSETTLED: Final = frozenset({State.WAITING, State.STARTING})
_FINE: Final = frozenset({State.READY, State.IDLE, State.STOPPED})
_SPOKEN: Final = frozenset({State.READY, State.IDLE})
_ROUNDS_AGAIN: Final = 1.0
_SPARE: Final = 5.0
"""Seconds beyond the longest `timeouts.start` until a server that has not settled is left to itself."""


class GatewayControl:
    """
    The control of one gateway process. *ended* is set when it is to end.

    Until something was applied it has nothing to do; `is_idle` tells its owner to end it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._controller = context.controller
        self._busy = 0
        self._actions: set[asyncio.Task[Outcome]] = set()
        self._was_asked = False
        self.has_applied = False
        self._turn = asyncio.Lock()
        self._going_down = False
        self._is_down = False
        self._rounds: asyncio.Task[None] | None = None
        self._since = time.time()
        self.ended = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Nothing was ever applied, and nobody is asking for it just now."""
        return not self.has_applied and not self._busy and not self._actions

    @property
    def has_failed(self) -> bool:
        """What was asked for could not be applied, and nothing else was."""
        return self.is_idle and self._was_asked

    # --- asked over the admin socket ---------------------------------------------------------------------------------

    async def status(self) -> Json:
        """Everything `ps` shows."""
        status = self._controller.status()
        context = self._context
        project, problem = status.project, status.problem or context.serving.problem
        return {
            "project": context.place.name,
            "directory": str(context.place.directory),
            "files": list(context.source.wire["files"]),
            "engine": project.engine if project else None,
            "endpoint": context.gateway.url,
            "gateway": {
                "pid": os.getpid(),
                "version": version_number(),
                "since": self._since,
                "watch": context.source.watch,
            },
            "servers": [server_as_json(one) for one in context.gateway.status()] if project else [],
            "problem": problem_as_json(problem) if problem else None,
            "interceptors": context.redactor.tree(context.gateway.governance.problems()),
            "remarks": list(project.provenance.remarks) if project else [],
            "unapproved": [as_json(form) for form in status.pending],
        }

    async def apply(self, request: Json) -> AsyncIterator[Json]:
        """
        Serve this file from now on; `dry_run` only plans, `wake` only looks again at the one that is served.

        `again` is for the files that are served already, with the text `lock` in place of their lock file.
        """
        self._busy += 1
        try:
            if request.get("wake"):
                self._controller.wake()
                return
            if request.get("again"):  # the same files, with another lock or their own
                request = relocked(self._context.source.wire, request.get("lock"))
            if request.get("dry_run"):
                yield await self._planned(request)
                return
            before = not self.has_applied
            async for event in self._doing(lambda tell: self._apply(request, tell)):
                if isinstance(event, Outcome):
                    async for settling in self._settling({step.server for step in event.plan.steps}):
                        yield settling
                    yield self._done(event, changed=before or bool(event.plan))
                else:
                    yield event
        finally:
            # Who only looks, or says that there is something to look at, brings no file.
            self._was_asked |= not (request.get("wake") or request.get("dry_run"))
            self._busy -= 1

    async def down(self, request: Json) -> AsyncIterator[Json]:
        """Take everything down and end."""
        volumes = request.get("volumes") is True
        async for event in self._doing(lambda tell: self._take_down(volumes, tell)):
            yield self._done(event, changed=bool(event.plan)) if isinstance(event, Outcome) else event

    def start(self, servers: Sequence[str]) -> AsyncIterator[Json]:
        """Start servers; none named means all."""
        return self._per_server(self._controller.start, servers)

    def stop(self, servers: Sequence[str]) -> AsyncIterator[Json]:
        """Stop servers; none named means all."""
        return self._per_server(self._controller.stop, servers)

    def restart(self, servers: Sequence[str]) -> AsyncIterator[Json]:
        """Restart servers; none named means all."""
        return self._per_server(self._controller.restart, servers)

    async def logs(self, servers: Sequence[str], *, follow: bool, tail: int | None) -> AsyncIterator[Json]:
        """Lines of the servers' logs."""
        logs = self._context.logs
        project = self._controller.status().project
        # Both in one step of the event loop, so that no line falls between what was and what comes.
        coming = logs.follow(servers or None) if follow else None
        written = [(one, logs.tail(one, tail)) for one in servers or (project.servers if project else ())]
        for server, lines in written:
            for line in lines:
                yield {"server": server, "line": line}
        if coming is not None:
            async for server, line in coming:
                yield {"server": server, "line": line}

    async def tools(self, profile: str | None) -> Sequence[Json]:
        """The exposed tools of a profile; to be looked at, so that no secret is in what a server says of them."""
        tools: list[Json] = self._context.redactor.tree(self._context.gateway.tools(profile or DEFAULT_PROFILE))
        return tools

    async def offers(self) -> Json:
        """What a lock holds of what the servers offer, of those whose own words it is."""
        settled = {one.server for one in self._context.gateway.status() if one.state in _SPOKEN}
        return {name: found for name, found in self._context.gateway.offers().items() if name in settled}

    async def withheld(self) -> Sequence[Json]:
        """What of the servers' definitions waits for acceptance; to be looked at, so no secret is in it."""
        return await self._shown(self._context.gateway.waiting())

    async def accept(self, hashes: Sequence[str]) -> Sequence[Json]:
        """Accept exactly these."""
        return await self._shown(self._context.gateway.accept(hashes))

    async def _shown(self, waiting: Sequence[Any]) -> Sequence[Json]:
        """As JSON; made in a thread, since a server can offer very much."""
        shown = await asyncio.to_thread(lambda: [waiting_as_json(one) for one in waiting])
        found: list[Json] = self._context.redactor.tree(shown)
        return found

    async def call(self, request: Json) -> Json:
        """One call through the gateway's own pipeline."""
        params = {"name": str(request["tool"]), "arguments": dict(request.get("arguments") or {})}
        return await self._context.gateway.call("tools/call", params, profile=request.get("profile") or DEFAULT_PROFILE)

    async def sessions(self) -> Sequence[Json]:
        """What each client has read, and is pinned to."""
        sessions: list[Json] = self._context.redactor.tree(
            [one.as_json() for one in self._context.gateway.governance.sessions.all()]
        )
        return sessions

    async def reset_session(self, client: str) -> bool:
        """End the governed session of a client; False when it has none."""
        return self._context.gateway.governance.sessions.reset(client)

    async def token(self, client: str, *, rotate: bool) -> Json:
        """A client's token, made on first use, or another one."""
        tokens = self._context.gateway.tokens
        token = tokens.rotate(client) if rotate else tokens.token(client)
        return {"client": client, "profile": tokens.clients[client], "token": token}

    # --- asked by the process that holds it --------------------------------------------------------------------------

    async def stop_everything(self, on_event: OnEvent) -> None:
        """Stop every server; what they ran in stays, until `down`. What is still being done is broken off."""
        if unfinished := tuple(self._actions):
            for task in unfinished:
                task.cancel()
            await asyncio.wait(unfinished)
        await self._stop_rounds()
        project = self._controller.status().project
        if project is not None and not self._is_down:
            await self._controller.stop(project.servers, on_event)

    # --- how -------------------------------------------------------------------------------------------------------

    async def _apply(self, request: Json, tell: OnEvent) -> Outcome:
        self._refuse_while_going_down()
        async with self._turn:
            self._call_off_when_going_down()
            finish = await self._begin(request, tell)
        outcome = await finish()
        self._call_off_when_going_down()
        return outcome

    async def _begin(self, request: Json, tell: OnEvent) -> Finish:
        """Begin to serve the files of *request*; what was served before stays where they cannot be used."""
        context = self._context
        source = Source(context.place, request, context.engines)
        asked = ApplyRequest(load=source.load, host=request["environ"], trust=tuple(request.get("trust", ())))
        try:
            finish = await self._controller.begin(asked, tell)
            context.source = source
        finally:
            context.engines.environ = context.source.wire["environ"]
        try:
            await context.serving.opened()
            self.has_applied = True
            remember(context.place, lambda record: replace(record, files=tuple(request["files"])))
        finally:
            # From now on, not from when everything is up: an image that takes minutes keeps no change of the file
            # waiting.
            if self.has_applied:
                await self._start_rounds()
        return finish

    async def _take_down(self, volumes: bool, tell: OnEvent) -> Outcome:
        """Take everything down and end, whoever still listens; where that cannot be, go on as before."""
        self._going_down = True
        async with self._turn:
            await self._stop_rounds()
            try:
                outcome = await self._controller.down(volumes=volumes, on_event=tell)
            except Exception:
                self._going_down = False
                if self.has_applied:
                    await self._start_rounds()
                    self._controller.wake()
                raise
            self._is_down = outcome.ok
            if outcome.ok:
                try:
                    remember(self._context.place, lambda record: replace(record, engines=()))
                except OSError as error:  # the next `down` asks the engines in vain, and that is all
                    _log.warning("record not written", extra=fields(reason=str(error)))
            self.ended.set()
            return outcome

    def _refuse_while_going_down(self) -> None:
        if self._going_down:
            raise GatewayNotRunning("the project is being taken down", hint="try again when that is done")

    def _call_off_when_going_down(self) -> None:
        """What came before a `down` does not bring up again what that takes down."""
        if self._going_down:
            raise CalledOff("the project is being taken down by a later `mcp-compose down`")

    async def _planned(self, request: Json) -> Json:
        source = Source(self._context.place, request)
        preview = await self._controller.preview(ApplyRequest(load=source.load, host=request["environ"]))
        return {"event": "plan", **plan_as_json(preview)}

    async def _per_server(
        self, action: Callable[[Sequence[str], OnEvent], Awaitable[Outcome]], servers: Sequence[str]
    ) -> AsyncIterator[Json]:
        self._refuse_while_going_down()
        project = self._controller.status().project
        chosen = tuple(servers or (project.servers if project else ()))
        async for event in self._doing(lambda tell: action(chosen, tell)):
            if isinstance(event, Outcome):
                async for settling in self._settling(set(chosen)):
                    yield settling
                yield self._done(event, changed=bool(event.plan), only=frozenset(chosen))
            else:
                yield event

    async def _doing(self, action: Callable[[OnEvent], Awaitable[Outcome]]) -> AsyncIterator[Json | Outcome]:
        """What *action* tells while it goes on, then its outcome. It is finished even if nobody listens any more."""
        told: asyncio.Queue[Json | None] = asyncio.Queue()

        async def act() -> Outcome:
            try:
                return await action(lambda event: told.put_nowait(step_as_json(event, self._context.redactor.text)))
            finally:
                told.put_nowait(None)

        task = asyncio.create_task(act())
        self._actions.add(task)
        task.add_done_callback(self._acted)
        while (event := await told.get()) is not None:
            yield event
        await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, McpComposeError):
            raise McpComposeError(f"internal error: {type(error).__name__}", hint=_SEE_LOG) from error
        yield task.result()

    def _acted(self, task: asyncio.Task[Outcome]) -> None:
        """It is over; its error is told to whoever still listens."""
        self._actions.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, McpComposeError):
            _log.error("action broke", exc_info=error)

    async def _settling(self, touched: Collection[str]) -> AsyncIterator[Json]:
        """
        The states of *touched* servers and each change of the others', until each has served or failed once.

        One that fails is tried again and again; nobody waits for that. Ends at the latest some seconds after the
        longest start limit.
        """
        project = self._controller.status().project
        limits = [server.timeouts.start for server in project.servers.values()] if project else []
        end = time.monotonic() + max(limits, default=0.0) + _SPARE
        shown: dict[str, str] = {}
        settled: set[str] = set()
        for one in self._context.gateway.status():
            if one.server not in touched and one.state is State.READY:
                shown[one.server] = one.state
        while True:
            statuses = self._context.gateway.status()
            for one in statuses:
                if shown.get(one.server) != one.state:
                    shown[one.server] = one.state
                    yield {"event": "server", **server_as_json(one)}
            settled |= {one.server for one in statuses if one.state not in _UNSETTLED}
            if all(one.server in settled for one in statuses) or time.monotonic() > end:
                self._context.gateway.flush()
                return
            await asyncio.sleep(_LOOK_EVERY)

    def _done(self, outcome: Outcome, *, changed: bool, only: frozenset[str] | None = None) -> Json:
        redact = self._context.redactor.text
        statuses = [one for one in self._context.gateway.status() if only is None or one.server in only]
        failed = {one.server: why(one) for one in statuses if one.state not in _FINE}
        failed |= {server: redact(reason_of(error)) for server, error in outcome.errors.items()}
        project = self._controller.status().project
        return {
            "event": "done",
            "project": self._context.place.name,
            "changed": changed,
            "failed": failed,
            "engine": project.engine if project else None,
            "endpoint": self._context.gateway.url,
            "remarks": list(project.provenance.remarks) if project else [],
            "servers": [server_as_json(one) for one in statuses],
        }

    async def _start_rounds(self) -> None:
        """Follow the engine's events and a timer, and the files if they are watched."""
        await self._stop_rounds()
        self._rounds = asyncio.create_task(self._keep_rounds(), name="rounds")

    async def _keep_rounds(self) -> None:
        """Rounds until cancelled; when they break, they begin again after a while."""
        while True:
            watched = changes(self._controller.files) if self._context.source.watch else None
            rounds = asyncio.create_task(self._controller.run(watched), name="look")
            try:
                await asyncio.wait({rounds})
            finally:
                rounds.cancel()
                await asyncio.gather(rounds, return_exceptions=True)
            # Unseen, it would keep every change of the file from taking effect.
            _log.error("rounds ended", exc_info=None if rounds.cancelled() else rounds.exception())
            await asyncio.sleep(_ROUNDS_AGAIN)
            self._controller.wake()

    async def _stop_rounds(self) -> None:
        if self._rounds is None:
            return
        self._rounds.cancel()
        await asyncio.wait({self._rounds})
        self._rounds = None


def relocked(wire: Json, lock: str | None) -> Json:
    """*wire* with *lock* in place of the lock file; while it is, things may differ even from `up --locked`."""
    locked = wire.get("was_locked", wire.get("locked"))
    return {**wire, "lock": lock, "was_locked": locked, "locked": locked if lock is None else False}
