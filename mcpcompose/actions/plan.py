"""What `up` would do: asked of the running gateway, which knows what it holds, else of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import GatewayNotRunning


def planned(place: Place) -> Mapping[str, Any]:
    """`steps`, each with `server`, `operation` and `cause`, and `unapproved`: what would need approval first."""
    if gateway := running_gateway(place):
        for event in gateway.apply({**place.wire(), "dry_run": True}):
            if event.get("event") == "plan":
                return {"steps": event["steps"], "unapproved": event["unapproved"]}
        raise GatewayNotRunning("the gateway ended while it was asked", hint="see `mcp-compose logs gateway`")
    from mcpcompose.actions.direct import run

    return run(lambda: _directly(place))


async def _directly(place: Place) -> Mapping[str, Any]:
    from mcpcompose.actions.context import Source
    from mcpcompose.actions.direct import Nobody, engine_of, place_of
    from mcpcompose.actions.report import plan_as_json
    from mcpcompose.orchestrator.controller import Controller

    loaded = await Source(place).load()
    async with engine_of(place, loaded.project.engine) as engine:

        async def load() -> Any:
            return loaded

        controller = Controller(
            load=load,
            engine_for=lambda _project: engine,
            serving=Nobody(),
            place=place_of(place),
            host=place.options.environ,
        )
        return plan_as_json(await controller.preview())
