"""`mcp-compose up`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mcpcompose.cli.notices import watch as watch_log
from mcpcompose.cli.output import Output
from mcpcompose.cli.plan import UP_TO_DATE, show_plan
from mcpcompose.cli.progress import Progress
from mcpcompose.cli.session import Format, FormatOption, Session, session
from mcpcompose.errors import ApprovalNeeded, CalledOff, GatewayNotRunning, LockedStateDiffers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpcompose.actions.locate import Place

INTERRUPTED: Final = 130
SHOWN: Final = 10
NOT_ISOLATED: Final = "engine `process`: servers run as plain processes of this user and are not isolated from it"
_END = """\
\b
Without -d it stays and follows changes of the file. Ctrl-C stops the servers; containers stay, stopped, until `down`.
With -d a gateway goes on in the background: `ps`, `logs` and `down` find it again.
\b
Examples:
  mcp-compose up
  mcp-compose up -d
  mcp-compose up --engine process      without a container engine; servers are not isolated
  mcp-compose up --dry-run             what would be done, and why
  mcp-compose up -d --locked           refuse whatever differs from mcp-compose.lock
  mcp-compose up -d --trust HASH       approve a form that needs it (see `mcp-compose trust`)
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(up)


def up(
    context: typer.Context,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Go on in the background.")] = False,
    no_watch: Annotated[bool, typer.Option("--no-watch", help="Do not follow changes of the file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and stop.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Refuse to differ from mcp-compose.lock.")] = False,
    trust: Annotated[
        list[str] | None, typer.Option("--trust", metavar="HASH", help="Approve this form first; can be repeated.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Make what runs be what the file says, and serve it at one endpoint."""
    found = session(context)
    if dry_run:
        from mcpcompose.actions.plan import planned

        show_plan(planned(found.place()), form, found.output)
        return 0
    if trust:
        from mcpcompose.actions.trust import approve

        approve(found.place(), trust)
    if detach:
        return _detached(found, watch=not no_watch, form=form, locked=locked)
    return run_in_foreground(found, watch=not no_watch, locked=locked)


def run_in_foreground(found: Session, *, watch: bool, quietly: bool = False, locked: bool = False) -> int:
    """Be the gateway until somebody ends it, or hand the file to the one that runs."""
    from mcpcompose.actions.up import Wish, hand_over, is_running, stay

    place = found.place()
    wish = Wish(watch=watch, log_to_stderr=quietly, locked=locked)
    if not quietly and is_running(place):
        # One that is just being taken down takes no file any more; then this is the gateway.
        try:
            with Progress(found.output) as progress:
                result = _asking(found, place, lambda: hand_over(place, wish, progress.event, start=False))
            found.output.note("a gateway of this project runs already and took the file; see `mcp-compose ps`")
            return _report(result, found.output, locked=locked)
        except CalledOff:
            raise
        except GatewayNotRunning:
            pass
    progress = Progress(found.output)

    def serving(result: Mapping[str, Any]) -> None:
        progress.settle()
        _report(result, found.output, locked=locked)
        if not quietly:
            found.output.note(
                "Ctrl-C stops the gateway and the servers; containers stay, stopped, until `mcp-compose down`"
            )
            watch_log(found.output)

    with progress:
        interrupted = _asking(found, place, lambda: stay(place, wish, progress.event, serving))
    found.output.note("the gateway and the servers are stopped; `mcp-compose down` removes what they ran in")
    return INTERRUPTED if interrupted else 0


def _detached(found: Session, *, watch: bool, form: Format, locked: bool) -> int:
    from mcpcompose.actions.up import Wish, hand_over

    place = found.place()
    wish = Wish(watch=watch, locked=locked)
    try:
        with Progress(found.output) as progress:
            result = _asking(found, place, lambda: hand_over(place, wish, progress.event))
    except KeyboardInterrupt:
        found.output.note("interrupted; the gateway goes on in the background, until `mcp-compose down`")
        return INTERRUPTED
    if form is Format.JSON:
        found.output.json(result)
        return _code(result, locked=locked)
    return _report(result, found.output, locked=locked)


def _asking(found: Session, place: Place, attempt: Any) -> Any:
    """What *attempt* returns; a person on the terminal may approve what it needs."""
    while True:
        try:
            return attempt()
        except ApprovalNeeded:
            from mcpcompose.cli.trust import ask

            if not found.output.interactive or not ask(place, found.output):
                raise


def _report(result: Mapping[str, Any], output: Output, *, locked: bool = False) -> int:
    if result["engine"] == "process":
        output.warning(NOT_ISOLATED)
    for remark in result.get("remarks", ()):
        output.warning(remark)
    if not result["changed"]:
        output.line(UP_TO_DATE)
    for server, reason in result["failed"].items():
        output.warning(f"server `{server}` does not serve: {reason}")
    for server in result["servers"]:
        show_withheld(server, output)
    output.line(f"endpoint  {result['endpoint']}")
    output.note(
        "connect a client: `mcp-compose client connect NAME`; `mcp-compose client ls` lists those of this machine"
    )
    return _code(result, locked=locked)


def _code(result: Mapping[str, Any], *, locked: bool) -> int:
    if result["failed"]:
        return 1
    differs = locked and any(server.get("withheld") for server in result["servers"])
    return LockedStateDiffers.exit_code if differs else 0


def show_withheld(server: Mapping[str, Any], output: Output) -> None:
    """Say what of a server clients do not see because nobody accepted it, and what looks poisoned."""
    if found := server.get("withheld"):
        said = [f"{one['kind']}{' `' + one['name'] + '`' if one['name'] else ''} ({one['why']})" for one in found]
        more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        output.warning(f"server `{server['server']}` is not as accepted, withheld: {', '.join(said[:SHOWN])}{more}")
        look = "" if server["accept"].startswith("mcp-compose lock") else "look at it with `mcp-compose trust`, "
        output.hint(f"{look}accept it with `{server['accept']}`")
    grave = [one for one in server.get("findings") or () if one["level"] != "low"]
    if grave:
        said = [f"{one['kind']} `{one['name']}`: {one['reason']} ({one['code']}, {one['level']})" for one in grave]
        more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        output.warning(f"server `{server['server']}` has signs of poisoning: {'; '.join(said[:SHOWN])}{more}")
