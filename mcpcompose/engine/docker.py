"""
The container engine: Docker, or Podman through its Docker API.

The library speaks to the engine's API in threads (`docker_client`); a server's bytes go over the
engine's socket straight into the event loop (`docker_attach`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from mcpcompose.engine import danger, secret_files
from mcpcompose.engine.base import (
    Endpoint,
    EngineEvent,
    Http,
    HttpEndpoint,
    ImageSource,
    InstanceSpec,
    LogSink,
    NetworkSpec,
    ObservedState,
    PackageImage,
    Progress,
    Resolved,
    StreamEndpoint,
    Values,
    VolumeSpec,
    silent,
)
from mcpcompose.engine.docker_attach import AttachedStream, attach
from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.engine.docker_config import address_of, container_config, image_of
from mcpcompose.engine.docker_events import events
from mcpcompose.engine.docker_host import find, wants_headers
from mcpcompose.engine.docker_http import post
from mcpcompose.engine.docker_images import DockerImages
from mcpcompose.engine.docker_legs import DockerLegs, is_leg, without_way_out
from mcpcompose.engine.docker_marks import (
    HTTP_PORT_LABEL,
    container_name,
    end_of,
    grace_of,
    is_instance,
    marked,
    observed,
    split,
)
from mcpcompose.engine.docker_networks import DockerNetworks, UsableNetwork, refuse_not_ours
from mcpcompose.engine.ownership import owner_of, refuse_other_configuration, server_of
from mcpcompose.engine.sendable import refuse_unsendable
from mcpcompose.errors import EngineError, InstanceMissing, McpComposeError, NameTaken
from mcpcompose.paths import ProjectPaths
from mcpcompose.spec.identity import Owner

GONE_TRIES: Final = 100
PAUSE: Final = 0.05


class DockerEngine:
    """An `Engine` over Docker's API, for the projects whose folders are *paths*."""

    kind: Literal["docker", "process", "memory"] = "docker"

    def __init__(self, paths: ProjectPaths, log: LogSink, environ: Mapping[str, str]) -> None:
        self._home = Path(environ.get("HOME") or Path.home())
        self._address = find(environ, self._home)
        self._client = DockerClient(self._address, quick=not wants_headers(environ, self._home))
        self._networks = DockerNetworks(self._client)
        self._images = DockerImages(self._client)
        self._legs = DockerLegs(self._client, self._networks, self._images)
        self._paths = paths
        self._log = log
        self._owners: frozenset[Owner] = frozenset()
        self._swept = False
        self._creating: set[str] = set()
        self._streams: dict[str, AttachedStream] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def check(self) -> Mapping[str, Any]:
        """What the engine says of itself (name, version). Raises `EngineUnreachable`."""
        said = await self._client.call("reach the engine", lambda api: api.version())
        name = next((part.get("Name") for part in said.get("Components") or ()), None) or "Docker"
        return {
            "name": name,
            "version": said.get("Version", ""),
            "api": self._client.version,
            "address": self._address.url,
        }

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        """One snapshot; *names* are the names to look up for other owners, *images* the references to resolve."""
        self._owners |= {owner}
        call = self._client.call
        secrets = frozenset() if self._swept else secret_files.written(self._paths.secret_files) - self._creating
        containers, networks, volumes, found = await asyncio.gather(
            call("list containers", lambda api: api.containers(all=True)),
            call("list networks", lambda api: api.networks()),
            call("list volumes", lambda api: api.volumes().get("Volumes") or []),
            self._images.present(images),
        )
        listed = [(container_name(c), c) for c in containers]
        self._sweep(secrets, {name for name, _ in listed})
        mine = {name: c for name, c in listed if owner_of(c.get("Labels") or {}) == owner}
        ours = {name: c for name, c in mine.items() if not is_leg(c)}
        owned_networks, other_networks = split((n for n in networks if not is_leg(n)), owner)
        owned_networks -= without_way_out(networks, mine, names)
        owned_volumes, other_volumes = split(volumes, owner)
        others = {name for name, _ in listed if name not in ours and is_instance(name)}
        others |= other_networks | {name for name in other_volumes if "_" in name}
        return ObservedState(
            instances=tuple([await observed(n, ours[n], self._inspect, held=self._holds(n)) for n in sorted(ours)]),
            networks=tuple(sorted(owned_networks)),
            volumes=tuple(sorted(owned_volumes)),
            images=found,
            foreign=tuple(sorted(names & others)),
        )

    async def ensure_image(self, source: ImageSource, *, refresh: bool = False, progress: Progress = silent) -> str:
        """Make the image be there (pull, build or install); with *refresh* even if it is. Returns its id."""
        return await self._images.ensure(source, refresh=refresh, progress=progress)

    async def digest_of(self, reference: str) -> str | None:
        """The digest that a registry has an image under which is here; None when none has it."""
        return await self._images.digest_of(reference)

    async def registry_digest(self, reference: str) -> str:
        """The digest that the registry has *reference* under now; nothing is pulled. Raises `ImageMissing`."""
        return await self._images.registry_digest(reference)

    async def resolve(self, source: PackageImage, progress: Progress = silent) -> Resolved:
        """What installing a package would bring, looked up on its runner. Raises `BuildFailed`."""
        return await self._images.resolve(source, progress)

    async def remove_image(self, reference: str) -> None:
        """Remove an image; one that is not there is fine."""
        await self._images.remove(reference)

    async def create_network(self, spec: NetworkSpec) -> None:
        """Make a network. Raises `NameTaken` when the name is another owner's."""
        self._work_for(spec.labels)
        await self._networks.create(spec)
        await self._legs.make(spec)

    async def remove_network(self, name: str) -> None:
        """Remove a network, with its way out."""
        await self._legs.remove(name, self._owners)
        await self._networks.remove(name, self._owners)

    async def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume. Raises `NameTaken` when the name is another owner's."""
        self._work_for(spec.labels)
        await self._networks.create_volume(spec)

    async def remove_volume(self, name: str) -> None:
        """Remove a volume."""
        await self._networks.remove_volume(name, self._owners)

    async def create_instance(self, spec: InstanceSpec, values: Values) -> None:
        """Make an instance, not started. Raises `NameTaken`, `ImageMissing`, `DangerRefused`."""
        image_of(spec)
        refuse_unsendable(spec.name, values)
        spec = await asyncio.to_thread(danger.launchable, spec, home=self._home, protected=self._protected())
        secret_files.refuse_elsewhere(self._address, spec)
        owner = self._work_for(spec.labels)
        network = await self._surroundings(spec, owner)
        self._creating.add(spec.name)
        try:
            await self._create(spec, values, network)
        except NameTaken:
            found = await self._inspect(spec.name)
            if found is None or owner_of(found["Config"].get("Labels") or {}) != owner:
                secret_files.remove(self._paths.secret_files, spec.name)
            if found is None:
                raise EngineError(f"`{spec.name}` is being removed", hint="run `mcp-compose up` again") from None
            refuse_other_configuration(spec.name, dict(spec.labels), found["Config"].get("Labels") or {})
        except BaseException as error:
            self._swept = False  # should the engine not say now whether there is a container
            if isinstance(error, McpComposeError) and await self._inspect(spec.name) is None:
                secret_files.remove(self._paths.secret_files, spec.name)
            raise
        finally:
            self._creating.discard(spec.name)

    async def start_instance(self, name: str, values: Values) -> Endpoint:
        """Start an instance and hold its streams; one that runs unattached is restarted in place."""
        found = await self._ours(name)
        stdio = bool(found["Config"]["OpenStdin"])
        if found["State"]["Running"]:
            if not stdio:
                return await self.connect_instance(name)
            await self._stop(found, grace_of(found))
        await self._let_go(name)
        await asyncio.to_thread(self._refuse_moved, found)
        secret_files.write(self._paths.secret_files, name, values.secret_files)
        stream = await self._attach(name, found["Id"], stdin=stdio)
        try:
            await self._client.call(f"start `{name}`", lambda api: api.start(found["Id"]), values=values)
        except BaseException:
            await self._let_go(name)
            raise
        return StreamEndpoint(stream) if stdio else await self._http(name)

    async def connect_instance(self, name: str) -> Endpoint:
        """Hold a running HTTP instance that an earlier run left. Raises `InstanceMissing` when it does not run."""
        found = await self._ours(name)
        if not found["State"]["Running"] or found["Config"]["OpenStdin"]:
            raise InstanceMissing(f"instance `{name}` does not run", hint="run `mcp-compose up`")
        held = self._streams.get(name)
        if held is None or held.gone:
            await self._attach(name, found["Id"], stdin=False)
        return await self._http(name)

    async def stop_instance(self, name: str, grace: float) -> None:
        """Ask it to end, and make it end after *grace* seconds."""
        found = await self._inspect(name)
        if found is None:
            return
        refuse_not_ours("instance", name, found["Config"].get("Labels") or {}, self._owners)
        await self._stop(found, grace)
        await self._let_go(name)

    async def remove_instance(self, name: str) -> None:
        """Remove an instance, running or not, with its secret files."""
        found = await self._inspect(name)
        if found is not None:
            refuse_not_ours("instance", name, found["Config"].get("Labels") or {}, self._owners)
            await self._let_go(name)
            await self._remove(name, found["Id"])
        await self._let_go(name)
        secret_files.remove(self._paths.secret_files, name)

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to this owner's instances, until closed."""
        return events(self._client, owner)

    async def close(self) -> None:
        """Let go of everything: streams closed, threads ended. Instances are left as they are."""
        for name in list(self._streams):
            await self._let_go(name)
        for task in self._endings:
            task.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)
        await self._client.close()

    # --- one container ---

    async def _create(self, spec: InstanceSpec, values: Values, network: UsableNetwork) -> None:
        secrets = secret_files.write(self._paths.secret_files, spec.name, values.secret_files)
        config = container_config(marked(spec), values, secrets=secrets, network=network)
        platform = getattr(spec.source, "platform", None)
        await self._client.call(
            f"create `{spec.name}`",
            lambda api: api.create_container_from_config(config, name=spec.name, platform=platform),
            values=values,
        )

    def _sweep(self, secrets: frozenset[str], containers: set[str]) -> None:
        """Remove the secret files of instances that do not exist; those on the host are known by their records."""
        local = {file.stem for file in self._paths.instances.glob("*.json")}
        secret_files.sweep(self._paths.secret_files, secrets, containers | local | self._creating)
        self._swept = True

    def _holds(self, name: str) -> bool:
        return (held := self._streams.get(name)) is not None and not held.gone

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._client.call(
                f"look up `{name}`", lambda api: api.inspect_container(name)
            )
        except InstanceMissing:
            return None
        return found if found["Name"] == f"/{name}" or found["Id"] == name else None

    async def _ours(self, name: str) -> dict[str, Any]:
        found = await self._inspect(name)
        if found is None:
            raise InstanceMissing(f"instance `{name}` is gone", hint="run `mcp-compose up`")
        refuse_not_ours("instance", name, found["Config"].get("Labels") or {}, self._owners)
        return found

    async def _attach(self, name: str, container: str, *, stdin: bool) -> AttachedStream:
        version = await self._client.ready()
        log = self._log

        def lost(stream: AttachedStream) -> None:
            log(name, b"")
            task = asyncio.get_running_loop().create_task(self._ended(name, container, stream))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

        stream = await attach(
            self._address, version, container, stdin=stdin, log=lambda data: log(name, data), lost=lost
        )
        self._streams[name] = stream
        return stream

    async def _ended(self, name: str, container: str, stream: AttachedStream) -> None:
        """Find out why a stream ended, and say it."""
        if stream.closed:
            stream.end("closed")
            return
        reason = "its connection to the engine was lost"
        try:
            for _ in range(GONE_TRIES):
                found = await self._inspect(container)
                if found is None or not found["State"]["Running"]:
                    reason = "removed" if found is None else end_of(found["State"])
                    stream.life.end(reason)
                    break
                await asyncio.sleep(PAUSE)
        except McpComposeError as error:
            reason = str(error)
        finally:
            if self._streams.get(name) is stream:
                del self._streams[name]
            stream.end(reason)

    async def _let_go(self, name: str) -> None:
        if (stream := self._streams.pop(name, None)) is not None:
            await stream.close()

    async def _stop(self, found: Mapping[str, Any], grace: float) -> None:
        name, container = found["Name"].lstrip("/"), found["Id"]
        if (held := self._streams.get(name)) is not None:
            held.close_input()
            held.discard()
        with suppress(InstanceMissing):
            seconds = max(0, math.ceil(grace))
            await post(self._client, f"/containers/{container}/stop?t={seconds}", f"stop `{name}`", seconds=seconds)

    async def _remove(self, name: str, container: str) -> None:
        try:
            await self._client.call(f"remove `{name}`", lambda api: api.remove_container(container, v=True, force=True))
        except InstanceMissing:
            return
        except EngineError as error:
            if "already in progress" not in str(error):
                raise
            for _ in range(GONE_TRIES):
                if await self._inspect(container) is None:
                    return
                await asyncio.sleep(PAUSE)
            raise

    async def _http(self, name: str) -> HttpEndpoint:
        found = await self._ours(name)
        port, _, path = (found["Config"]["Labels"].get(HTTP_PORT_LABEL) or "").partition(" ")
        network = found["HostConfig"]["NetworkMode"]
        host = address_of(found, network)
        if (way_in := await self._legs.way_in(network, host)) is not None:
            host, _, port = way_in.partition(":")
        if not port or host is None:
            state = found["State"]
            why = "has no network" if state["Running"] else end_of(state)
            raise EngineError(f"`{name}` cannot be reached: it {why}", hint="see `mcp-compose logs`")
        held = self._streams.get(name)
        return HttpEndpoint(f"http://{host}:{port}{path}", life=held.life if held is not None else None)

    # --- what surrounds it ---

    def _work_for(self, labels: Iterable[tuple[str, str]]) -> Owner:
        owner = owner_of(dict(labels))
        if owner is None:
            raise EngineError("an instance, network or volume without an owner's labels")
        self._owners |= {owner}
        return owner

    def _protected(self) -> tuple[Path, ...]:
        socket = self._address.socket
        own = (self._paths.runtime, self._paths.state, self._paths.cache)
        return own if socket is None else (*own, socket)

    def _refuse_moved(self, found: Mapping[str, Any]) -> None:
        """The engine follows links anew at every start, long after the path was judged."""
        if self._address.is_local:
            own = f"{self._paths.secret_files}/"
            mounts = found["HostConfig"].get("Mounts") or ()
            sources = [mount["Source"] for mount in mounts if mount.get("Type") == "bind"]
            labels = found["Config"].get("Labels") or {}
            danger.refuse_moved(server_of(labels), (one for one in sources if not one.startswith(own)))

    async def _surroundings(self, spec: InstanceSpec, owner: Owner) -> UsableNetwork:
        """Check that volumes and network are this owner's; returns the network."""
        for mount in spec.mounts:
            if mount.type == "volume":
                await self._networks.check_volume(mount.source, owner)
        if spec.network in {"none", "host"}:
            if spec.network == "none" and isinstance(spec.transport, Http):
                said = f"server `{spec.server}` speaks http and has no network"
                raise EngineError(said, hint="use `network: isolated`")
            return UsableNetwork()
        network = await self._networks.usable(spec.network, owner)
        return await self._legs.through(network, spec.network, owner)
