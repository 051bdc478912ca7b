"""Take a project down: through its gateway when one runs, else directly on the engines that it used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mcpcompose.actions.admin_client import AdminClient, Event
from mcpcompose.actions.locate import Place
from mcpcompose.actions.lock import held, holder
from mcpcompose.actions.record import read_record, write_record
from mcpcompose.actions.spawn import running_gateway, wait_until_free, wait_until_gone
from mcpcompose.errors import EngineUnreachable, GatewayNotRunning, McpComposeError
from mcpcompose.redact import Redactor


def down(place: Place, *, volumes: bool, on_event: Callable[[Event], None]) -> bool:
    """Remove everything that `up` made; with *volumes* named volumes too. Returns whether there was anything."""
    if gateway := running_gateway(place):
        try:
            return _asked(place, gateway, volumes, on_event)
        except GatewayNotRunning:
            pass  # it ended, or broke off: what it did not take down is done here
    wait_until_free(place)
    from mcpcompose.actions.direct import run

    with held(place.paths):
        return run(lambda: _directly(place, volumes, on_event))


def _asked(place: Place, gateway: AdminClient, volumes: bool, on_event: Callable[[Event], None]) -> bool:
    failed: dict[str, str] | None = None
    pid = holder(place.paths)
    for event in gateway.down(volumes=volumes):
        if event.get("event") == "done":
            failed = event["failed"]
        else:
            on_event(event)
    if failed is None:
        raise GatewayNotRunning("the gateway ended before everything was taken down")
    wait_until_free(place)
    if pid:
        wait_until_gone(pid)
    _raise_failed(failed)
    return True


async def _directly(place: Place, volumes: bool, on_event: Callable[[Event], None]) -> bool:
    record = read_record(place.paths.state)
    known = record.engines if record else ()
    removed = False
    for kind in known or ("docker",):
        try:
            removed |= await _from_engine(place, kind, volumes, on_event)
        except EngineUnreachable:
            if known:
                raise
    if record:
        write_record(place.paths.state, replace(record, engines=()))
    return removed


async def _from_engine(place: Place, kind: str, volumes: bool, on_event: Callable[[Event], None]) -> bool:
    from mcpcompose.actions.direct import Nobody, engine_of
    from mcpcompose.actions.report import step_as_json
    from mcpcompose.orchestrator.execute import execute
    from mcpcompose.orchestrator.reconcile import teardown

    async def no_values(name: str) -> Any:
        raise McpComposeError(f"`{name}` is being removed")

    redact = Redactor().text
    async with engine_of(place, kind) as engine:
        observed = await engine.observe(place.owner, frozenset(), frozenset())
        plan = teardown(observed, volumes=volumes)
        outcome = await execute(plan, engine, no_values, Nobody(), lambda event: on_event(step_as_json(event, redact)))
    _raise_failed({server: error.message for server, error in outcome.errors.items()})
    return bool(plan)


def _raise_failed(failed: dict[str, str]) -> None:
    if failed:
        text = "\n".join(f"`{server or 'project'}` could not be removed: {reason}" for server, reason in failed.items())
        raise McpComposeError(text, hint="run `mcp-compose down` again")
