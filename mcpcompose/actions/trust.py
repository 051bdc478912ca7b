"""What needs a person's approval on this machine, and the approval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.admin_client import AdminClient, Event
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


def withheld(place: Place) -> list[dict[str, Any]]:
    """The definitions that the running gateway withholds until they are accepted, in exact form."""
    gateway = running_gateway(place)
    return gateway.withheld() if gateway is not None else []


def accept(place: Place, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """Accept exactly these of `withheld`. Raises `UsageError` for what has become another one meanwhile."""
    return AdminClient(place.paths.admin_socket).accept(hashes) if hashes else []


def accept_named(place: Place, words: Sequence[str]) -> list[dict[str, Any]]:
    """Accept `SERVER` or `SERVER/NAME` as it is now. Raises `UsageError` where nothing of it is withheld."""
    waiting = AdminClient(place.paths.admin_socket).withheld()
    chosen: list[str] = []
    for word in words:
        server, _, name = word.partition("/")
        found = [one["hash"] for one in waiting if one["subject"] == word or (not name and _server(one) == server)]
        if not found:
            raise UsageError(f"nothing of `{word}` is withheld", hint="see `mcp-compose trust`")
        chosen += found
    return accept(place, list(dict.fromkeys(chosen)))


def _server(form: Event) -> str:
    return str(form["subject"]).partition("/")[0]


def as_json(form: Form) -> dict[str, Any]:
    """A form as `--format json` prints it."""
    return {"hash": form.hash, "kind": form.kind, "subject": form.subject, "text": form.text}


def _tell(place: Place) -> None:
    """A running gateway looks at its files again."""
    if gateway := running_gateway(place):
        gateway.wake()
