"""`mcp-compose lock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.cli.up import show_withheld
from mcpcompose.errors import LockedStateDiffers, UsageError

if TYPE_CHECKING:
    from mcpcompose.actions.lockfile import Report
    from mcpcompose.orchestrator.lock_changes import Change

_SHOWN: Final = 40
_END = """\
\b
`mcp-compose.lock` pins what runs and what it may offer: images by digest, packages with everything they need by hash,
and the fingerprint of every tool, prompt and template. Commit it. With it, `up` runs what is locked, and withholds
what servers offer beyond it; `up --locked` refuses instead.
\b
Examples:
  mcp-compose lock                          write it; servers that are in it stay as they were accepted
  mcp-compose lock --accept github          take what the server `github` is now, image, package and tools
  mcp-compose lock --accept github/search   take only its tool `search` as it is now
  mcp-compose lock --check                  compare without starting anything; exit code 5 for a difference
  mcp-compose lock --check --live           also ask registries, and the servers what they offer
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(lock)


def lock(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Only compare; write nothing.")] = False,
    live: Annotated[bool, typer.Option("--live", help="With --check: start the servers to look.")] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="SERVER[/NAME]", help="Take what it is now; can be repeated."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Pin what the servers are now, so that everyone gets the same."""
    from mcpcompose.actions.lockfile import check as compare
    from mcpcompose.actions.lockfile import lock as write

    if (live and not check) or (check and accept):
        raise UsageError("`--live` goes with `--check`, and `--accept` does not")
    found = session(context)
    place = found.place()
    with Progress(found.output) as progress:
        if check:
            report = compare(place, live=live, on_event=progress.event)
        else:
            report = write(place, accept or (), progress.event)
    if form is Format.JSON:
        found.output.json(as_json(report))
    else:
        _show(report, found.output, only_looked=check)
    if report.differs:
        return LockedStateDiffers.exit_code
    return 1 if report.failed else 0


def as_json(report: Report) -> dict[str, Any]:
    """The report as `--format json` prints it; names here are stable."""
    return {
        "written": report.is_written,
        "changes": [_change(one) for one in report.changes],
        "drift": [_change(one) for one in report.drift],
        "differences": [
            {"server": one.server or None, "what": one.what, "text": one.text, "accept": one.command}
            for one in report.differences
        ],
        "failed": dict(report.failed),
        "findings": {str(one["server"]): one["findings"] for one in report.servers},
        "notes": list(report.notes),
    }


def _change(one: Change) -> dict[str, Any]:
    word = {"+": "new", "~": "changed", "-": "gone"}[one.sign]
    return {"server": one.server or None, "change": word, "kind": one.what, "name": one.name, "text": one.text}


def _show(report: Report, output: Output, *, only_looked: bool) -> None:
    _changes(report.changes, output)
    if report.drift:
        output.warning("not as the lock holds it, and not accepted:")
        _changes(report.drift, output)
    for one in report.differences:
        who = f"server `{one.server}` " if one.server else ""
        output.warning(f"{who}{one.text}")
    for name, why in report.failed.items():
        output.warning(f"server `{name}` could not be looked at: {why}")
    for server in report.servers:
        show_withheld(server, output)
    for note in report.notes:
        output.note(note)
    servers = dict.fromkeys(one.server for one in report.drift if one.server)
    commands = dict.fromkeys([*(f"mcp-compose lock --accept {name}" for name in servers), *_commands(report)])
    if commands:
        output.hint("look at what changed, then accept it: " + ", ".join(f"`{command}`" for command in commands))
    if report.is_written:
        output.line("wrote mcp-compose.lock")
    elif not report.differs and not report.failed:
        output.line("everything is as locked" if only_looked else "mcp-compose.lock is up to date")


def _commands(report: Report) -> list[str]:
    return [one.command for one in report.differences]


def _changes(changes: tuple[Change, ...], output: Output) -> None:
    """Server by server, so that it reads as a difference does; a long one is cut."""
    server: str | None = None
    shown = 0
    for one in changes:
        if one.server != server:
            server, shown = one.server, 0
            output.line(f"{server or 'project'}:")
        shown += 1
        if shown <= _SHOWN:
            output.line(f"  {one}")
        elif shown == _SHOWN + 1:
            more = sum(other.server == server for other in changes) - _SHOWN
            output.line(f"  and {more} more")
