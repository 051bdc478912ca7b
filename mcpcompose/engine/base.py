"""
The engine seam: what every engine can do, and the values that go in and out.

An engine decides nothing. Each operation can be repeated; removing what is gone is success.
Errors are those of `mcpcompose.errors` (`EngineError` and below, `EngineUnreachable`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mcpcompose.engine.check import Check, Health
from mcpcompose.engine.life import Life
from mcpcompose.engine.surroundings import Egress as Egress  # noqa: PLC0414  one of the seam's own values
from mcpcompose.engine.surroundings import NetworkSpec as NetworkSpec  # noqa: PLC0414
from mcpcompose.engine.surroundings import VolumeSpec as VolumeSpec  # noqa: PLC0414
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.policy import Signer

# --- what is desired -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image by its reference, local or to be pulled; *pin* is what the engine is asked for in its place."""

    ref: str
    platform: str | None = None
    pin: str = field(default="", repr=False)
    """`repository@digest`, or an id. No part of the text: what runs is compared by the image's id."""

    @property
    def reference(self) -> str:
        """What the engine knows it by."""
        return self.pin or self.ref


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image built from a Dockerfile; *tag* names its content (definition and context digest)."""

    tag: str
    context: Path
    dockerfile: str = "Dockerfile"
    args: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    platform: str | None = None
    digest: str = ""
    """The digest of the context that was approved; nothing else is built."""


@dataclass(frozen=True, slots=True)
class PackageImage:
    """
    A package installed on a runner image (docker), or in a private environment (process).

    *ecosystem* is `pypi` or `npm`; *requirement* what its installer is given; *tag* names the pair.
    """

    tag: str
    ecosystem: Literal["pypi", "npm"]
    requirement: str
    runner: str
    platform: str | None = None
    pinned: str = field(default="", repr=False)
    """What exactly to install, by hash: a file of requirements, or a `package-lock.json`."""


@dataclass(frozen=True, slots=True)
class HostCommand:
    """No image: a command of the host."""


ImageSource = RegistryImage | BuiltImage | PackageImage
Source = ImageSource | HostCommand


@dataclass(frozen=True, slots=True)
class Stdio:
    """The server speaks newline-delimited JSON on its standard streams."""


@dataclass(frozen=True, slots=True)
class Http:
    """The server listens for streamable HTTP at this port and path."""

    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Mount:
    """*source* is an absolute host path (bind) or the engine's name of a volume."""

    type: Literal["bind", "volume"]
    source: str
    target: str
    read_only: bool = False
    real: str = ""
    """Where *source* led when it was judged; empty when nobody looked."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The secret *source* as the file `/run/secrets/<target>`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Hardening:
    """The limits and privileges of a container; the defaults are the safe ones."""

    read_only: bool = True
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108  a path inside the container
    cpus: float = 1.0
    memory: int = 1 << 30
    pids: int = 256
    shm_size: int | None = None
    init: bool = True
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pid_host: bool = False
    ipc_host: bool = False
    userns_host: bool = False


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """
    Everything an engine needs to make one instance, except values.

    Texts of *command*, *entrypoint* and *environment* are templates: they hold `${VAR}` and
    `${secret:name}` references, whose values come with `Values`. *network* is `none`, `host`
    or the name of a network that exists.
    """

    name: str
    server: str
    source: Source
    transport: Stdio | Http
    labels: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    secret_files: tuple[SecretFile, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "none"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    hardening: Hardening = Hardening()
    stop_grace_period: float = 10.0
    unsafe: tuple[str, ...] = ()
    """The dangers that were named (and approved) in the file; see `mcpcompose.engine.danger`."""
    check: Check | None = None
    signers: tuple[Signer, ...] = ()
    """Who must have signed its image: all of them."""


@dataclass(frozen=True, slots=True)
class Values:
    """
    The values of one instance, between the resolver and the one call that needs them.

    Never logged, printed or stored: the representation hides everything.
    """

    command: tuple[str, ...] | None = field(default=None, repr=False)
    entrypoint: tuple[str, ...] | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Content by the file's name below `/run/secrets`."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """
    A package with everything it needs.

    *distributions* (PyPI) have the hashes of all their files by `name==version`, *modules* (npm) are the entries of a
    `package-lock.json` by path, without hosts.
    """

    distributions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# --- what is observed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObservedInstance:
    """
    One instance of this owner as the engine reports it.

    *attached* is true when this very process holds its standard streams (stdio) or its
    logs (http); a running stdio instance that is not attached must be restarted. *health* is what its check says,
    *complaint* what the last one that failed printed.
    """

    name: str
    server: str
    config_hash: str
    running: bool
    attached: bool
    image_id: str | None = None
    exit_code: int | None = None
    health: Health | None = None
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class ObservedState:
    """
    One snapshot of what this owner has on the engine.

    *foreign* holds the names that this project would use but that belong to someone else;
    *images* the id of every image reference asked for that exists locally.
    """

    instances: tuple[ObservedInstance, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    foreign: tuple[str, ...] = ()


# --- what a running instance offers ----------------------------------------------------------------------------------


class Receiver(Protocol):
    """Who gets what a stream brings. Both are called on the event loop and return at once."""

    def data_received(self, data: bytes) -> None:
        """More bytes of standard output."""

    def stream_ended(self, reason: str) -> None:
        """Nothing more will come; *reason* is for people ("exited with code 1")."""


class ByteStream(Protocol):
    """
    The standard streams of one running instance, for the hot path: no tasks, no queues.

    Bytes that came before `listen` are kept and handed over by it.
    """

    def listen(self, receiver: Receiver) -> None:
        """Send everything to *receiver* from now on; called once."""

    def write(self, data: bytes) -> None:
        """Write to standard input; buffers when the instance does not read."""

    @property
    def write_backlog(self) -> int:
        """Bytes written and not yet taken by the other side."""

    def close_input(self) -> None:
        """Let the instance see the end of its input, and go on reading what it still says."""

    def pause_reading(self) -> None:
        """Take no more output until `resume_reading`."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""

    async def close(self) -> None:
        """Close standard input and let go; the instance goes on or ends as it likes."""


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """A stdio instance that runs."""

    stream: ByteStream


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """
    An instance or remote that is reached at a URL; *headers* are values, hidden when printed.

    *sse*: it speaks the transport of 2024-11-05, events of one GET and messages by POST. *life* is an instance's.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sse: bool = False
    life: Life | None = field(default=None, repr=False, compare=False)


Endpoint = StreamEndpoint | HttpEndpoint


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to an instance of this owner; `health`: its check says something else than before."""

    instance: str
    action: Literal["died", "removed", "started", "health"]


