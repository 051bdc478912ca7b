"""`mcp-compose client connect`, `disconnect` and `undo`: every change is shown before it is made."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, Session, session
from mcpcompose.errors import McpComposeError, UsageError

if TYPE_CHECKING:
    from mcpcompose.actions.connecting import Asked, Connecting, Member
    from mcpcompose.actions.connections import Plan
    from mcpcompose.actions.locate import Place
    from mcpcompose.clients.ledger import Connection
    from mcpcompose.clients.registry import ScopeName
    from mcpcompose.spec.project import Project

CONNECT_END: Final = """\
\b
The change is shown first, and asked about on a terminal. Everything else in the file stays byte for byte, and a copy of
it is kept. Your own files get the client's token, a project's files never do: they get a reference, or a command.
\b
Examples:
  mcp-compose client connect                             offer the clients that are there
  mcp-compose client connect cursor --dry-run            only show it
  mcp-compose client connect claude-code --scope project
  mcp-compose client connect codex --profile research --yes
  mcp-compose client connect librechat --host host.docker.internal
"""
DISCONNECT_END: Final = """\
\b
Examples:
  mcp-compose client disconnect cursor
  mcp-compose client disconnect --all --yes
"""
UNDO_END: Final = """\
\b
Only as long as nobody else changed the file since.
\b
Examples:
  mcp-compose client undo
"""


class ScopeChoice(StrEnum):
    """Whose configuration is written."""

    USER = "user"
    PROJECT = "project"
    LOCAL = "local"


ScopeOption = Annotated[
    ScopeChoice | None,
    typer.Option("--scope", help="Your own file, the project's, or yours for this project.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
Force = Annotated[bool, typer.Option("--force", help="Even over an entry that somebody else wrote.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Client = Annotated[str | None, typer.Argument(metavar="[CLIENT]", help="A client application.", show_default=False)]


def connect(
    context: typer.Context,
    name: Client = None,
    scope: ScopeOption = None,
    stdio: Annotated[bool, typer.Option("--stdio", help="By a command that it starts.")] = False,
    http: Annotated[bool, typer.Option("--http", help="By the gateway's URL.")] = False,
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="What it gets.")] = None,
    member: Annotated[str | None, typer.Option("--as", metavar="NAME", help="As this client of the file.")] = None,
    entry: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The entry's name; default: the project's.")
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Write a reference instead of the token.")] = False,
    variable: Annotated[
        str | None, typer.Option("--variable", metavar="NAME", help="The variable that references name.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="How it calls this machine, from a container.")
    ] = None,
    into: Annotated[str | None, typer.Option("--into", metavar="FILE", help="Write this file instead.")] = None,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write this project's entry into a client application's configuration."""
    from mcpcompose.actions.connecting import Asked
    from mcpcompose.clients.choice import Wish

    found = session(context)
    if stdio and http:
        raise UsageError("choose `--stdio` or `--http`, not both")
    place = found.place()
    wish = Wish("stdio" if stdio else "http" if http else None, reference or variable is not None, variable, host)
    wanted: ScopeName | None = scope.value if scope is not None else None
    names = [name] if name is not None else _offered(found, place)
    for one in names:
        asked = Asked(one, wanted, wish, member, profile, entry, into, force)
        _connect(found, place, asked, form, dry_run=dry_run, yes=yes or name is None)


