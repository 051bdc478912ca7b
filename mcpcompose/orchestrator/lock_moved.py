"""Which locked images are others by now behind the same tag: asked of their registries, nothing is pulled."""

from __future__ import annotations

import asyncio

from mcpcompose.engine.base import Engine
from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.lock_changes import Change, server_changes
from mcpcompose.orchestrator.lock_pins import image_pin, runner_pin
from mcpcompose.spec.lockfile import LockedImage
from mcpcompose.spec.project import Project


async def moved(project: Project, engine: Engine) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """One change for each image with another digest, and a sentence for each registry that did not say."""
    pins = {name: image_pin(project, name) or runner_pin(project, name) for name in project.servers}
    held = {name: pin for name, pin in pins.items() if pin is not None and pin.digest and "@" not in pin.ref}
    answers = await asyncio.gather(*(_asked(engine, pin.ref) for pin in held.values()))
    found: list[Change] = []
    notes: list[str] = []
    for (name, pin), answer in zip(held.items(), answers, strict=True):
        if isinstance(answer, McpComposeError):
            notes.append(f"whether `{pin.ref}` is still the locked image is not known: {answer.message}")
        elif answer != pin.digest:
            found += _changed(project, name, pin, answer)
    return tuple(found), tuple(notes)


def _changed(project: Project, name: str, pin: LockedImage, digest: str) -> list[Change]:
    entry = project.lock.servers[name] if project.lock is not None else None
    if entry is None:
        return []
    other = LockedImage(ref=pin.ref, digest=digest)
    if entry.image is not None:
        after = entry.model_copy(update={"image": other})
    else:
        after = entry.model_copy(
            update={"package": entry.package and entry.package.model_copy(update={"runner": other})}
        )
    return list(server_changes(name, entry, after))


async def _asked(engine: Engine, reference: str) -> str | McpComposeError:
    try:
        return await engine.registry_digest(reference)
    except McpComposeError as error:
        return error
