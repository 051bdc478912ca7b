"""Fetch and build images and packages anew, without starting anything; `up` then replaces what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mcpcompose.actions.admin_client import Event
from mcpcompose.actions.locate import Place
from mcpcompose.errors import McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded
    from mcpcompose.engine.base import Engine, ImageSource
    from mcpcompose.orchestrator.approval import Form
    from mcpcompose.spec.server import Server

_KINDS = {"pull": ("image", "package"), "build": ("build",)}


def refresh(place: Place, verb: str, servers: Sequence[str], on_event: Callable[[Event], None]) -> dict[str, str]:
    """
    `pull` images and packages, or `build` images, of *servers* (none named: all that have one).

    Returns what failed, with reasons. Raises `ApprovalNeeded` before anything runs that was not approved, `UsageError`
    for a server that has nothing of the kind, `EngineUnreachable`.
    """
    from mcpcompose.actions.config import load
    from mcpcompose.actions.direct import run

    loaded = load(place)
    chosen = _chosen(loaded, verb, servers)
    return run(lambda: _refresh(place, loaded, chosen, on_event)) if chosen else {}


def _chosen(loaded: Loaded, verb: str, asked: Sequence[str]) -> list[str]:
    declared = loaded.project.servers
    for name in asked:
        if name not in declared:
            raise UsageError(f"there is no server `{name}`", hint=f"there are {', '.join(declared)}")
    chosen = [name for name in asked or declared if _has(declared[name], verb)]
    if asked and (others := [name for name in asked if name not in chosen]):
        message = "\n".join(f"server `{name}` has nothing to {verb}" for name in others)
        kinds = " or ".join(f"`{kind}`" for kind in _KINDS[verb])
        raise UsageError(message, hint=f"`{verb}` is for servers with {kinds}")
    return chosen


def _has(server: Server, verb: str) -> bool:
    return any(getattr(server, kind) is not None for kind in _KINDS[verb])


async def _refresh(
    place: Place, loaded: Loaded, chosen: Sequence[str], on_event: Callable[[Event], None]
) -> dict[str, str]:
    from mcpcompose.actions.direct import engine_of, place_of
    from mcpcompose.engine.base import HostCommand
    from mcpcompose.orchestrator.desired import desired
    from mcpcompose.orchestrator.round import build_digests, raise_pending, unapproved
    from mcpcompose.orchestrator.signed import refuse_unsigned

    waiting = [form for form in await unapproved(loaded, place_of(place)) if _concerns(form, loaded, chosen)]
    if waiting:
        raise_pending(tuple(waiting))
    place_there = place_of(place)
    wanted = desired(loaded.project, place.owner, digests=await build_digests(loaded.project))
    failed: dict[str, str] = {}
    async with engine_of(place, loaded.project.engine) as engine:
        await engine.check()
        async with asyncio.TaskGroup() as group:
            for spec in wanted.instances:
                if spec.server in chosen and not isinstance(spec.source, HostCommand):
                    judged = refuse_unsigned(spec, place_there.verify)
                    group.create_task(_one(engine, spec.server, spec.source, judged, on_event, failed))
    return failed


def _concerns(form: Form, loaded: Loaded, chosen: Sequence[str]) -> bool:
    """Whether it could matter to one of *chosen*: everything but what belongs to another server."""
    is_of_server = form.subject in loaded.project.servers and not form.kind.startswith("secret")
    return form.subject in chosen or not is_of_server


async def _one(  # noqa: PLR0917  the parts of one image
    engine: Engine,
    server: str,
    source: ImageSource,
    judged: Awaitable[None],
    on_event: Callable[[Event], None],
    failed: dict[str, str],
) -> None:
    """Get one image, unless what is *judged* of it refuses it."""
    reference = source.ref if hasattr(source, "ref") else source.tag
    step = {"event": "step", "server": server, "text": f"get {reference}"}
    on_event({**step, "status": "started"})
    try:
        await judged
        await engine.ensure_image(
            source, refresh=True, progress=lambda line: on_event({"event": "progress", "server": server, "text": line})
        )
    except McpComposeError as error:
        failed[server] = error.message
        on_event({**step, "status": "failed", "detail": error.message})
        return
    on_event({**step, "status": "done"})
