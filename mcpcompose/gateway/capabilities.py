"""
What an endpoint says it can do, from what its servers say they can. Pure.

A server's own endpoint repeats what the server says; one of several servers says only what is routed to them.
Lists may change at any time, whatever the servers say, as the project may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

TASKS: Final = "io.modelcontextprotocol/tasks"
"""The extension; tasks of 2025-11-25 are a capability of the same last name and something else."""
UI: Final = "io.modelcontextprotocol/ui"
_CHANGING: Final = ("tools", "prompts", "resources")
_ROUTED: Final = frozenset({TASKS, UI})
"""Extensions whose requests find their server among several."""


def of_one(said: Mapping[str, Any] | None, *, modern: bool) -> dict[str, Any]:
    """What the endpoint of one server says that *said* this of itself; None when it was never asked."""
    if said is None:
        return {kind: {"listChanged": True} for kind in _CHANGING}
    told = {key: {**_object(value), "listChanged": True} if key in _CHANGING else value for key, value in said.items()}
    if modern:
        told.pop("tasks", None)
    elif TASKS in _object(said.get("extensions")):
        told["extensions"] = {key: value for key, value in said["extensions"].items() if key != TASKS}
    return {key: value for key, value in told.items() if value is not None}


def of_all(said: Iterable[Mapping[str, Any] | None], *, modern: bool) -> dict[str, Any]:
    """What an endpoint of several servers says: the kinds of lists always, everything else when one of them can."""
    told: dict[str, Any] = {kind: {"listChanged": True} for kind in _CHANGING}
    extensions: dict[str, Any] = {}
    for one in said:
        if one is None:
            continue
        if _object(one.get("resources")).get("subscribe") is True:
            told["resources"]["subscribe"] = True
        for key in ("completions", "logging"):
            if one.get(key) is not None:
                told[key] = {}
        for key, settings in _object(one.get("extensions")).items():
            if key in _ROUTED and (modern or key != TASKS):
                extensions.setdefault(key, settings)
    if extensions:
        told["extensions"] = extensions
    return told


def can_subscribe(said: Mapping[str, Any] | None) -> bool:
    """Whether a server that *said* this of itself tells of changes of single resources."""
    return _object(_object(said).get("resources")).get("subscribe") is True


def has_tasks(said: Mapping[str, Any] | None) -> bool:
    """Whether it may answer with tasks of the extension."""
    return TASKS in _object(_object(said).get("extensions"))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