Progress = Callable[[str], None]
"""Told one short line of what is going on ("pulling 45 %")."""

LogSink = Callable[[str, bytes], None]
"""Told the instance's name and a chunk of what it wrote for its log; an empty chunk when it will write no more."""


def silent(_line: str) -> None:
    """Progress for those who do not want it."""


class Engine(Protocol):
    """What runs servers."""

    kind: Literal["docker", "process", "memory"]

    async def check(self) -> Mapping[str, Any]:
        """What the engine says of itself (name, version). Raises `EngineUnreachable`."""

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        """One snapshot; *names* are the names to look up for other owners, *images* the references to resolve."""

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        """Make the image be there (pull, build or install); with *refresh* even if it is. Returns its id."""

    async def digest_of(self, reference: str) -> str | None:
        """The digest that a registry has an image under which is here; None when none has it."""

    async def registry_digest(self, reference: str) -> str:
        """The digest that the registry has *reference* under now; nothing is pulled. Raises `ImageMissing`."""

    async def resolve(self, source: PackageImage, progress: Progress = silent) -> Resolved:
        """What installing a package would bring, without installing it. Raises `BuildFailed`."""

    async def create_network(self, spec: NetworkSpec) -> None:
        """Make a network. Raises `NameTaken` when the name is another owner's."""

    async def remove_network(self, name: str) -> None:
        """Remove a network."""

    async def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume. Raises `NameTaken` when the name is another owner's."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume."""

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        """Make an instance, not started. Raises `NameTaken`, `ImageMissing`, `DangerRefused`."""

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        """
        Start an instance and hold its streams; one that runs unattached is restarted in place.

        *values* are needed again because secret files live on a tmpfs that a reboot clears.
        Raises `InstanceMissing`.
        """

    async def connect_instance(self, name: str) -> Endpoint:
        """Hold a running HTTP instance that an earlier run left. Raises `InstanceMissing` when it does not run."""

    async def stop_instance(self, name: str, grace: float) -> None:
        """Ask it to end, and make it end after *grace* seconds."""

    async def remove_instance(self, name: str) -> None:
        """Remove an instance, running or not, with its secret files."""

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to this owner's instances, until closed."""

    async def close(self) -> None:
        """Let go of everything: streams closed, threads ended. Instances are left as they are."""
