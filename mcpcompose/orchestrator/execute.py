"""
Carry out a plan: each server's steps one after the other, in a task of its own, beside everybody else's.

A server whose step fails loses the rest of its own steps and nothing else. A server waits for those it depends on
and for the volumes it mounts, and for nobody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from mcpcompose.engine.base import Engine
from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.copies import Copies
from mcpcompose.orchestrator.outcome import OnEvent, Outcome, ignore_event, reason_of
from mcpcompose.orchestrator.plan import (
    CreateInstance,
    CreateVolume,
    EnsureImage,
    Plan,
    RemoveNetwork,
    RemoveVolume,
    StartInstance,
    Step,
    describe,
)
from mcpcompose.orchestrator.serving import Serving
from mcpcompose.orchestrator.steps import Steps, Turns, ValuesOf
from mcpcompose.orchestrator.work import Crew, Phase, Work, until_ended
from mcpcompose.spec.identity import is_copy

_BRINGS_UP: Final = (CreateInstance, StartInstance)

Guard = Callable[[str], AbstractAsyncContextManager[object]]


async def execute(
    plan: Plan,
    engine: Engine,
    values: ValuesOf,
    serving: Serving,
    on_event: OnEvent = ignore_event,
    *,
    guard: Guard | None = None,
    copies: Copies | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """
    Carry out *plan* to its end; what fails is in the outcome, and told to *serving*.

    *values* gives the values of an instance by its name. *guard* is held around one server's steps. *copies* that are
    in use end before what they are copies of.
    """
    crew = Crew()
    steps = Steps(engine, values, serving, Turns(), clock=clock)
    works = launch(plan, crew, Executor(steps, serving, guard, copies), on_event=on_event)
    try:
        await until_ended(works)
    finally:
        await crew.close(0)
    raise_broken(works)
    return outcome_of(plan, works)


class Executor:
    """Takes works from their first step to their last."""

    def __init__(
        self, steps: Steps, serving: Serving, guard: Guard | None = None, copies: Copies | None = None
    ) -> None:
        self._steps, self._serving, self._guard = steps, serving, guard or _unguarded
        self._copies = copies

    async def carry_out(self, work: Work) -> None:
        """
        All steps of *work*. Raises `McpComposeError`.

        Images come first, so that a server that is replaced serves until its image is there.
        """
        images = [step for step in work.steps if isinstance(step.operation, EnsureImage)]
        others = [step for step in work.steps if step not in images]
        try:
            if work.starts and not work.ends:
                self._serving.starting(work.server)
            await self._steps.judge(work)
            for step in images:
                await self._steps.take(work, step)
            work.phase = Phase.WAITING
            if not (work.is_outdated or work.is_cancelled):
                await until_ended(work.before)
                async with self._guard(work.server):
                    work.phase = Phase.WORKING
                    await self._end_copies(work)
                    await self._change(work, others)
                work.is_finished = True
        except Exception as error:
            if work.starts and (work.phase is Phase.WORKING or not work.ends):
                self._serving.failed(work.server, reason_of(error))
            raise

    async def _end_copies(self, work: Work) -> None:
        """End the further instances of a server that ends (after their calls in flight), or that are to go alone."""
        in_use = self._copies.of(work.server) if self._copies is not None else None
        if self._copies is None or not in_use:
            return
        is_whole = any(not is_copy(name) for name in work.ending)
        if is_whole:
            await self._serving.detach(work.server)
        if is_whole or in_use & work.ending:
            await self._copies.end(work.server)

    async def _change(self, work: Work, steps: list[Step]) -> None:
        is_told = not work.ends
        for step in steps:
            if not is_told and isinstance(step.operation, _BRINGS_UP):
                self._serving.starting(work.server)
                is_told = True
            await self._steps.take(work, step)


def launch(
    plan: Plan,
    crew: Crew,
    executor: Executor,
    *,
    aims: Mapping[str, object] | None = None,
    on_event: OnEvent = ignore_event,
) -> tuple[Work, ...]:
    """Begin everything in *plan* that is not under way yet; *aims* says what the work on each server leads to."""
    parts: dict[str, list[Step]] = {}
    for step in plan.steps:
        parts.setdefault(step.server or describe(step.operation), []).append(step)
    works = {
        key: Work(key, steps[0].server, tuple(steps), (aims or {}).get(key))
        for key, steps in parts.items()
        if key not in crew.under_way
    }
    after = dict(plan.after)
    for work in works.values():
        work.heard_by(on_event)
        work.before = tuple(_before(work, after.get(work.key, ()), works, crew))
    for work in works.values():
        crew.begin(work, executor.carry_out(work))
    return tuple(works.values())


def _before(work: Work, depends_on: Iterable[str], together: Mapping[str, Work], crew: Crew) -> Iterable[Work]:
    """The works that *work* has to wait for."""
    last = (RemoveVolume, RemoveNetwork)
    if not work.server and any(isinstance(step.operation, last) for step in work.steps):
        yield from (other for other in together.values() if other.server)
        return
    for server in depends_on if work.starts else ():
        if server in together:
            yield together[server]
        elif (other := crew.under_way.get(server)) is not None and not _still_serves(other):
            yield other
    mounted = {m.source for s in work.steps if isinstance(s.operation, CreateInstance) for m in s.operation.spec.mounts}
    for other in (*together.values(), *crew.under_way.values()):
        made = (step.operation.spec.name for step in other.steps if isinstance(step.operation, CreateVolume))
        if not mounted.isdisjoint(made):
            yield other


def _still_serves(work: Work) -> bool:
    """What *work* is going to replace is still there."""
    return work.ends and work.phase is not Phase.WORKING


def raise_broken(works: Iterable[Work]) -> None:
    """Raise what ended any of *works* and is no error."""
    if broken := [work.broken for work in works if work.broken is not None]:
        raise BaseExceptionGroup("work was broken off", broken)


def outcome_of(plan: Plan, works: Iterable[Work]) -> Outcome:
    """What came of *works*, which have ended."""
    errors: dict[str, McpComposeError] = {}
    images: dict[str, str] = {}
    for work in works:
        if work.error is not None:
            errors.setdefault(work.server, work.error)
        if work.images:
            images[work.server] = work.images[-1]
    return Outcome(plan, errors, images)


def _unguarded(_server: str) -> AbstractAsyncContextManager[object]:
    return nullcontext()
