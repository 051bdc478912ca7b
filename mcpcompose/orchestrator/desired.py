"""
What a project wants to have on the engine, with the hardened defaults filled in.

Pure: same project, same desired state. Everything in it holds references, so it can be printed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from mcpcompose.engine.base import (
    BuiltImage,
    Egress,
    Hardening,
    HostCommand,
    Http,
    ImageSource,
    InstanceSpec,
    Mount,
    NetworkSpec,
    PackageImage,
    RegistryImage,
    SecretFile,
    Source,
    Stdio,
    VolumeSpec,
)
from mcpcompose.engine.check import Check
from mcpcompose.engine.subnets import PREFIX, prefix_for
from mcpcompose.errors import FileProblems, Problem
from mcpcompose.orchestrator.hashes import config_hash
from mcpcompose.orchestrator.lock_pins import image_pin, package_pin, pinned_text, runner_of, runner_pin
from mcpcompose.spec.health import HealthCheck
from mcpcompose.spec.identity import HASH_LABEL, Owner, instance_name, network_name, volume_name
from mcpcompose.spec.lockfile import LockedImage, LockedPackage
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import NetworkAllow, Server, Volume

_OWN_LABELS: Final = "io.mcpcompose."
_OWN: Final = frozenset({"isolated", "open", "allow"})
"""Kinds of `network` that are a network of the server's own."""


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything a project wants; *after* says which servers wait for which, *pull* each server's pull policy."""

    project: str = ""
    instances: tuple[InstanceSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    images: tuple[tuple[str, ImageSource], ...] = ()
    after: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pull: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every name it takes on the engine."""
        named: tuple[InstanceSpec | NetworkSpec | VolumeSpec, ...] = (*self.instances, *self.networks, *self.volumes)
        return frozenset(thing.name for thing in named)

    @property
    def references(self) -> frozenset[str]:
        """The references and tags of all images."""
        return frozenset(image_reference(source) for _, source in self.images)


def desired(
    project: Project,
    owner: Owner,
    *,
    keyed: Mapping[str, tuple[str, str]] | None = None,
    digests: Mapping[str, str] | None = None,
) -> Desired:
    """
    What *project* wants.

    *keyed* holds the keyed digests of each server's values (see `Resolver.keyed`), *digests* the digest of each
    built server's context. Raises `FileProblems` for names that collide.
    """
    launched = project.launched
    bare = {spec.server: spec for spec in bare_instances(project, owner, digests or {})}
    networks = tuple(_networks(project, owner))
    kinds = {network.server: _kind(network) for network in networks}
    instances = tuple(
        _labelled(spec, kinds.get(name, (False, PREFIX)), (keyed or {}).get(name, ("", "")))
        for name, spec in bare.items()
    )
    wanted = Desired(
        project=project.name,
        instances=instances,
        networks=networks,
        volumes=_volumes(project, owner),
        images=tuple((s.server, s.source) for s in instances if not isinstance(s.source, HostCommand)),
        after=tuple(_after(launched)),
        pull=tuple((name, server.pull_policy) for name, server in launched.items()),
    )
    _refuse_collisions(wanted)
    return wanted


def bare_instances(project: Project, owner: Owner, digests: Mapping[str, str]) -> tuple[InstanceSpec, ...]:
    """The instances before their hashes are known: what values are resolved for."""
    return tuple(
        _instance(project, owner, name, server, digests.get(name, "")) for name, server in project.launched.items()
    )


def image_reference(source: ImageSource) -> str:
    """What the engine knows the image by."""
    return source.reference if isinstance(source, RegistryImage) else source.tag


def _instance(project: Project, owner: Owner, name: str, server: Server, digest: str) -> InstanceSpec:
    foreign = {key: text or "" for key, text in server.labels.items() if not key.startswith(_OWN_LABELS)}
    return InstanceSpec(
        name=instance_name(project.name, name),
        server=name,
        source=_source(project, name, server, digest),
        transport=Http(server.http.port, server.http.path) if server.http else Stdio(),
        labels=tuple(sorted({**foreign, **owner.labels(name)}.items())),
        entrypoint=server.command if server.package is not None and server.command else server.entrypoint,
        command=_command(server),
        environment=_environment(server),
        secret_files=tuple(
            SecretFile(use.source, use.target or use.source) for use in server.secrets if use.env is None
        ),
        mounts=tuple(_mount(project, volume) for volume in server.volumes),
        network=_network(project, name, server),
        extra_hosts=tuple(server.extra_hosts.items()),
        dns=server.dns,
        user=server.user,
        working_dir=_working_dir(project, server),
        hardening=_hardening(server),
        stop_grace_period=server.stop_grace_period,
        unsafe=server.unsafe,
        signers=() if project.engine == "process" or server.process is not None else project.signers,
        check=_check(server.healthcheck),
    )


def _kind(network: NetworkSpec) -> tuple[object, ...]:
    """What of a network makes the instances on it others."""
    kind = (network.internal, prefix_for(network.instances))
    return kind if network.egress is None else (*kind, *network.egress.allow, network.egress.image, network.egress.port)


def _labelled(spec: InstanceSpec, network: tuple[object, ...], keyed: tuple[str, str]) -> InstanceSpec:
    label = (HASH_LABEL, config_hash(spec, network=network, keyed=keyed))
    return replace(spec, labels=tuple(sorted((*spec.labels, label))))


def _source(project: Project, name: str, server: Server, digest: str) -> Source:
    if server.image is not None:
        image = image_pin(project, name)
        return RegistryImage(server.image, server.platform, image.pin if image is not None else "")
    if server.build is not None:
        build = server.build
        context = project.directory / build.context
        args = tuple(build.args.items())
        content = _short((digest, build.dockerfile, args, build.target, server.platform))
        tag = f"mcp-compose/{project.name}-{name}:{content}"
        return BuiltImage(tag, context, build.dockerfile, args, build.target, server.platform, digest)
    if server.package is not None:
        return package_image(project, name, runner_pin(project, name), package_pin(project, name))
    return HostCommand()


def package_image(
    project: Project, name: str, runner_pinned: LockedImage | None = None, pinned: LockedPackage | None = None
) -> PackageImage:
    """The image of the package of the server *name*, with what is pinned of it."""
    server = project.servers[name]
    ecosystem, _, requirement = (server.package or "").partition(":")
    kind: Literal["pypi", "npm"] = "pypi" if ecosystem == "pypi" else "npm"
    runner = runner_pinned.pin if runner_pinned is not None else runner_of(project, name)
    exactly = pinned_text(kind, requirement, pinned) if pinned is not None else ""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in requirement.lower()).strip("-")
    slug = "-".join(part for part in plain.split("-") if part)[:40].strip("-") or "package"
    of: tuple[object, ...] = (ecosystem, requirement, "" if project.engine == "process" else runner, server.platform)
    content = _short((*of, exactly) if exactly else of)
    return PackageImage(f"mcp-compose/{kind}-{slug}:{content}", kind, requirement, runner, server.platform, exactly)


def _command(server: Server) -> tuple[str, ...] | None:
    if server.process is not None:
        return server.process
    if server.package is not None:
        return server.args  # `command` takes the place of the package's own program: the entry point
    return server.command


def _working_dir(project: Project, server: Server) -> str | None:
    """A local process starts in the project's folder, as a person who types its command there expects."""
    if project.engine != "process" and server.process is None:
        return server.working_dir
    return str(project.directory / (server.working_dir or ""))


def _environment(server: Server) -> tuple[tuple[str, str], ...]:
    """The templates; a key without a value is a reference to the variable of its name."""
    plain = {key: f"${{{key}}}" if text is None else text for key, text in server.environment.items()}
    secret = {use.env: f"${{secret:{use.source}}}" for use in server.secrets if use.env is not None}
    return tuple({**plain, **secret}.items())


def _mount(project: Project, volume: Volume) -> Mount:
    if volume.type == "volume":
        return Mount("volume", volume_name(project.name, volume.source), volume.target, volume.read_only)
    source = str(project.directory / volume.source)
    return Mount("bind", source, volume.target, volume.read_only, project.provenance.real.get(source, ""))


def _network(project: Project, name: str, server: Server) -> str:
    if project.engine == "process" or server.process is not None:
        return "none"
    kind = _network_kind(server)
    return network_name(project.name, name) if kind in _OWN else kind


def _network_kind(server: Server) -> str:
    if isinstance(server.network, str):
        return server.network
    if server.network is not None:
        return "allow"
    return "isolated" if server.http else "none"


def _networks(project: Project, owner: Owner) -> Iterator[NetworkSpec]:
    if project.engine == "process":
        return
    for name, server in project.launched.items():
        kind = "none" if server.process is not None else _network_kind(server)
        if kind in _OWN:
            labels = tuple(sorted(owner.labels(name).items()))
            # Twice, for those that are still going: each has an address of its own.
            instances = 1 if server.scope == "shared" else 1 + 2 * server.instances.limit
            own = network_name(project.name, name)
            egress = None
            if isinstance(server.network, NetworkAllow):
                port = server.http.port if server.http else None
                allow = tuple(sorted(server.network.allow))
                egress = Egress(allow, project.runners.pypi, port, project.signers)
                instances += 1  # the way out has an address, too
            internal = kind != "open"
            yield NetworkSpec(own, name, labels, internal=internal, instances=instances, egress=egress)


def _volumes(project: Project, owner: Owner) -> tuple[VolumeSpec, ...]:
    named = {v.source for server in project.launched.values() for v in server.volumes if v.type == "volume"}
    labels = tuple(sorted(owner.labels().items()))
    return tuple(VolumeSpec(volume_name(project.name, name), labels) for name in sorted(named))


def _check(health: HealthCheck | None) -> Check | None:
    if health is None or health.command is None:
        return None
    return Check(
        health.command, health.interval, health.timeout, health.retries, health.start_period, health.start_interval
    )


def _hardening(server: Server) -> Hardening:
    return Hardening(
        read_only=server.read_only,
        tmpfs=server.tmpfs,
        cpus=server.cpus,
        memory=server.mem_limit,
        pids=server.pids_limit,
        shm_size=server.shm_size,
        init=server.init,
        privileged=server.privileged,
        cap_add=server.cap_add,
        devices=server.devices,
        security_opt=server.security_opt,
        pid_host=server.pid == "host",
        ipc_host=server.ipc == "host",
        userns_host=server.userns_mode == "host",
    )


def _after(launched: Mapping[str, Server]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, server in launched.items():
        if before := tuple(other for other in server.depends_on if other in launched):
            yield name, before


def _refuse_collisions(wanted: Desired) -> None:
    problems: list[Problem] = []
    taken = {"instance": [s.name for s in wanted.instances], "network": [n.name for n in wanted.networks]}
    for kind, names in taken.items():
        problems += [Problem(f"two servers would share the {kind} name `{n}`") for n in _repeated(names)]
    for spec in wanted.instances:
        targets = [file.target for file in spec.secret_files]
        problems += [
            Problem(f"server `{spec.server}` has two secrets at `/run/secrets/{target}`", hint="give one a `target`")
            for target in _repeated(targets)
        ]
    if problems:
        raise FileProblems(tuple(problems))


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _short(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:12]
