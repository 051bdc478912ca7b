"""What a local process cannot honour: refused with the ways out, never ignored. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from mcpcompose.engine.base import BuiltImage, Hardening, InstanceSpec, RegistryImage
from mcpcompose.errors import EngineError

_KEYS = {
    "memory": "mem_limit",
    "pids": "pids_limit",
    "pid_host": "pid",
    "ipc_host": "ipc",
    "userns_host": "userns_mode",
}
"""The file's word for a field of `Hardening`, where it is another."""


def refuse_unsupported(spec: InstanceSpec) -> None:
    """Raise `EngineError` when *spec* asks for something that only a container can give."""
    if isinstance(spec.source, RegistryImage | BuiltImage):
        key = "image" if isinstance(spec.source, RegistryImage) else "build"
        raise EngineError(
            f"server `{spec.server}` is an `{key}`, which the process engine cannot run",
            hint="use a container engine: `--engine docker`; or run it as a `package` or a `process`",
        )
    if keys := sorted(unsupported(spec)):
        names = ", ".join(f"`{key}`" for key in keys)
        raise EngineError(
            f"server `{spec.server}` has {names}, which the process engine cannot honour",
            hint="use a container engine: `--engine docker`; or take the key away",
        )


def unsupported(spec: InstanceSpec) -> Iterator[str]:
    """The keys of *spec* that need a container."""
    if spec.network != "none":
        yield "network"
    if spec.mounts:
        yield "volumes"
    if spec.extra_hosts:
        yield "extra_hosts"
    if spec.dns:
        yield "dns"
    if spec.user is not None:
        yield "user"
    default = Hardening()
    for field in fields(Hardening):
        if getattr(spec.hardening, field.name) != getattr(default, field.name):
            yield _KEYS.get(field.name, field.name)
