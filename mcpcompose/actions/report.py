"""The JSON of the admin API and of `--format json`: states, steps, plans and problems. Names here are stable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mcpcompose.errors import FileProblems, McpComposeError
from mcpcompose.gateway.integrity import finding_as_json
from mcpcompose.orchestrator.plan import Plan, describe

if TYPE_CHECKING:
    from mcpcompose.gateway.accepting import Waiting
    from mcpcompose.orchestrator.outcome import StepEvent
    from mcpcompose.orchestrator.requests import Preview
    from mcpcompose.upstream.base import Status


def server_as_json(status: Status) -> dict[str, Any]:
    """One server of `ps`."""
    return {
        "server": status.server,
        "state": str(status.state),
        "reason": status.reason,
        "era": str(status.era) if status.era else None,
        "version": status.version,
        "tools": status.tools,
        "restarts": status.restarts,
        "since": status.since,
        "title": status.title,
        "health": status.health,
        "withheld": [{"kind": one.kind, "name": one.name, "why": one.why} for one in status.withheld],
        "accept": status.accept,
        "findings": [finding_as_json(one) for one in status.findings],
    }


def why(status: Status) -> str:
    """Why a server does not serve, and where its own last words are."""
    reason = status.reason or str(status.state)
    return f"{reason}; see `mcp-compose logs {status.server}`" if "exited" in reason and "`" not in reason else reason


def waiting_as_json(one: Waiting) -> dict[str, Any]:
    """A definition that waits for acceptance; like a form of `trust`, and what was found in it."""
    return {
        "hash": one.hash,
        "kind": f"withheld {one.kind}",
        "subject": one.subject,
        "text": one.text,
        "findings": [finding_as_json(found) for found in one.findings],
    }


def step_as_json(event: StepEvent, redact: Callable[[str], str]) -> dict[str, Any]:
    """A step of a plan as it goes on."""
    if event.state == "progress":
        return {"event": "progress", "server": event.server, "text": redact(event.text)}
    return {
        "event": "step",
        "server": event.server,
        "text": redact(event.text),
        "status": event.state,
        "seconds": round(event.elapsed, 3),
    }


def plan_as_json(preview: Preview) -> dict[str, Any]:
    """What `plan` prints, and the hashes of what would need approval first."""
    return {
        "steps": steps_as_json(preview.plan),
        "unapproved": [{"hash": form.hash, "kind": form.kind, "subject": form.subject} for form in preview.pending],
    }


def steps_as_json(plan: Plan) -> list[dict[str, str]]:
    """A plan's steps."""
    return [{"server": step.server, "operation": describe(step.operation), "cause": step.cause} for step in plan.steps]


def problem_as_json(error: McpComposeError) -> dict[str, Any]:
    """What keeps the file as it is now from taking effect."""
    if isinstance(error, FileProblems):
        problems: list[Mapping[str, Any]] = [
            {"message": p.message, "position": str(p.position) if p.position else None, "hint": p.hint}
            for p in error.problems
        ]
    else:
        problems = [{"message": line, "position": None, "hint": None} for line in error.message.splitlines()]
    return {"kind": type(error).__name__, "problems": problems, "hint": error.hint, "exit_code": error.exit_code}