def disconnect(
    context: typer.Context,
    name: Client = None,
    scope: ScopeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every client of this project.")] = False,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Even if somebody changed the entry.")] = False,
    yes: Yes = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Take this project's entry out of a client application's configuration again."""
    from mcpcompose.actions.connections import disconnect as action
    from mcpcompose.actions.connections import plan_disconnect

    found = session(context)
    place = found.place()
    done = []
    for connection in _connections(place, name, scope, everything=everything):
        plan = plan_disconnect(place, connection, force=force)
        if form is Format.TABLE:
            _show(found.output, plan)
        go = not dry_run and _agreed(found.output, plan, yes=yes, quiet=form is Format.JSON)
        if go:
            action(place, plan, connection)
        done.append(_gone_as_json(plan, connection, written=go))
        if form is Format.TABLE and go:
            _tell_gone(found.output, plan)
    if form is Format.JSON:
        found.output.json(done)


def undo(context: typer.Context, dry_run: DryRun = False, yes: Yes = False, form: FormatOption = Format.TABLE) -> None:
    """Take the last change of a client's file back."""
    from mcpcompose.actions.connections import take_back, undoing

    found = session(context)
    place = found.place()
    change, shown = undoing(place)
    if form is Format.TABLE:
        found.output.text(shown.rstrip("\n"))
    asks = found.output.interactive and not yes and form is Format.TABLE
    go = not dry_run and (not asks or _yes(found.output, f"take `{change.what}` back? [y/N] "))
    if go:
        take_back(place, change)
    if form is Format.JSON:
        found.output.json({"undone": change.what, "file": str(change.file), "written": go, "diff": shown})
    elif go:
        found.output.line(f"`{change.what}` is taken back: `{change.file}` is as it was")


def _connect(found: Session, place: Place, asked: Asked, form: Format, *, dry_run: bool, yes: bool) -> None:
    from mcpcompose.actions.config import load
    from mcpcompose.actions.connecting import application_of, as_json, member_of, prepare
    from mcpcompose.actions.connections import connect as action

    output, quiet = found.output, form is Format.JSON
    project = load(place).project
    member = member_of(project, application_of(project, asked.name), asked)
    project, member = _with_member(found, place, project, member, asked, dry_run=dry_run, yes=yes, quiet=quiet)
    one = prepare(place, project, asked, member)
    if not quiet:
        _show_connecting(output, one)
    go = one.plan is not None and not dry_run and _agreed(output, one.plan, yes=yes, quiet=quiet)
    if go and one.plan is not None:
        action(place, one.plan)
    if quiet:
        output.json({**as_json(one), "written": go and one.plan is not None and one.plan.changes})
        return
    if one.plan is not None and go:
        what = "is connected" if one.plan.changes else "was connected already, nothing changed"
        output.line(f"{one.application.name} {what}: `{one.name}` in `{one.plan.target.file}`")
    if go or one.plan is None:
        _show_steps(output, one)
    if go and one.choice.connection.kind == "http" and not _runs(place):
        output.note("the gateway does not run: start it with `mcp-compose up -d`")


def _with_member(
    found: Session,
    place: Place,
    project: Project,
    member: Member,
    asked: Asked,
    *,
    dry_run: bool,
    yes: bool,
    quiet: bool,
) -> tuple[Project, Member]:
    """Offer to add a client that the file does not have; with a profile it must be added."""
    from dataclasses import replace

    from mcpcompose.actions.config import load
    from mcpcompose.actions.connecting import add, addition, application_of

    if not member.missing:
        return project, member
    wanted = replace(member, name=application_of(project, asked.name).id)
    needed = asked.profile is not None
    asks = found.output.interactive and not quiet and not yes and not dry_run
    if not needed and not asks:
        return project, member
    file, shown = addition(place, wanted)
    if not quiet:
        found.output.text(shown.rstrip("\n"))
    question = f"`{file.name}` has no client `{wanted.name}`, so no token of its own; add it like this? [y/N] "
    if asks and not _yes(found.output, question):
        if needed:
            raise UsageError("without it there is no token with that profile")
        return project, member
    if dry_run:
        return project, member
    if needed and not asks and not yes:
        raise UsageError(
            f"the file has no client `{wanted.name}` with the profile `{wanted.profile}`",
            hint=f"add `clients: {{{wanted.name}: {{profile: {wanted.profile}}}}}`, or let `--yes` add it",
        )
    add(place, wanted)
    return load(place).project, replace(wanted, missing=False)


