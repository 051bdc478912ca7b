"""`mcp-compose trust`, and the question that `up` asks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpcompose.actions.locate import Place

_END = """\
\b
What runs on this host or widens a container takes effect only in a form that you approved on this machine. What a
server offers is served as it was when it was first seen; what it offers otherwise waits here too.
\b
Examples:
  mcp-compose trust                    show what waits for approval, in its exact form
  mcp-compose trust HASH               approve one form by its hash
  mcp-compose trust --all              approve everything shown
  mcp-compose trust --accept github    accept what the server `github` offers now
  mcp-compose up -d --trust HASH       approve and start, for scripts
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(trust)


def trust(
    context: typer.Context,
    hashes: Annotated[list[str] | None, typer.Argument(metavar="[HASH]...", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Approve everything that waits.")] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="SERVER[/NAME]", help="Accept what it offers now; can be repeated."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show what needs your approval on this machine, or approve it."""
    from mcpcompose.actions import trust as action

    found = session(context)
    place, output = found.place(), found.output
    if sum(map(bool, (hashes, everything, accept))) > 1:
        raise UsageError("name hashes, `--accept` or `--all`, and only one of them")
    if not (hashes or everything or accept):
        _list([*map(action.as_json, action.pending(place)), *action.withheld(place)], form, output)
        return
    approved = action.accept_named(place, accept) if accept else _approve(place, None if everything else hashes or [])
    if form is Format.JSON:
        output.json({"approved": approved})
        return
    from mcpcompose.visible import visible

    for one in approved:
        output.line(f"approved {one['hash']}  {one['kind']} {visible(one['subject'])}")
    if not approved:
        output.line("nothing waits for approval")


def _approve(place: Place, hashes: Sequence[str] | None) -> list[dict[str, Any]]:
    """Forms and withheld definitions with these hashes; None: all that wait now."""
    from mcpcompose.actions import trust as action

    withheld = [one["hash"] for one in action.withheld(place)]
    mine = withheld if hashes is None else [one for one in hashes if one in withheld]
    others = None if hashes is None else [one for one in hashes if one not in withheld]
    approved = [action.as_json(one) for one in action.approve(place, others)] if others is None or others else []
    return [*approved, *action.accept(place, mine)]


def ask(place: Place, output: Output) -> bool:
    """Show the exact forms that wait and ask for them; true when the person said yes."""
    from mcpcompose.actions import trust as action

    forms = action.pending(place)
    if not forms:
        return False
    output.warning("this file needs your approval on this machine, for exactly this:")
    for one in forms:
        output.detail(f"\n  {one.kind} {one.subject}  ({one.hash})")
        output.detail("".join(f"    {line}\n" for line in one.text.splitlines()).rstrip())
    answer = output.ask("\napprove? [y/N] ")
    if answer.lower() not in {"y", "yes"}:
        return False
    action.approve(place, [one.hash for one in forms])
    return True


def _list(forms: Sequence[dict[str, Any]], form: Format, output: Output) -> None:
    if form is Format.JSON:
        output.json({"pending": list(forms)})
        return
    if not forms:
        output.line("nothing waits for approval")
        return
    from mcpcompose.visible import visible

    for one in forms:
        output.line(f"{one['hash']}  {one['kind']} {visible(one['subject'])}")
        for line in one["text"].splitlines():
            output.line(f"    {line}")
    output.note("\napprove with `mcp-compose trust HASH...` or `mcp-compose trust --all`")
