"""What a container is made from: an instance's spec as the engine's own JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mcpcompose.engine.base import (
    Hardening,
    HostCommand,
    InstanceSpec,
    Mount,
    RegistryImage,
    Stdio,
    Values,
)
from mcpcompose.engine.check import Check, Health
from mcpcompose.engine.docker_networks import UsableNetwork
from mcpcompose.engine.subnets import address_in
from mcpcompose.errors import EngineError

SECRETS: Final = "/run/secrets"
TMPFS_OPTIONS: Final = ("rw", "nosuid", "nodev", "mode=1777")
TMPFS_SIZE: Final = "size=256m"
_HEALTH: Final[tuple[Health, ...]] = ("starting", "healthy", "unhealthy")
NO_RESOLVER: Final = "192.0.2.1"
"""An address that is nobody's (RFC 5737): names are then looked up from inside the network, which leads nowhere."""


def image_of(spec: InstanceSpec) -> str:
    """The reference of the image that *spec* runs."""
    match spec.source:
        case HostCommand():
            raise EngineError(
                f"server `{spec.server}` is a host process, which a container engine does not run",
                hint="use `image`, `build` or `package`, or `--engine process`",
            )
        case RegistryImage() as image:
            return image.reference
        case source:
            return source.tag


def container_config(
    spec: InstanceSpec, values: Values, *, secrets: Path | None, network: UsableNetwork
) -> dict[str, Any]:
    """
    The body of the engine's create call.

    *secrets* is the folder with this instance's secret files, *network* what it is on.
    """
    stdio = isinstance(spec.transport, Stdio)
    config: dict[str, Any] = {
        "Image": image_of(spec),
        "Env": [f"{name}={value}" for name, value in values.environment.items()],
        "Labels": dict(spec.labels),
        "OpenStdin": stdio,
        "StdinOnce": stdio,
        "AttachStdin": stdio,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "StopTimeout": math.ceil(spec.stop_grace_period),
        "Healthcheck": _check(spec.check),
        "HostConfig": _host_config(spec, secrets, network),
    }
    address = address_in(network.subnet, spec.name) if network.subnet is not None and not stdio else None
    if address is not None:
        config["NetworkingConfig"] = {"EndpointsConfig": {spec.network: {"IPAMConfig": {"IPv4Address": address}}}}
    if spec.user is not None:
        config["User"] = spec.user
    if spec.working_dir is not None:
        config["WorkingDir"] = spec.working_dir
    if (entrypoint := values.entrypoint if values.entrypoint is not None else spec.entrypoint) is not None:
        config["Entrypoint"] = list(entrypoint)
    if (command := values.command if values.command is not None else spec.command) is not None:
        config["Cmd"] = list(command)
    return config


def _check(check: Check | None) -> dict[str, Any]:
    """An image's own check is not run: the handshake says more, and the file decides."""
    if check is None:
        return {"Test": ["NONE"]}
    config = {
        "Test": list(check.test),
        "Interval": _nanoseconds(check.interval),
        "Timeout": _nanoseconds(check.timeout),
        "Retries": check.retries,
        "StartPeriod": _nanoseconds(check.start_period),
    }
    return config if check.start_interval is None else {**config, "StartInterval": _nanoseconds(check.start_interval)}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _host_config(spec: InstanceSpec, secrets: Path | None, network: UsableNetwork) -> dict[str, Any]:
    files = [
        Mount("bind", str(secrets / file.target), f"{SECRETS}/{file.target}", read_only=True)
        for file in spec.secret_files
        if secrets is not None
    ]
    config: dict[str, Any] = {
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},
        "NetworkMode": spec.network,
        "PublishAllPorts": False,
        "Mounts": [_mount(mount) for mount in (*spec.mounts, *files)],
        **_limits(spec.hardening),
        **_privileges(spec.hardening),
    }
    if spec.extra_hosts or network.hosts:
        own = [f"{name}:{address}" for name, address in spec.extra_hosts]
        config["ExtraHosts"] = [*own, *(f"{name}:{network.resolver}" for name in network.hosts)]
    if network.resolver is not None:
        config["Dns"] = [network.resolver]
    elif spec.dns or network.internal:
        config["Dns"] = list(spec.dns) or [NO_RESOLVER]
    return config


def _limits(hardening: Hardening) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "NanoCpus": round(hardening.cpus * 1_000_000_000),
        "Memory": hardening.memory,
        "MemorySwap": hardening.memory,
        "PidsLimit": hardening.pids,
        "Tmpfs": dict(_tmpfs(entry) for entry in hardening.tmpfs),
    }
    if hardening.shm_size is not None:
        limits["ShmSize"] = hardening.shm_size
    return limits


def _privileges(hardening: Hardening) -> dict[str, Any]:
    return {
        "Init": hardening.init,
        "ReadonlyRootfs": hardening.read_only,
        "Privileged": hardening.privileged,
        "CapDrop": ["ALL"],
        "CapAdd": list(hardening.cap_add),
        "SecurityOpt": ["no-new-privileges:true", *(o for o in hardening.security_opt if "no-new-priv" not in o)],
        "Devices": [_device(device) for device in hardening.devices],
        "PidMode": "host" if hardening.pid_host else "",
        "IpcMode": "host" if hardening.ipc_host else "private",
        "UsernsMode": "host" if hardening.userns_host else "",
    }


def _mount(mount: Mount) -> dict[str, Any]:
    return {"Type": mount.type, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _tmpfs(entry: str) -> tuple[str, str]:
    """`/path` or `/path:options`, as Docker writes it; not executable unless the options say `exec`."""
    path, _, given = entry.partition(":")
    options = [option for option in given.split(",") if option]
    defaults = [*TMPFS_OPTIONS, *(() if "exec" in options else ("noexec",))]
    if not any(option.startswith("size=") for option in options):
        defaults.append(TMPFS_SIZE)
    return path, ",".join([*defaults, *options])


def _device(device: str) -> dict[str, str]:
    host, inside, rights = (*device.split(":"), "", "")[:3]
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": rights or "rwm"}


def health_of(status: str) -> Health | None:
    """What a health check says, in an engine's status line such as `Up 3 seconds (health: starting)`."""
    for health in _HEALTH:
        if status.endswith((f"({health})", f"(health: {health})")):
            return health
    return None


def complaint_of(state: Mapping[str, Any]) -> str:
    """The last line that the last failed check of an inspected container printed."""
    log = (state.get("Health") or {}).get("Log") or []
    lines = [line for one in log if one.get("ExitCode") for line in str(one.get("Output") or "").splitlines()]
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def exit_code_of(status: str) -> int | None:
    """The code in an engine's status line, such as `Exited (137) 3 seconds ago`."""
    before, _, rest = status.partition("(")
    number = rest.partition(")")[0]
    return int(number) if before.strip() == "Exited" and number.lstrip("-").isdigit() else None


def address_of(container: Mapping[str, Any], network: str) -> str | None:
    """Where an inspected container is reached on *network*."""
    if network == "host":
        return "127.0.0.1"
    found = container["NetworkSettings"]["Networks"].get(network) or {}
    address = found.get("IPAddress") or found.get("GlobalIPv6Address") or None
    return f"[{address}]" if address and ":" in address else address
