"""Settings that are refused unless `unsafe` names them, as problems with a place; `engine.danger` decides."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mcpcompose.config.tree import Map, find, value_position
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.engine.base import Hardening, InstanceSpec, Mount, RegistryImage, Stdio
from mcpcompose.engine.danger import unnamed
from mcpcompose.errors import Problem
from mcpcompose.spec.server import Server

_PLAIN: Final = InstanceSpec(name="", server="", source=RegistryImage(""), transport=Stdio(), labels=())


def dangerous(
    servers: Mapping[str, Server], tree: Map, *, home: Path, directory: Path, real: Mapping[str, str]
) -> Iterator[Problem]:
    """
    Everything dangerous that no `unsafe` names. *real* says where mounted paths lead.

    The engines refuse it too, when they make an instance: what a path leads to can change.
    """

    def resolve(path: Path) -> Path:
        return Path(real.get(str(path)) or os.path.realpath(path))

    for name, server in servers.items():
        if server.process is not None or server.url is not None or _is_incomplete(name, server, tree):
            continue
        for path, spec in _settings(server, directory):
            for danger in unnamed(replace(spec, unsafe=server.unsafe), home=home, resolve=resolve):
                yield Problem(
                    f"server `{name}` {danger.message}",
                    value_position(tree, ("servers", name, *path)),
                    f'if it really needs this, say so on the server: `unsafe: ["{danger.id}"]`',
                )


def _is_incomplete(name: str, server: Server, tree: Map) -> bool:
    """Its `unsafe` has a problem of its own."""
    return find(tree, ("servers", name, "unsafe")) is not None and "unsafe" not in server.model_fields_set


def _settings(server: Server, directory: Path) -> Iterator[tuple[TreePath, InstanceSpec]]:
    """Each setting alone, as a launch that has only this one, with its place in the server."""
    for key, is_said, hardening in (
        ("privileged", server.privileged, Hardening(privileged=True)),
        ("pid", server.pid == "host", Hardening(pid_host=True)),
        ("ipc", server.ipc == "host", Hardening(ipc_host=True)),
        ("userns_mode", server.userns_mode == "host", Hardening(userns_host=True)),
    ):
        if is_said:
            yield (key,), replace(_PLAIN, hardening=hardening)
    for index, capability in enumerate(server.cap_add):
        yield ("cap_add", index), replace(_PLAIN, hardening=Hardening(cap_add=(capability,)))
    for index, device in enumerate(server.devices):
        yield ("devices", index), replace(_PLAIN, hardening=Hardening(devices=(device,)))
    for index, option in enumerate(server.security_opt):
        yield ("security_opt", index), replace(_PLAIN, hardening=Hardening(security_opt=(option,)))
    if server.network == "host":
        yield ("network",), replace(_PLAIN, network="host")
    for index, volume in enumerate(server.volumes):
        if volume.type == "bind" and "\0" not in volume.source:
            source = str(directory / volume.source)
            mount = Mount("bind", source, volume.target, read_only=volume.read_only)
            yield ("volumes", index, "source"), replace(_PLAIN, mounts=(mount,))
