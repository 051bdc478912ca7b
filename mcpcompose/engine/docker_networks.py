"""A project's networks and volumes on a container engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.engine import subnets
from mcpcompose.engine.base import NetworkSpec, VolumeSpec
from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.engine.ownership import owner_of, refuse_foreign
from mcpcompose.errors import EngineError, InstanceMissing, NameTaken
from mcpcompose.spec.identity import Owner

if TYPE_CHECKING:
    from docker import APIClient

TRIES: Final = 64
REMOVE_TRIES: Final = 20
PAUSE: Final = 0.1
NO_ADDRESS: Final = "com.docker.network.bridge.inhibit_ipv4"
"""The bridge gets no address, so that this machine is not reached from the network."""


@dataclass(frozen=True, slots=True)
class UsableNetwork:
    """A network that an instance may be on: *internal* is one without a way out."""

    internal: bool = False
    subnet: IPv4Network | None = None
    resolver: str | None = None
    """Where names are looked up; None for where the engine does."""
    hosts: tuple[str, ...] = ()
    """Names that are at the resolver's address, written into the instance: not every engine forwards to a resolver."""


class DockerNetworks:
    """Makes and removes networks and volumes of ours, and nobody else's."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._known: tuple[IPv4Network, ...] | None = None
        self._reserved: dict[str, IPv4Network] = {}

    async def create(self, spec: NetworkSpec) -> None:
        """Make a network with a small subnet of its own. Raises `NameTaken`."""
        labels = dict(spec.labels)
        if (found := await self.find(spec.name)) is not None:
            refuse_foreign("network", spec.name, labels, found.get("Labels") or {})
            return
        refused: set[IPv4Network] = set()
        try:
            for _ in range(TRIES):
                subnet = await self._reserve(spec, refused)
                try:
                    await self._client.call(f"create network `{spec.name}`", partial(_create, spec=spec, subnet=subnet))
                except NameTaken:
                    await self._settle_race(spec)
                    return
                except EngineError as error:
                    if not _is_overlap(error):
                        raise
                    refused.add(subnet)
                    self._known = None
                else:
                    return
        finally:
            self._reserved.pop(spec.name, None)
        raise EngineError(f"no free subnet for network `{spec.name}`", hint="remove networks that are not used")

    async def remove(self, name: str, owners: frozenset[Owner]) -> None:
        """Remove a network of ours; containers that are just going are waited for."""
        for attempt in range(REMOVE_TRIES):
            if (found := await self.find(name)) is None:
                return
            refuse_not_ours("network", name, found.get("Labels") or {}, owners)
            try:
                await self._client.call(f"remove network `{name}`", partial(_remove, identity=found["Id"]))
            except InstanceMissing:
                return
            except EngineError as error:
                if "active endpoints" not in str(error) or attempt == REMOVE_TRIES - 1:
                    raise
                await asyncio.sleep(PAUSE)
            self._known = None

    async def find(self, name: str) -> dict[str, Any] | None:
        """The network of exactly this name, if there is one."""
        listed = await self._client.call(f"look up network `{name}`", lambda api: api.networks(names=[f"^{name}$"]))
        return next((network for network in listed if network["Name"] == name), None)

    async def usable(self, name: str, owner: Owner | None) -> UsableNetwork:
        """The network *name*. Raises for one that is missing or somebody else's."""
        if (found := await self.find(name)) is None:
            raise EngineError(f"network `{name}` does not exist", hint="run `mcp-compose up` again")
        if owner is None or owner_of(found.get("Labels") or {}) != owner:
            raise NameTaken(f"network `{name}` belongs to somebody else", hint="use another `--project-name`")
        return UsableNetwork(bool(found.get("Internal")), next(subnets.subnets_of([found]), None))

    async def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume. Raises `NameTaken`."""
        labels = dict(spec.labels)
        made = await self._client.call(
            f"create volume `{spec.name}`", lambda api: api.create_volume(name=spec.name, driver="local", labels=labels)
        )
        refuse_foreign("volume", spec.name, labels, made.get("Labels") or {})

    async def remove_volume(self, name: str, owners: frozenset[Owner]) -> None:
        """Remove a volume of ours and what is in it."""
        try:
            found = await self._client.call(f"look up volume `{name}`", lambda api: api.inspect_volume(name))
            refuse_not_ours("volume", name, found.get("Labels") or {}, owners)
            await self._client.call(f"remove volume `{name}`", lambda api: api.remove_volume(name))
        except InstanceMissing:
            return

    async def check_volume(self, name: str, owner: Owner | None) -> None:
        """Raise unless the volume exists and is *owner*'s: an engine would make a missing one by itself."""
        try:
            found = await self._client.call(f"look up volume `{name}`", lambda api: api.inspect_volume(name))
        except InstanceMissing as error:
            raise EngineError(f"volume `{name}` does not exist", hint="run `mcp-compose up` again") from error
        if owner is None or owner_of(found.get("Labels") or {}) != owner:
            raise NameTaken(f"volume `{name}` belongs to somebody else", hint="use another `--project-name`")

    async def _reserve(self, spec: NetworkSpec, refused: set[IPv4Network]) -> IPv4Network:
        name, prefix = spec.name, subnets.prefix_for(spec.instances)
        if self._known is None:
            listed = await self._client.call("list networks", lambda api: api.networks())
            self._known = (*subnets.subnets_of(listed), *subnets.this_host())
        used = (*self._known, *refused, *self._reserved.values())
        subnet = next(subnets.candidates(name, used, prefix), None)
        if subnet is None:
            raise EngineError(f"no free subnet for network `{name}`", hint="remove networks that are not used")
        self._reserved[name] = subnet
        self._known = (*self._known, subnet)
        return subnet

    async def _settle_race(self, spec: NetworkSpec) -> None:
        found = await self.find(spec.name)
        refuse_foreign("network", spec.name, dict(spec.labels), (found or {}).get("Labels") or {})


def refuse_not_ours(kind: str, name: str, labels: dict[str, str], owners: frozenset[Owner]) -> None:
    """Raise `NameTaken` unless *labels* are those of an owner this engine object works for."""
    owner = owner_of(labels)
    if owner is None or (owners and owner not in owners):
        raise NameTaken(f"{kind} `{name}` belongs to somebody else and is left alone")


def _create(api: APIClient, spec: NetworkSpec, subnet: IPv4Network) -> None:
    api.create_network(
        spec.name,
        driver="bridge",
        ipam={"Driver": "default", "Config": [{"Subnet": str(subnet)}]},
        check_duplicate=True,
        internal=spec.internal,
        labels=dict(spec.labels),
        options={NO_ADDRESS: "true"} if spec.egress is not None else None,
        enable_ipv6=False,
    )


def _remove(api: APIClient, identity: str) -> None:
    api.remove_network(identity)


def _is_overlap(error: EngineError) -> bool:
    text = str(error).lower()
    return "overlap" in text or "conflicts with network" in text