def _offered(found: Session, place: Place) -> list[str]:
    """The clients that are there and not connected, as far as the person wants them."""
    from mcpcompose.actions.client_ls import rows

    there = [row for row in rows(place, None) if row.evidence and row.application.writable and not row.entries]
    names = ", ".join(f"`{row.application.id}`" for row in there)
    if not found.output.interactive:
        hint = f"found on this machine: {names}" if names else "`mcp-compose client ls --all` lists what is known"
        raise UsageError("say which client to connect", hint=hint)
    if not there:
        found.output.note(
            "no client was found that is not connected; `mcp-compose client ls --all` lists what is known"
        )
    return [
        row.application.id
        for row in there
        if _yes(found.output, f"connect {row.application.name} ({row.evidence})? [y/N] ")
    ]


def _connections(place: Place, name: str | None, scope: ScopeChoice | None, *, everything: bool) -> list[Connection]:
    from mcpcompose.actions.connections import ledger_of
    from mcpcompose.clients.registry import named

    known = ledger_of(place).connections()
    if (name is None) != everything:
        raise UsageError("name a client, or all of them with `--all`", hint=_listing(known))
    wanted = None if name is None else named(name).id
    found = [one for one in known if wanted in {None, one.application} and (scope is None or one.scope == scope.value)]
    if not found and name is not None:
        raise McpComposeError(f"`{wanted}` is not connected by `mcp-compose client connect`", hint=_listing(known))
    return found[::-1]


def _listing(known: tuple[Connection, ...]) -> str:
    names = ", ".join(dict.fromkeys(f"`{one.application}`" for one in known))
    return f"connected: {names}" if names else "no client is connected"


def _show_connecting(output: Output, one: Connecting) -> None:
    if one.plan is not None:
        _show(output, one.plan)
        if one.choice.why and one.plan.changes:
            output.note(f"by a {'URL' if one.choice.connection.kind == 'http' else 'command'}: {one.choice.why}")
        return
    output.note(f"{one.application.name} has no file that can be written; this is for pasting:")
    output.text(one.paste.rstrip("\n"))
    if one.choice.why:
        output.note(one.choice.why)


def _show(output: Output, plan: Plan) -> None:
    if plan.shown:
        output.text(plan.shown.rstrip("\n"))
    if plan.target.file != plan.before.target:
        output.note(f"`{plan.target.file}` is a link to `{plan.before.target}`")


def _show_steps(output: Output, one: Connecting) -> None:
    for step in one.steps:
        output.note(f"next: {step}")
    if one.application.note:
        output.note(f"note: {one.application.note}")


def _tell_gone(output: Output, plan: Plan) -> None:
    name = plan.target.application.name
    if plan.keeps:
        output.line(f"{name} is disconnected; the entry `{plan.name}` stays for {', '.join(plan.keeps)}")
    elif plan.changes:
        output.line(f"{name} is disconnected: `{plan.name}` is out of `{plan.target.file}`")
    else:
        output.line(f"{name} is disconnected; `{plan.target.file}` had nothing of ours any more")


def _gone_as_json(plan: Plan, connection: Connection, *, written: bool) -> dict[str, object]:
    return {
        "application": connection.application,
        "scope": connection.scope,
        "name": plan.name,
        "file": str(plan.target.file),
        "written": written and plan.changes,
        "stays_for": list(plan.keeps),
        "diff": plan.shown,
    }


def _agreed(output: Output, plan: Plan, *, yes: bool, quiet: bool) -> bool:
    if yes or quiet or not plan.changes or not output.interactive:
        return True
    return _yes(output, f"write `{plan.target.file}`? [y/N] ")


def _yes(output: Output, question: str) -> bool:
    return output.ask(question).lower() in {"y", "yes"}


def _runs(place: Place) -> bool:
    from mcpcompose.actions.spawn import running_gateway

    return running_gateway(place) is not None
