"""
One loaded file made ready for a round: approved, its secrets read, its desired state computed.

Everything that can be refused is refused here, before the engine is asked anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mcpcompose.engine.base import HttpEndpoint, InstanceSpec, ObservedState, Values
from mcpcompose.engine.build import context_digest
from mcpcompose.engine.danger import refuse
from mcpcompose.errors import ApprovalNeeded, DangerRefused
from mcpcompose.orchestrator.approval import Approvals, Form, forms
from mcpcompose.orchestrator.desired import Desired, bare_instances, desired, image_reference
from mcpcompose.orchestrator.lock_differences import differences, raise_differences
from mcpcompose.orchestrator.lock_identity import launch_identities
from mcpcompose.orchestrator.signed import Verify, nobody_knows, refuse_unsigned
from mcpcompose.redact import Redactor
from mcpcompose.secrets.providers import files_of
from mcpcompose.secrets.resolver import Commands, Resolver, server_secrets
from mcpcompose.spec.fingerprint import fingerprint
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.project import Project


class LoadedFile(Protocol):
    """What the loader returns, as far as the orchestrator looks at it."""

    @property
    def project(self) -> Project:
        """The complete, checked project."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What `${VAR}` references expand to."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that was read."""


def _nothing(_engine: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a project runs: the owner's things, and what providers and rules need to know of this machine."""

    owner: Owner
    home: Path
    approvals: Approvals
    redactor: Redactor
    key: bytes = field(repr=False)
    """The key of the digests of values; it never leaves this machine."""
    protected: tuple[Path, ...] = ()
    """Host paths that no server may mount."""
    launches: Path | None = None
    """Where the launch identities are remembered from one start to the next."""
    uses_engine: Callable[[str], None] = _nothing
    """Told of the kind of engine that has answered, before anything is made on it."""
    verify: Verify = nobody_knows
    """Verifies signatures of images."""

    def owner_of(self, project: Project) -> Owner:
        """The owner under the project's name, which may change with the file."""
        return Owner(project.name, self.owner.id)


@dataclass(frozen=True, slots=True)
class Ready:
    """A loaded file that may run."""

    owner: Owner
    loaded: LoadedFile
    resolver: Resolver = field(repr=False)
    desired: Desired
    specs: Mapping[str, InstanceSpec]
    """By instance name."""
    launches: Mapping[str, str] = field(default_factory=dict)
    """The launch identities as the lock holds them, by server; empty without a lock."""
    verify: Verify = nobody_knows

    @property
    def project(self) -> Project:
        """The project that runs."""
        return self.loaded.project

    async def values(self, instance: str) -> Values:
        """The values of one instance."""
        return await self.values_of(self.specs[instance])

    async def values_of(self, spec: InstanceSpec) -> Values:
        """The values of an instance like *spec*, whatever its name."""
        await refuse_unsigned(spec, self.verify)
        return await self.resolver.values(spec, self.loaded.variables)

    async def remote(self, name: str) -> HttpEndpoint:
        """Where a remote server is reached."""
        server = self.project.servers[name]
        url = await self.resolver.url(name, server, self.loaded.variables)
        headers = await self.resolver.headers(name, server, self.loaded.variables)
        return HttpEndpoint(url, headers, sse=server.transport == "sse")

    async def expand(self, owner: str, text: str) -> str:
        """A text of the interceptor *owner* with the values of its references."""
        return await self.resolver.text(owner, text, self.loaded.variables)

    def instance(self, server: str) -> InstanceSpec | None:
        """The instance of *server*."""
        return next((spec for spec in self.desired.instances if spec.server == server), None)

    def fingerprints(self, images: Mapping[str, str]) -> dict[str, str]:
        """The launch identities by server; *images* are the ids of image references that are known."""
        ids = {server: images.get(image_reference(source)) for server, source in self.desired.images}
        return {name: self._identity(name, ids.get(name)) for name in self.project.servers}

    def written(self) -> dict[str, str]:
        """The launch identities as far as the file tells them: images by reference, builds by what they are made of."""
        return self.fingerprints({reference: reference for reference in self.desired.references})

    def fingerprint_of(self, server: str, image: str) -> str:
        """The launch identity of *server* once its image is known."""
        return self._identity(server, image)

    def _identity(self, server: str, image: str | None) -> str:
        """With a lock its own: what is pinned decides what runs."""
        return self.launches.get(server) or fingerprint(self.project.servers[server], image=image)


