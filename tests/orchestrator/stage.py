"""What the orchestrator's tests stand on: small projects, an engine in memory, a gateway side that keeps a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcpcompose.engine.base import Endpoint, InstanceSpec, ObservedInstance, ObservedState
from mcpcompose.engine.check import Health
from mcpcompose.engine.memory import MemoryEngine, World
from mcpcompose.engine.programs import Program, echo, hang
from mcpcompose.errors import ApprovalNeeded
from mcpcompose.orchestrator.approval import Approvals
from mcpcompose.orchestrator.controller import Controller
from mcpcompose.orchestrator.desired import Desired, desired
from mcpcompose.orchestrator.outcome import Outcome
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.orchestrator.round import Place
from mcpcompose.orchestrator.signed import Verify, nobody_knows
from mcpcompose.redact import Redactor
from mcpcompose.spec.identity import HASH_LABEL, Owner
from mcpcompose.spec.project import Gateway, Profile, Project, Runners
from mcpcompose.spec.server import Server

OWNER = Owner("team", "0123456789abcdef")
STRANGER = Owner("team", "fedcba9876543210")


def project(directory: Path = Path("/work"), *, name: str = "team", **keys: Any) -> Project:
    """A project; `servers={name: {…}}` as in the file."""
    servers = {key: Server.model_validate(value) for key, value in keys.pop("servers", {}).items()}
    profiles = keys.pop("profiles", None) or {"default": Profile(servers=tuple(servers))}
    defaults: dict[str, Any] = {"secrets": {}, "clients": {}, "gateway": Gateway(), "runners": Runners()}
    whole = {**defaults, **keys, "servers": servers, "profiles": profiles}
    return Project(name=name, directory=directory, **whole)


def servers(**servers: Any) -> Project:
    """A project of these servers; a text is an image."""
    return project(servers={k: {"image": v} if isinstance(v, str) else v for k, v in servers.items()})


def wanted(what: Project, **keys: Any) -> Desired:
    return desired(what, OWNER, **keys)


def after_up(what: Project, *, attached: bool = True, running: bool = True, **keys: Any) -> ObservedState:
    """What the engine reports once *what* is up."""
    state = wanted(what, **keys)
    return ObservedState(
        instances=tuple(observed(spec, attached=attached, running=running) for spec in state.instances),
        networks=tuple(network.name for network in state.networks),
        volumes=tuple(volume.name for volume in state.volumes),
        images=tuple((reference, f"id of {reference}") for reference in sorted(state.references)),
    )


def observed(spec: InstanceSpec, *, attached: bool = True, running: bool = True) -> ObservedInstance:
    return ObservedInstance(spec.name, spec.server, dict(spec.labels)[HASH_LABEL], running, attached and running)


@dataclass
class Record:
    """A serving side that keeps what it was told."""

    states: dict[str, str] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    declared: list[tuple[Project, Mapping[str, str]]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    checks: list[tuple[str, Health, str]] = field(default_factory=list)

    def resolving(self, expand: object) -> None:
        """Nothing of it has interceptors."""

    def declare(self, project: Project, fingerprints: Mapping[str, str], written: Mapping[str, str]) -> None:
        self.declared.append((project, dict(fingerprints)))

    def starting(self, server: str) -> None:
        self._note(server, "starting")

    async def attach(self, server: str, endpoint: Endpoint) -> None:
        self.endpoints[server] = endpoint
        self._note(server, "attached")

    async def detach(self, server: str) -> None:
        self.endpoints.pop(server, None)
        self._note(server, "detached")

    def health(self, server: str, health: Health, complaint: str) -> None:
        self.checks.append((server, health, complaint))

    def failed(self, server: str, reason: str) -> None:
        self._note(server, f"failed: {reason}")

    def stopped(self, server: str) -> None:
        self._note(server, "stopped")

    def _note(self, server: str, state: str) -> None:
        self.states[server] = state
        self.story.append(f"{server} {state}")


@dataclass
class Loaded:
    project: Project
    variables: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


PROGRAMS: Mapping[str, Program] = {"one:1": echo, "one:2": echo, "two:1": echo, "three:1": hang, "true": echo}


class Stage:
    """One machine: a world, a project's file that can be rewritten, and controllers that come and go."""

    def __init__(self, folder: Path, programs: Mapping[str, Program] = PROGRAMS, owner: Owner = OWNER) -> None:
        self.folder, self.programs, self.owner = folder, programs, owner
        self.world = World()
        self.loaded: Loaded | Exception = Loaded(project(folder))
        self.host: dict[str, str] = {"PATH": "/usr/bin:/bin"}
        self.now = 0.0
        self.redactor = Redactor()
        self.approvals = Approvals(folder.parent / f"{folder.name}-state" / "approvals.json")
        self.launches = folder.parent / f"{folder.name}-state" / "launches.json"
        self.engines_used: list[str] = []
        self.verify: Verify = nobody_knows
        self.engine: MemoryEngine
        self.serving: Record
        self.controller = self.fresh()

    def write(self, what: Project, variables: Mapping[str, str] | None = None) -> None:
        """The file now says *what*."""
        self.loaded = Loaded(what, variables or {})

    def fresh(self, engine: MemoryEngine | None = None, **keys: Any) -> Controller:
        """A new gateway process on the same machine."""
        self.engine = engine or MemoryEngine(self.programs, world=self.world)
        self.serving = Record()
        self.launches.parent.mkdir(exist_ok=True)
        place = Place(
            self.owner, Path("/home/someone"), self.approvals, self.redactor, b"k" * 32,
            launches=self.launches, uses_engine=self.engines_used.append, verify=self.verify,
        )  # fmt: skip
        self.controller = Controller(
            load=self._load,
            engine_for=lambda _project: self.engine,
            serving=self.serving,
            place=place,
            host=self.host,
            clock=lambda: self.now,
            **keys,
        )
        return self.controller

    async def _load(self) -> Loaded:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded

    async def apply_approved(self) -> Outcome:
        """Apply, and approve everything that it names."""
        try:
            return await self.controller.apply()
        except ApprovalNeeded as needed:
            return await self.controller.apply(ApplyRequest(trust=needed.hashes))

    def have(self, **servers: Any) -> None:
        """The file now has these servers."""
        self.write(
            project(self.folder, servers={k: {"image": v} if isinstance(v, str) else v for k, v in servers.items()})
        )

    @property
    def running(self) -> dict[str, int]:
        """How often each running instance was started."""
        return {name: found.starts for name, found in sorted(self.world.instances.items()) if found.running}
