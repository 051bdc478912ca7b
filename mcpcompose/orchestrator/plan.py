"""
The plan: everything decided, as data.

One operation is one engine call. Each step carries its cause. `str(plan)` is what `plan` prints and tests compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from mcpcompose.engine.base import ImageSource, InstanceSpec, NetworkSpec, VolumeSpec


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Pull, build or install an image; *refresh* even if it is there."""

    source: ImageSource
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class CreateNetwork:
    """Make a server's own network."""

    spec: NetworkSpec


@dataclass(frozen=True, slots=True)
class RemoveNetwork:
    """Remove a network."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateVolume:
    """Make a named volume."""

    spec: VolumeSpec


@dataclass(frozen=True, slots=True)
class RemoveVolume:
    """Remove a named volume and what is in it."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateInstance:
    """Make an instance, not started."""

    spec: InstanceSpec


@dataclass(frozen=True, slots=True)
class StartInstance:
    """Start an instance (restart it in place when it runs unattached)."""

    name: str


@dataclass(frozen=True, slots=True)
class ConnectInstance:
    """Hold a running HTTP instance that an earlier run left."""

    name: str


@dataclass(frozen=True, slots=True)
class StopInstance:
    """End an instance; it stays."""

    name: str
    grace: float = 10.0


@dataclass(frozen=True, slots=True)
class RemoveInstance:
    """Remove an instance."""

    name: str


Operation = (
    EnsureImage
    | CreateNetwork
    | RemoveNetwork
    | CreateVolume
    | RemoveVolume
    | CreateInstance
    | StartInstance
    | ConnectInstance
    | StopInstance
    | RemoveInstance
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation for one server, and why. *server* is empty for what no server owns."""

    server: str
    operation: Operation
    cause: str

    def __str__(self) -> str:
        who = f"{self.server}: " if self.server else ""
        return f"{who}{describe(self.operation)} ({self.cause})"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The steps from what runs to what is declared; none means there is nothing to do.

    Steps of one server run in the order given; servers run beside each other, except that a
    server waits for those it depends on (*after*: server → servers that must have started).
    Removals of what is no longer declared come first and wait for nobody.
    """

    steps: tuple[Step, ...] = ()
    after: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        return "\n".join(str(step) for step in self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)


def describe(operation: Operation) -> str:  # noqa: C901, PLR0911  one line for each operation
    """The operation in words."""
    match operation:
        case EnsureImage(source, refresh):
            return f"{'refresh' if refresh else 'get'} image {source.ref if hasattr(source, 'ref') else source.tag}"
        case CreateNetwork(spec):
            return f"create network {spec.name}"
        case RemoveNetwork(name):
            return f"remove network {name}"
        case CreateVolume(volume):
            return f"create volume {volume.name}"
        case RemoveVolume(name):
            return f"remove volume {name}"
        case CreateInstance(instance):
            return f"create {instance.name}"
        case StartInstance(name):
            return f"start {name}"
        case ConnectInstance(name):
            return f"connect to {name}"
        case StopInstance(name):
            return f"stop {name}"
        case RemoveInstance(name):
            return f"remove {name}"
        case _:
            assert_never(operation)
