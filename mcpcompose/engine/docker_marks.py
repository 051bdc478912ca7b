"""
What our containers say of themselves: the marks a later run needs, and what the engine reports, read.

Marks are text about how to stop and reach a container; nothing in them is a value or a setting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from mcpcompose.engine.base import InstanceSpec, ObservedInstance, Stdio
from mcpcompose.engine.docker_config import complaint_of, exit_code_of, health_of
from mcpcompose.engine.ownership import hash_of, owner_of, server_of
from mcpcompose.engine.streams import exit_reason
from mcpcompose.spec.identity import Owner

HTTP_PORT_LABEL: Final = "io.mcpcompose.http"
Inspect = Callable[[str], Awaitable[Mapping[str, Any] | None]]
GRACE_LABEL: Final = "io.mcpcompose.stop-grace"


def container_name(container: Mapping[str, Any]) -> str:
    """A listed container's own name (links make more names, with more slashes)."""
    names = [name.lstrip("/") for name in container.get("Names") or () if name.count("/") <= 1]
    return names[0] if names else ""


async def observed(name: str, container: Mapping[str, Any], inspect: Inspect, *, held: bool) -> ObservedInstance:
    """A listed container of ours; *held*: this process has its streams. One that is unwell is looked at closer."""
    labels, status = container.get("Labels") or {}, container.get("Status") or ""
    running = container.get("State") in {"running", "paused", "restarting"}
    health = health_of(status) if running else None
    found = await inspect(name) if health == "unhealthy" else None
    return ObservedInstance(
        name=name,
        server=server_of(labels),
        config_hash=hash_of(labels),
        running=running,
        attached=running and held,
        image_id=container.get("ImageID"),
        exit_code=None if running else exit_code_of(status),
        health=health,
        complaint=complaint_of(found["State"]) if found is not None else "",
    )


def marked(spec: InstanceSpec) -> InstanceSpec:
    """*spec* with what a later run needs to know of it in labels; nothing in them is a value."""
    marks = [(GRACE_LABEL, f"{spec.stop_grace_period:g}")]
    if not isinstance(spec.transport, Stdio):
        marks.append((HTTP_PORT_LABEL, f"{spec.transport.port} {spec.transport.path}"))
    return replace(spec, labels=(*spec.labels, *marks))


def grace_of(found: Mapping[str, Any]) -> float:
    """Seconds that an inspected container may take to stop."""
    return float((found["Config"].get("Labels") or {}).get(GRACE_LABEL) or 10)


def end_of(state: Mapping[str, Any]) -> str:
    """Why an inspected container does not run, for people."""
    if state.get("OOMKilled"):
        return "was ended for using more memory than `mem_limit`"
    if said := state.get("Error"):
        return f"could not start: {said}"
    return exit_reason(state.get("ExitCode"))


def split(things: Iterable[Mapping[str, Any]], owner: Owner) -> tuple[set[str], set[str]]:
    """The names of *things* that are *owner*'s, and of those that are not."""
    ours: set[str] = set()
    others: set[str] = set()
    for thing in things:
        (ours if owner_of(thing.get("Labels") or {}) == owner else others).add(thing["Name"])
    return ours, others


def is_instance(name: str) -> bool:
    """Whether *name* looks like an instance's."""
    return name.rpartition("-")[2].isdigit()
