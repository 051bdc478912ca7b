"""How a project is doing: what its gateway says, else what the engines have of it."""

from __future__ import annotations

from typing import Any

from mcpcompose.actions.locate import Place
from mcpcompose.actions.record import Record, read_record
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import EngineUnreachable


def status(place: Place) -> dict[str, Any]:
    """
    `project`, `directory`, `files`, `engine`, `endpoint`, `gateway` (None when none runs), `servers`, `problem`
    (what keeps the file as it is now from taking effect), `interceptors` (what went wrong with them), `remarks` (what
    to know of the file) and `unapproved`.
    """
    if gateway := running_gateway(place):
        return gateway.status()
    record = read_record(place.paths.state) or Record(place.name, str(place.directory), ())
    engine = record.engines[-1] if record.engines else None
    return {
        "project": place.name,
        "directory": str(place.directory),
        "files": [str(file) for file in place.files],
        "engine": engine,
        "endpoint": None,
        "gateway": None,
        "servers": _left(place, record) if record.engines else [],
        "problem": None,
        "interceptors": [],
        "remarks": [],
        "unapproved": [],
    }


def _left(place: Place, record: Record) -> list[dict[str, Any]]:
    from mcpcompose.actions.direct import run

    return run(lambda: _observed(place, record))


async def _observed(place: Place, record: Record) -> list[dict[str, Any]]:
    """What the engines have; an instance without a gateway serves nobody."""
    from mcpcompose.actions.direct import engine_of

    found = []
    for kind in record.engines:
        try:
            async with engine_of(place, kind) as engine:
                observed = await engine.observe(place.owner, frozenset(), frozenset())
        except EngineUnreachable as error:
            found.append({"server": "-", "state": "unknown", "reason": error.message, **_NOTHING_KNOWN})
            continue
        for instance in observed.instances:
            reason = "runs without a gateway" if instance.running else _exit(instance.exit_code)
            found.append({"server": instance.server, "state": "stopped", "reason": reason, **_NOTHING_KNOWN})
    return found


def _exit(code: int | None) -> str | None:
    return None if code is None else f"exited with code {code}"


_NOTHING_KNOWN = {"era": None, "version": None, "tools": 0, "restarts": 0, "since": None}
