"""
Pin what servers run: images by the digest of their registry, build contexts by theirs, packages by hash.

Nothing is started for it; images are pulled, and packages are looked up with everything they need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mcpcompose.engine.base import Engine, PackageImage, RegistryImage
from mcpcompose.errors import ImageMissing, McpComposeError
from mcpcompose.orchestrator.desired import package_image
from mcpcompose.orchestrator.lock_identity import launch_identities
from mcpcompose.orchestrator.lock_pins import image_pin, package_pin, runner_of, runner_pin
from mcpcompose.spec.lockfile import Lock, LockedBuild, LockedImage, LockedPackage, LockedServer, locked_server
from mcpcompose.spec.project import Project

Progress = Callable[[str, str], None]
"""Told a server and one line of what is going on for it."""
UNKNOWN: LockedServer = locked_server(launch="sha256:" + "0" * 64)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A lock whose entries pin what runs, but do not hold what new servers offer yet; *failed* says which could not."""

    lock: Lock
    launches: Mapping[str, str]
    failed: Mapping[str, McpComposeError]


async def pinned(
    project: Project, engine: Engine, *, renew: frozenset[str], home: Path, contexts: Mapping[str, str], told: Progress
) -> Pinned:
    """
    The project's lock with a pin for each server that has none, and new ones for those to *renew*.

    What the lock holds of other servers stays. *contexts* are the digests of the built servers' contexts.
    """
    before = project.lock or Lock()
    work = _Pinning(project, engine, told)
    chosen = [name for name in project.servers if name in renew or name not in before.servers]
    sources = await asyncio.gather(*(work.source(name, contexts, anew=name in renew) for name in chosen))
    found = {name: source for name, source in zip(chosen, sources, strict=True) if isinstance(source, dict)}
    failed = {name: error for name, error in zip(chosen, sources, strict=True) if isinstance(error, McpComposeError)}
    entries = {name: before.servers.get(name, UNKNOWN).model_copy(update=one) for name, one in found.items()}
    provisional = before.model_copy(update={"servers": {**before.servers, **entries}})
    launches = launch_identities(project.model_copy(update={"lock": provisional}), home, contexts)
    made = {name: sealed(entry.model_copy(update={"launch": launches[name]})) for name, entry in entries.items()}
    lock = provisional.model_copy(update={"servers": {**before.servers, **made}})
    return Pinned(lock, launches, failed)


def sealed(entry: LockedServer) -> LockedServer:
    """*entry* with the fingerprint of what it holds."""
    return entry.model_copy(update={"fingerprint": entry.whole()})


class _Pinning:
    def __init__(self, project: Project, engine: Engine, told: Progress) -> None:
        self._project, self._engine, self._told = project, engine, told
        self._runners: dict[tuple[str, str | None], asyncio.Lock] = {}

    async def source(
        self, name: str, contexts: Mapping[str, str], *, anew: bool
    ) -> dict[str, LockedImage | LockedBuild | LockedPackage | None] | McpComposeError:
        """The pins of one server, or why it has none."""
        server = self._project.servers[name]
        nothing: dict[str, LockedImage | LockedBuild | LockedPackage | None] = dict.fromkeys(
            ("image", "build", "package")
        )
        try:
            if server.image is not None:
                held = None if anew else image_pin(self._project, name)
                return {**nothing, "image": held or await self._image(name, server.image, anew=anew)}
            if server.build is not None:
                return {**nothing, "build": LockedBuild(context="sha256:" + contexts[name])}
            if server.package is not None:
                return {**nothing, "package": await self._package(name, anew=anew)}
        except McpComposeError as error:
            return error
        return nothing

    async def _image(self, name: str, ref: str, *, anew: bool) -> LockedImage:
        source = RegistryImage(ref, self._project.servers[name].platform)

        def progress(line: str) -> None:
            self._told(name, line)

        async with self._runners.setdefault((ref, source.platform), asyncio.Lock()):
            try:
                image = await self._engine.ensure_image(source, refresh=anew, progress=progress)
            except ImageMissing:
                if not anew or await self._engine.digest_of(ref) is not None:
                    raise
                image = await self._engine.ensure_image(source, progress=progress)  # one that was only made here
            digest = await self._engine.digest_of(ref)
        return LockedImage(ref=ref, digest=digest) if digest is not None else LockedImage(ref=ref, id=image)

    async def _package(self, name: str, *, anew: bool) -> LockedPackage:
        project, server = self._project, self._project.servers[name]
        runner = None
        if project.engine != "process":
            runner = None if anew else runner_pin(project, name)
            runner = runner or await self._image(name, runner_of(project, name), anew=anew)
        held = None if anew else package_pin(project, name)
        if held is not None:
            return held.model_copy(update={"runner": runner or held.runner})
        source: PackageImage = package_image(project, name, runner)
        resolved = await self._engine.resolve(source, lambda line: self._told(name, line))
        return LockedPackage(
            requirement=server.package or "",
            runner=runner,
            distributions=resolved.distributions,
            modules=resolved.modules,
        )
