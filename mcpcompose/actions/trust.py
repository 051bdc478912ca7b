"""What needs a person's approval on this machine, and the approval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.actions.spawn import running_gateway
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from mcpcompose.orchestrator.approval import Form


def pending(place: Place) -> tuple[Form, ...]:
    """What of the file waits for approval. Raises `FileProblems`."""
    from mcpcompose.actions.config import load
    from mcpcompose.actions.direct import place_of, run
    from mcpcompose.orchestrator.round import unapproved

    loaded = load(place)
    return run(lambda: unapproved(loaded, place_of(place)))


def approve(place: Place, hashes: Sequence[str] | None) -> tuple[Form, ...]:
    """
    Approve the waiting forms with these *hashes* (None: all), and tell the running gateway.

    What was approved before is fine; raises `UsageError` for a hash that nothing has. Only whole hashes count: whoever
    writes the file can find two forms whose hashes begin alike, and show one of them first.
    """
    from mcpcompose.orchestrator.approval import approvals_of

    waiting = pending(place)
    approvals = approvals_of(place.paths.make(), place.owner)
    chosen = waiting if hashes is None else tuple(form for form in waiting if form.hash in hashes)
    known = [form.hash for form in (*waiting, *approvals.approved())]
    for digest in hashes or ():
        if digest not in known:
            is_start = bool(digest) and any(one.startswith(digest) for one in known)
            raise UsageError(
                f"nothing that waits for approval has the hash `{digest}`",
                hint="write the whole hash" if is_start else "see `mcp-compose trust`",
            )
    if chosen:
        approvals.approve(chosen)
        _tell(place)
    return chosen


def as_json(form: Form) -> dict[str, Any]:
    """A form as `--format json` prints it."""
    return {"hash": form.hash, "kind": form.kind, "subject": form.subject, "text": form.text}


def _tell(place: Place) -> None:
    """A running gateway looks at its files again."""
    if gateway := running_gateway(place):
        gateway.wake()