async def build_digests(project: Project) -> dict[str, str]:
    """The digest of every built server's context, by server."""
    built = {name: server.build for name, server in project.launched.items() if server.build is not None}
    digests = await asyncio.gather(
        *(
            asyncio.to_thread(context_digest, project.directory / build.context, build.dockerfile)
            for build in built.values()
        )
    )
    return dict(zip(built, digests, strict=True))


async def unapproved(loaded: LoadedFile, place: Place) -> tuple[Form, ...]:
    """What of *loaded* nobody has approved on this machine yet."""
    return _pending(loaded, place, await build_digests(loaded.project))


async def prepare(
    loaded: LoadedFile, place: Place, *, host: Mapping[str, str], commands: Commands, gate: bool = True
) -> Ready:
    """
    Make *loaded* ready. *host* is the environment of secret commands, *commands* what they printed before.

    Raises `ApprovalNeeded` (unless not *gate*), `DangerRefused`, `SecretMissing`, `FileProblems`.
    """
    project = loaded.project
    digests = await build_digests(project)
    owner = place.owner_of(project)
    bare = bare_instances(project, owner, digests)
    refuse_dangers(bare, place)
    launches = _as_locked(project, place, digests)
    pending = _pending(loaded, place, digests)
    if pending and gate:
        raise_pending(pending)
    resolver = Resolver(
        project.secrets, loaded.variables, place.home, place.redactor,
        host=host, directory=project.directory, commands=commands,
    )  # fmt: skip
    blocked = frozenset(form.subject for form in pending if form.kind.startswith("secret"))
    if not blocked:
        await resolver.check(project)
    keyed = {
        spec.server: await resolver.keyed(spec, loaded.variables, place.key)
        for spec in bare
        if not blocked.intersection(server_secrets(project.servers[spec.server]))
    }
    wanted = desired(project, owner, keyed=keyed, digests=digests)
    specs = {spec.name: spec for spec in wanted.instances}
    return Ready(owner, loaded, resolver, wanted, specs, launches, place.verify)


def _as_locked(project: Project, place: Place, digests: Mapping[str, str]) -> dict[str, str]:
    """The launch identities that are as the lock holds them. Raises `LockedStateDiffers` when nothing may differ."""
    if (lock := project.lock) is None:
        return {}
    launches = launch_identities(project, place.home, digests)
    if lock.is_strict:
        raise_differences(differences(project, launches, whole=False))
    held = {name: entry.launch for name, entry in lock.servers.items()}
    return {name: launch for name, launch in launches.items() if held.get(name) == launch}


def _pending(loaded: LoadedFile, place: Place, digests: Mapping[str, str]) -> tuple[Form, ...]:
    needed = forms(
        loaded.project,
        variables=loaded.variables,
        digests=digests,
        home=place.home,
        baseline=place.approvals.baseline(),
    )
    return place.approvals.pending(needed)


def raise_pending(pending: tuple[Form, ...]) -> None:
    """Raise `ApprovalNeeded` with every form and how to approve it."""
    lines = [f"{form.title} needs your approval on this machine ({form.hash})" for form in pending]
    raise ApprovalNeeded(
        "\n".join(lines),
        hint="look at the exact forms with `mcp-compose trust`, then approve them with `mcp-compose trust HASH…`",
        hashes=tuple(form.hash for form in pending),
    )


def refuse_dangers(specs: Iterable[InstanceSpec], place: Place) -> None:
    """Raise one `DangerRefused` with every refused setting of *specs*."""
    found: list[DangerRefused] = []
    for spec in specs:
        try:
            refuse(spec, home=place.home, protected=place.protected)
        except DangerRefused as error:
            found.append(error)
    if found:
        hints = dict.fromkeys(error.hint for error in found if error.hint)
        raise DangerRefused("\n".join(error.message for error in found), hint="\n".join(hints) or None)


def secret_files(project: Project, home: Path, host: Mapping[str, str]) -> tuple[Path, ...]:
    """The files whose change may be another value of a secret, to be watched."""
    sources = (source for sources in project.secrets.values() for source in sources)
    return tuple(path for source in sources for path in files_of(source, home, project.directory, host))


def image_ids(observed: ObservedState) -> dict[str, str]:
    """The ids of the image references that exist."""
    return dict(observed.images)
