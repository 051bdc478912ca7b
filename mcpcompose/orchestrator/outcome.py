"""What came of a plan, and the events on the way: data for progress lines, `ps` and exit codes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mcpcompose.errors import McpComposeError
from mcpcompose.log import fields
from mcpcompose.orchestrator.plan import Plan

_log: Final = logging.getLogger(__name__)

EventState = Literal["started", "progress", "done", "failed"]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One step began, went on, ended or failed; *elapsed* is in seconds since it began."""

    server: str
    text: str
    state: EventState
    elapsed: float = 0.0
    cause: str = ""


OnEvent = Callable[[StepEvent], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The plan, and the servers whose part of it failed with why; the others' part is done.

    *images* are the ids of images that were had, by server.
    """

    plan: Plan = field(default_factory=Plan)
    errors: Mapping[str, McpComposeError] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Every part is done."""
        return not self.errors


def reason_of(error: Exception) -> str:
    """Why something failed, with the next step where it is known, on one line of `ps`."""
    if not isinstance(error, McpComposeError):
        return f"internal error: {type(error).__name__}"
    return f"{error.message}; {error.hint}" if error.hint else error.message


def log_event(event: StepEvent) -> None:
    """For what is done without anybody having asked: each step that ended is in the gateway's own log."""
    if event.state in {"done", "failed"}:
        _log.info(f"step {event.state}", extra=fields(server=event.server, step=event.text, cause=event.cause))


def ignore_event(_event: StepEvent) -> None:
    """Progress for those who do not want it."""
