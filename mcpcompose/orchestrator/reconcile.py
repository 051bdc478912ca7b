"""
Compare what is declared with what runs, and plan the difference.

Pure: same input, same plan. Nothing here awaits, prints or asks the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from mcpcompose.engine.base import (
    HostCommand,
    Http,
    InstanceSpec,
    NetworkSpec,
    ObservedInstance,
    ObservedState,
    RegistryImage,
)
from mcpcompose.orchestrator.desired import Desired, image_reference
from mcpcompose.orchestrator.hashes import differences
from mcpcompose.orchestrator.plan import (
    ConnectInstance,
    CreateInstance,
    CreateNetwork,
    CreateVolume,
    EnsureImage,
    Operation,
    Plan,
    RemoveInstance,
    RemoveNetwork,
    RemoveVolume,
    StartInstance,
    Step,
    StopInstance,
)
from mcpcompose.spec.identity import HASH_LABEL, network_name

NONE: Final[frozenset[str]] = frozenset()
GONE: Final = "no longer declared"
LEFT: Final = "left by an interrupted run"


def reconcile(
    desired: Desired,
    observed: ObservedState,
    *,
    refresh: frozenset[str] = NONE,
    only: frozenset[str] | None = None,
    stopped: frozenset[str] = NONE,
    skip: frozenset[str] = NONE,
    unattended: frozenset[str] = NONE,
    resting: frozenset[str] = NONE,
    held: frozenset[str] = NONE,
) -> Plan:
    """
    Plan how to get from *observed* to *desired*. No steps means: nothing to do.

    *refresh*: servers whose images are had anew first. *only*: leave every other server alone, strays included.
    *stopped*: servers that are not to run. *skip*: servers to leave alone in this round. *unattended*: servers that
    ended by themselves and whose restart is the supervisor's. *resting*: servers that are stopped because nobody uses
    them. *held*: names of further instances that are in use.
    """
    comparison = _Comparison(
        desired, observed, refresh=refresh, stopped=stopped, unattended=unattended, resting=resting, held=held
    )
    strays = [] if only is not None else [step for step in comparison.strays() if step.server not in skip]
    wanted = [spec for spec in desired.instances if (only is None or spec.server in only) and spec.server not in skip]
    steps = [step for spec in wanted for step in comparison.server(spec)]
    used = {mount.source for spec in wanted for mount in spec.mounts}
    volumes = [
        Step("", CreateVolume(volume), "not there yet")
        for volume in desired.volumes
        if volume.name not in observed.volumes and volume.name in used
    ]
    working = {step.server for step in steps}
    after = tuple((server, before) for server, before in desired.after if server in working)
    return Plan((*strays, *volumes, *steps), after)


def teardown(
    observed: ObservedState, *, volumes: bool, grace: Mapping[str, float] | None = None, cause: str = "down"
) -> Plan:
    """Plan how to have nothing left; with *volumes*, named volumes too. *grace* is in seconds, by server."""
    steps: list[Step] = []
    for instance in observed.instances:
        steps += _removal(instance, cause, (grace or {}).get(instance.server, 10.0))
    servers = sorted({instance.server for instance in observed.instances}, key=len, reverse=True)
    for network in observed.networks:
        owner = next((server for server in servers if network.endswith(f"-{server}")), network)
        steps.append(Step(owner, RemoveNetwork(network), cause))
    if volumes:
        # After the instances that use them: every step of every server comes before those without one.
        steps += [Step("", RemoveVolume(volume), cause) for volume in observed.volumes]
    return Plan(tuple(steps))


class _Comparison:
    """One desired state beside one snapshot."""

    def __init__(
        self,
        desired: Desired,
        observed: ObservedState,
        *,
        refresh: frozenset[str],
        stopped: frozenset[str],
        unattended: frozenset[str],
        resting: frozenset[str],
        held: frozenset[str],
    ) -> None:
        self._desired = desired
        self._observed = observed
        self._refresh, self._stopped, self._unattended = refresh, stopped, unattended
        self._resting, self._held = resting, held
        self._instances = {instance.name: instance for instance in observed.instances}
        self._images = dict(observed.images)
        self._pull = dict(desired.pull)
        self._networks = {network.server: network for network in desired.networks}

    def strays(self) -> Iterator[Step]:
        """Remove what this owner has and nobody declares."""
        declared = {spec.name for spec in self._desired.instances}
        servers = {spec.server for spec in self._desired.instances}
        wanted = {network.name for network in self._desired.networks}
        kept = {network_name(self._desired.project, server): server for server in servers}
        gone: dict[str, str] = {}
        for instance in self._observed.instances:
            if instance.server in servers and instance.name in self._held:
                continue
            if instance.name not in declared:
                yield from _removal(instance, LEFT if instance.server in servers else GONE, 10.0)
                gone[network_name(self._desired.project, instance.server)] = instance.server
        for network in self._observed.networks:
            if network not in wanted and network not in kept:
                server = gone.get(network, network.removeprefix(f"{self._desired.project}-"))
                yield Step(server, RemoveNetwork(network), GONE)

    def server(self, spec: InstanceSpec) -> Iterator[Step]:
        """The steps of one declared server, in order."""
        found = self._instances.get(spec.name)
        yield from self._outdated(spec)
        for operation, cause in self._operations(spec, found):
            yield Step(spec.server, operation, cause)

    def _outdated(self, spec: InstanceSpec) -> Iterator[Step]:
        """Remove further instances that are in use and no longer to be."""
        for found in self._observed.instances:
            if found.server == spec.server and found.name in self._held:
                changed = self._changes(spec, found)
                if spec.server in self._stopped:
                    yield from _removal(found, "stopped on purpose", spec.stop_grace_period)
                elif changed:
                    yield from _removal(found, f"{' and '.join(changed)} changed", spec.stop_grace_period)

    def _operations(self, spec: InstanceSpec, found: ObservedInstance | None) -> Iterator[tuple[Operation, str]]:
        if spec.server in self._refresh and not isinstance(spec.source, HostCommand):
            yield EnsureImage(spec.source, refresh=True), "asked for"
        if found is None:
            if spec.server not in self._stopped:
                yield from self._image(spec, "not there yet")
                yield from self._new(spec, "not there yet", network_is_right=False)
            return
        changed = self._changes(spec, found)
        if changed:
            yield from self._replaced(spec, found, changed)
        elif spec.server in self._stopped:
            if found.running:
                yield StopInstance(spec.name, spec.stop_grace_period), "stopped on purpose"
        else:
            yield from self._needless_network(spec)
            yield from self._running(spec, found)

    def _running(self, spec: InstanceSpec, found: ObservedInstance) -> Iterator[tuple[Operation, str]]:
        """Make an instance that is as declared run and be held."""
        is_http = isinstance(spec.transport, Http)
        if spec.server in self._resting:
            return
        if found.running and not found.attached and is_http:
            yield ConnectInstance(spec.name), "attach lost"
        elif spec.server in self._unattended:
            # The engine may still report an instance as running whose stream has ended: that is an end, too.
            return
        elif not found.running:
            yield StartInstance(spec.name), "not running"
        elif not found.attached:
            yield StartInstance(spec.name), "attach lost"

    def _replaced(
        self, spec: InstanceSpec, found: ObservedInstance, changed: tuple[str, ...]
    ) -> Iterator[tuple[Operation, str]]:
        cause = f"{' and '.join(changed)} changed"
        if spec.server not in self._stopped:
            # First, so that an image that cannot be had leaves the old instance serving.
            yield from self._image(spec, cause)
        if found.running:
            yield StopInstance(found.name, spec.stop_grace_period), cause
        yield RemoveInstance(found.name), cause
        same_network = not {"network", "definition"} & set(changed)
        if spec.server not in self._stopped:
            yield from self._new(spec, cause, network_is_right=same_network)

    def _new(self, spec: InstanceSpec, cause: str, *, network_is_right: bool) -> Iterator[tuple[Operation, str]]:
        yield from self._network(spec, cause, network_is_right)
        yield CreateInstance(spec), cause
        yield StartInstance(spec.name), cause

    def _image(self, spec: InstanceSpec, cause: str) -> Iterator[tuple[Operation, str]]:
        if isinstance(spec.source, HostCommand) or spec.server in self._refresh:
            return
        policy = self._pull.get(spec.server, "missing")
        there = image_reference(spec.source) in self._images
        if policy == "always":
            yield EnsureImage(spec.source, refresh=True), "pull policy is always"
        elif not there and policy == "missing":
            yield EnsureImage(spec.source), cause if cause != "not there yet" else "image not there yet"

    def _network(self, spec: InstanceSpec, cause: str, is_right: bool) -> Iterator[tuple[Operation, str]]:
        """
        The server's own network, made anew unless an instance as declared vouches for the one that is there.

        A network alone does not say whether it has a way out; one left by an interrupted run might.
        """
        own = network_name(self._desired.project, spec.server)
        wanted: NetworkSpec | None = self._networks.get(spec.server)
        if own in self._observed.networks:
            if wanted is not None and is_right:
                return
            yield RemoveNetwork(own), cause if cause != "not there yet" else LEFT
        if wanted is not None:
            yield CreateNetwork(wanted), cause

    def _needless_network(self, spec: InstanceSpec) -> Iterator[tuple[Operation, str]]:
        own = network_name(self._desired.project, spec.server)
        if spec.server not in self._networks and own in self._observed.networks:
            yield RemoveNetwork(own), GONE

    def _changes(self, spec: InstanceSpec, found: ObservedInstance) -> tuple[str, ...]:
        changed = differences(found.config_hash, dict(spec.labels)[HASH_LABEL])
        wanted = self._networks.get(spec.server)
        if not changed and wanted is not None and wanted.name not in self._observed.networks:
            return ("network",)
        if changed or isinstance(spec.source, HostCommand):
            return changed
        image = self._images.get(image_reference(spec.source))
        if image is None and isinstance(spec.source, RegistryImage) and spec.source.pin:
            return ("image",)  # what runs was made of another image than the locked one, which is not here
        return ("image",) if image and found.image_id and image != found.image_id else ()


def _removal(instance: ObservedInstance, cause: str, grace: float) -> Iterator[Step]:
    if instance.running:
        yield Step(instance.server, StopInstance(instance.name, grace), cause)
    yield Step(instance.server, RemoveInstance(instance.name), cause)
