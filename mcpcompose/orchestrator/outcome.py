"""What came of a plan, and the events on the way: data for progress lines, `ps` and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcpcompose.errors import McpComposeError
from mcpcompose.orchestrator.plan import Plan

EventState = Literal["started", "progress", "done", "failed"]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One step began, went on, ended or failed; *elapsed* is in seconds since it began."""

    server: str
    text: str
    state: EventState
    elapsed: float = 0.0


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


def ignore_event(_event: StepEvent) -> None:
    """Progress for those who do not want it."""
