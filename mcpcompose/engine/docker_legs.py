"""
Ways out with an allow list, on a container engine: each such server has a network of its own without the host in it,
and one container that stands with one leg in it and with the other in a network that leads out.

The server's network is internal and its bridge has no address, so that neither another network nor this machine is
reached from it (an internal network alone leaves this machine reachable at the bridge's address). Everything that
leaves passes `mcpcompose.engine.leg`; when that does not run, nothing leaves.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.engine import leg, leg_names
from mcpcompose.engine.base import Egress, NetworkSpec, RegistryImage, silent
from mcpcompose.engine.docker_client import DockerClient
from mcpcompose.engine.docker_images import DockerImages
from mcpcompose.engine.docker_networks import NO_ADDRESS, DockerNetworks, UsableNetwork, refuse_not_ours
from mcpcompose.engine.ownership import owner_of, refuse_foreign
from mcpcompose.errors import EngineError, InstanceMissing
from mcpcompose.spec.identity import Owner

if TYPE_CHECKING:
    from docker import APIClient

LEG_LABEL: Final = "io.mcpcompose.leg"
"""On the container and the outer network; its value is the digest of what the container does."""
_MEMORY: Final = 256 << 20
_TRIES: Final = 100
_PAUSE: Final = 0.05


def leg_name(network: str) -> str:
    """The container's name; the `_` keeps it apart from instances."""
    return f"{network}_leg"


def outer_name(network: str) -> str:
    """The name of the network that leads out."""
    return f"{network}_out"


class DockerLegs:
    """Makes and removes ways out."""

    def __init__(self, client: DockerClient, networks: DockerNetworks, images: DockerImages) -> None:
        self._client = client
        self._networks = networks
        self._images = images

    async def make(self, spec: NetworkSpec) -> None:
        """Make both networks and the container between them, or what of it is missing, and wait until it serves."""
        egress = spec.egress
        if egress is None:
            return
        await self._images.ensure(RegistryImage(egress.image), refresh=False, progress=silent)
        labels = (*spec.labels, (LEG_LABEL, "network"))
        await self._networks.create(spec)
        inner = await self._networks.find(spec.name)
        if inner is None or not inner.get("Internal") or NO_ADDRESS not in (inner.get("Options") or {}):
            raise EngineError(f"network `{spec.name}` is another kind of network", hint="run `down`, then `up` again")
        await self._networks.create(
            replace(spec, name=outer_name(spec.name), internal=False, egress=None, labels=labels, instances=1)
        )
        outer = await self._networks.find(outer_name(spec.name))
        if outer is None or outer.get("Internal"):
            raise EngineError(f"network `{outer_name(spec.name)}` is another kind of network", hint="remove it")
        subnet = _subnet_of(inner)
        wanted = _digest(egress, subnet)
        found = await self._inspect(spec.name)
        if found is not None and not _serves(found, wanted, {spec.name: inner, outer_name(spec.name): outer}):
            labels_there = found["Config"].get("Labels") or {}
            refuse_foreign("instance", leg_name(spec.name), dict(spec.labels), labels_there)
            await self._remove_container(spec.name)
            found = None
        if found is None:
            await self._start(spec, egress, (subnet, _subnet_of(outer)), wanted)

    async def remove(self, network: str, owners: frozenset[Owner]) -> None:
        """Remove the container and the outer network of *network*, if it has them."""
        found = await self._inspect(network)
        if found is not None:
            refuse_not_ours("instance", leg_name(network), found["Config"].get("Labels") or {}, owners)
            await self._remove_container(network)
        outer = await self._networks.find(outer_name(network))
        if outer is not None and LEG_LABEL in (outer.get("Labels") or {}):
            await self._networks.remove(outer_name(network), owners)

    async def through(self, network: UsableNetwork, name: str, owner: Owner | None) -> UsableNetwork:
        """*network* (*name*) with the address of its way out, if it has one. Raises when that is down."""
        found = await self._inspect(name)
        if found is None or owner_of(found["Config"].get("Labels") or {}) != owner:
            return network
        if not found["State"]["Running"]:
            raise _down(name)
        address = str(found["NetworkSettings"]["Networks"][name]["IPAddress"])
        settings = json.loads(found["Config"]["Entrypoint"][-1])
        hosts = {one.rpartition(":")[0] for one in settings["allow"] if not one.startswith("*")}
        return replace(network, resolver=address, hosts=tuple(sorted(hosts)))

    async def way_in(self, network: str, address: str | None) -> str | None:
        """Where the gateway reaches a server at *address* in *network*, as host and port; None without a leg."""
        found = await self._inspect(network)
        if found is None or address is None:
            return None
        outer = found["NetworkSettings"]["Networks"].get(outer_name(network)) or {}
        if not outer.get("IPAddress"):
            raise _down(network)
        subnet = _subnet_of(await self._networks.find(network) or {})
        place = int.from_bytes(_packed(address), "big") - int(subnet.network_address)
        return f"{outer['IPAddress']}:{leg.INBOUND + place}"

    # --- one container ---

    async def _start(
        self, spec: NetworkSpec, egress: Egress, subnets: tuple[IPv4Network, IPv4Network], digest: str
    ) -> None:
        subnet, outer = subnets
        name, inside = leg_name(spec.name), str(subnet[-2])
        settings = {"allow": list(egress.allow), "inside": inside, "subnet": str(subnet), "port": egress.port}
        config = _config(spec, egress.image, json.dumps(settings), digest)
        config["NetworkingConfig"] = _at(outer_name(spec.name), outer[-2])
        made = await self._client.call(
            f"create `{name}`", lambda api: api.create_container_from_config(config, name=name)
        )
        identity = made["Id"]
        try:
            await self._client.call(f"connect `{name}`", partial(_connect, identity=identity, spec=spec, at=inside))
            await self._client.call(f"start `{name}`", lambda api: api.start(identity))
            await self._until_ready(spec, identity)
        except BaseException:
            await self._remove_container(spec.name)
            raise

    async def _until_ready(self, spec: NetworkSpec, identity: str) -> None:
        """It has said that it listens."""
        for _ in range(_TRIES):
            said = await self._client.call("look at a way out", lambda api: api.logs(identity, tail=20))
            if b'"leg": "ready"' in said:
                return
            found = await self._inspect(spec.name)
            if found is None or not found["State"]["Running"] or found.get("RestartCount"):
                why = said.decode("utf-8", "replace").strip().rpartition("\n")[2][:200] or "it ended at once"
                raise EngineError(
                    f"the way out of server `{spec.server}` does not start: {why}",
                    hint="it runs on `runners.pypi`, which has to be an image with `python3` (3.11 or newer)",
                )
            await asyncio.sleep(_PAUSE)
        raise EngineError(f"the way out of server `{spec.server}` did not start in time", hint="run `up` again")

    async def _inspect(self, network: str) -> dict[str, Any] | None:
        name = leg_name(network)
        try:
            found: dict[str, Any] = await self._client.call(
                f"look up `{name}`", lambda api: api.inspect_container(name)
            )
        except InstanceMissing:
            return None
        return found if found["Name"] == f"/{name}" and LEG_LABEL in (found["Config"].get("Labels") or {}) else None

    async def _remove_container(self, network: str) -> None:
        name = leg_name(network)
        try:
            await self._client.call(f"remove `{name}`", lambda api: api.remove_container(name, v=True, force=True))
        except InstanceMissing:
            return


