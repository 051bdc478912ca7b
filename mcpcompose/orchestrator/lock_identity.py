"""
The launch identity of each server as the lock holds it: the same on every machine that has the same files.

Pure. Host paths are relative to the project or to the home folder, and texts with variables stay as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcpcompose.orchestrator.lock_pins import image_pin, package_pin, runner_of, runner_pin
from mcpcompose.spec.canonical import canonical
from mcpcompose.spec.fingerprint import fingerprint
from mcpcompose.spec.project import Project
from mcpcompose.spec.server import Server, Volume


def launch_identities(project: Project, home: Path, contexts: Mapping[str, str]) -> dict[str, str]:
    """The identities by server; *contexts* are the digests of the built servers' contexts."""
    return {name: launch_identity(project, name, home, contexts.get(name, "")) for name in project.servers}


def launch_identity(project: Project, name: str, home: Path, context: str) -> str:
    """The identity of the server *name* with what the lock pins of it."""
    source = canonical(_source(project, name, context))
    return "sha256:" + fingerprint(_portable(project, name, home), image=source)


def _source(project: Project, name: str, context: str) -> Any:
    """What decides which code runs."""
    server = project.servers[name]
    if server.image is not None:
        image = image_pin(project, name)
        return image.model_dump(mode="json", exclude_none=True) if image is not None else server.image
    if server.build is not None:
        args = {key: _written(project, name, f"build.args.{key}", text) for key, text in server.build.args.items()}
        return {
            "context": context,
            "dockerfile": server.build.dockerfile,
            "target": server.build.target,
            "args": args,
        }
    if server.package is not None:
        package, runner = package_pin(project, name), runner_pin(project, name)
        return {
            "package": package.model_dump(mode="json", exclude_none=True, exclude={"runner"}) if package else None,
            "runner": runner.model_dump(mode="json", exclude_none=True) if runner else runner_of(project, name),
        }
    return None


def _portable(project: Project, name: str, home: Path) -> Server:
    """The server without what is this machine's alone."""
    server = project.servers[name]
    changes: dict[str, Any] = {}
    if server.volumes:
        changes["volumes"] = tuple(_volume(project, name, i, one, home) for i, one in enumerate(server.volumes))
    if server.working_dir is not None:
        changes["working_dir"] = _path(project, server.working_dir, home)
    for key in ("user", "platform", "working_dir"):
        if (text := project.provenance.written.get(f"servers.{name}.{key}")) is not None:
            changes[key] = text
    return server.model_copy(update=changes)


def _volume(project: Project, name: str, index: int, volume: Volume, home: Path) -> Volume:
    place = f"volumes.{index}"
    whole = _written(project, name, place, "")
    source = whole or _written(project, name, f"{place}.source", _path(project, volume.source, home, volume.type))
    target = _written(project, name, f"{place}.target", volume.target)
    return volume.model_copy(update={"source": source, "target": target})


def _path(project: Project, text: str, home: Path, kind: str = "bind") -> str:
    if kind != "bind" or not text.startswith("/"):
        return text
    path = Path(text)
    if path.is_relative_to(project.directory):
        return f"./{path.relative_to(project.directory)}"
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else text


def _written(project: Project, name: str, place: str, text: str) -> str:
    return project.provenance.written.get(f"servers.{name}.{place}", text)
