"""What each server is to become, and what a round does about work and instances that lead elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcpcompose.engine.base import InstanceSpec, ObservedState
from mcpcompose.orchestrator.plan import Step, StopInstance
from mcpcompose.orchestrator.round import Ready
from mcpcompose.orchestrator.work import Phase, Work


@dataclass(frozen=True, slots=True)
class Aim:
    """What a server is to become."""

    spec: InstanceSpec
    runs: bool


def aims_of(ready: Ready, stopped: frozenset[str]) -> dict[str, Aim]:
    """The aims of all servers that have instances; the others' is to be gone."""
    return {spec.server: Aim(spec, spec.server not in stopped) for spec in ready.desired.instances}


def call_off(work: Work, aim: Aim | None) -> None:
    """End *work*, which leads elsewhere, unless it has changed something; an image that is still wanted is kept."""
    if work.phase is Phase.WORKING:
        return
    if aim is not None and aim.runs and work.has_image(aim.spec.source) and not work.is_cancelled:
        work.is_outdated = True
    else:
        work.cancel()


def restarted(ready: Ready, observed: ObservedState, servers: frozenset[str]) -> tuple[list[Step], ObservedState]:
    """The steps that stop *servers*, and what the engine will say after them."""
    specs = {spec.name: spec for spec in ready.desired.instances if spec.server in servers}
    stopping = [found for found in observed.instances if found.name in specs and found.running]
    steps = [
        Step(found.server, StopInstance(found.name, specs[found.name].stop_grace_period), "restart asked for")
        for found in stopping
    ]
    after = tuple(
        replace(found, running=False, attached=False) if found in stopping else found for found in observed.instances
    )
    return steps, replace(observed, instances=after)