def is_leg(thing: Mapping[str, Any]) -> bool:
    """Whether a listed container or network is part of a way out."""
    return LEG_LABEL in (thing.get("Labels") or {})


def without_way_out(
    networks: Iterable[Mapping[str, Any]], containers: Mapping[str, Mapping[str, Any]], names: frozenset[str]
) -> set[str]:
    """Of *names*, the networks whose way out is not there or does not run: they are to be made again."""
    outer = {network["Name"] for network in networks}
    down: set[str] = set()
    for name in names:
        container = containers.get(leg_name(name))
        options = next((n.get("Options") or {} for n in networks if n["Name"] == name), {})
        if NO_ADDRESS in options and not (outer_name(name) in outer and _is_between(container, name)):
            down.add(name)
    return down


def _is_between(container: Mapping[str, Any] | None, network: str) -> bool:
    """Whether a listed container runs and stands in both networks."""
    if container is None or container.get("State") != "running":
        return False
    attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {network, outer_name(network)} <= set(attached)


def _serves(container: Mapping[str, Any], digest: str, networks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an inspected container is the one that *digest* tells, and stands in these very networks."""
    attached = container["NetworkSettings"]["Networks"]
    is_there = all((attached.get(name) or {}).get("NetworkID") == one["Id"] for name, one in networks.items())
    return is_there and container["Config"]["Labels"].get(LEG_LABEL) == digest and bool(container["State"]["Running"])


def _down(network: str) -> EngineError:
    return EngineError(f"the way out of network `{network}` does not run", hint="run `mcp-compose up` again")


def _subnet_of(network: Mapping[str, Any]) -> IPv4Network:
    config = (network.get("IPAM") or {}).get("Config") or [{}]
    return IPv4Network(config[0].get("Subnet") or "0.0.0.0/32")


def _at(network: str, address: object) -> dict[str, Any]:
    """A fixed address: whoever speaks to it finds it there after a crash, too."""
    return {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": str(address)}}}}


def _config(spec: NetworkSpec, image: str, settings: str, digest: str) -> dict[str, Any]:
    """The body of the engine's create call: nothing but a program, its settings, and its limits."""
    return {
        "Image": image,
        "Entrypoint": ["python3", "-I", "-S", "-B", "-c", _program(), settings],
        "Cmd": [],
        "Env": [],
        "User": "65534:65534",
        "WorkingDir": "/",
        "Labels": {**dict(spec.labels), LEG_LABEL: digest},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "RestartPolicy": {"Name": "on-failure"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            "NetworkMode": outer_name(spec.name),
            "Init": True,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": _MEMORY,
            "MemorySwap": _MEMORY,
            "PidsLimit": 64,
            "NanoCpus": 1_000_000_000,
            "IpcMode": "private",
            "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ip_forward": "0"},
        },
    }


def _connect(api: APIClient, identity: str, spec: NetworkSpec, at: str) -> None:
    api.connect_container_to_network(identity, spec.name, ipv4_address=at)


def _digest(egress: Egress, subnet: IPv4Network) -> str:
    return hashlib.sha256(repr((egress, str(subnet), _program())).encode()).hexdigest()[:16]


@functools.cache
def _program() -> str:
    """Both modules as one text for `python3 -c`: there is nothing of ours in the image to import from."""
    texts = ["from __future__ import annotations"]
    for module in (leg_names, leg):
        text = inspect.getsource(module)
        lines = text.splitlines()
        for one in ast.parse(text).body:
            if isinstance(one, ast.ImportFrom) and _is_ours(one.module):
                lines[one.lineno - 1 : one.end_lineno] = [""] * ((one.end_lineno or one.lineno) - one.lineno + 1)
        texts += lines
    return "\n".join(texts)


def _is_ours(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in {"__future__", "mcpcompose"}


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))
