"""`mcp-compose audit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from mcpcompose.audit.entries import Filter
    from mcpcompose.audit.verify import Verdict

_TAIL_END = """\
\b
With --format json each request is one line of JSON. Names may be globs.
\b
Examples:
  mcp-compose audit tail
  mcp-compose audit tail -f --outcome refused
  mcp-compose audit tail -n 100 --client cursor --server 'git*'
"""
_SHOW_END = """\
\b
Examples:
  mcp-compose audit show 3f9a12c4-17
  mcp-compose audit show --since 2h --interceptor session-pin
  mcp-compose audit show --since 2026-11-01 --until 2026-12-01 --format json > november.jsonl
"""
_VERIFY_END = """\
\b
Exit code 1 when something was changed, removed, put in another order or cut off. It prints the last record as
NUMBER:HASH; kept somewhere else, it shows with --head that the log was not written anew as a whole.
\b
Examples:
  mcp-compose audit verify
  mcp-compose audit verify --head 4711:5f3c…
"""
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of this tool, prompt or resource.")]
Client = Annotated[str | None, typer.Option("--client", metavar="NAME", help="Of this client.")]
OfProfile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Of this profile.")]
OfSession = Annotated[str | None, typer.Option("--session", metavar="ID", help="Of this governed session.")]
Server = Annotated[str | None, typer.Option("--server", metavar="NAME", help="To this server.")]
Method = Annotated[str | None, typer.Option("--method", metavar="METHOD", help="Such as `tools/call`.")]
Outcome = Annotated[
    str | None,
    typer.Option(
        "--outcome",
        metavar="OUTCOME",
        help="ok, error, refused, answered, cancelled, failed, interrupted or `under way`.",
    ),
]
Interceptor = Annotated[
    str | None, typer.Option("--interceptor", metavar="NAME", help="Where this interceptor or rule decided something.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="From then on: a time, or `15m` ago.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who called what, and what was decided.", no_args_is_help=True, rich_markup_mode=None)
    group.command("tail", epilog=_TAIL_END)(tail)
    group.command("show", epilog=_SHOW_END)(show)
    group.command("verify", epilog=_VERIFY_END)(verify)
    app.add_typer(group, name="audit")


def tail(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what ends from now on.")] = False,
    count: Annotated[int, typer.Option("-n", "--tail", min=0, max=1_000_000, help="How many.")] = 20,
    client: Client = None,
    profile: OfProfile = None,
    of_session: OfSession = None,
    server: Server = None,
    name: Name = None,
    method: Method = None,
    outcome: Outcome = None,
    interceptor: Interceptor = None,
    since: Since = None,
    until: Until = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the last requests."""
    from mcpcompose.actions import audit as action

    asked = _filter(None, client, profile, of_session, server, name, method, outcome, interceptor, since, until)
    found = session(context)
    _print(action.tail(found.place(), asked, count, follow=follow), found.output, form)


def show(
    context: typer.Context,
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="One request, with everything.")] = None,
    client: Client = None,
    profile: OfProfile = None,
    of_session: OfSession = None,
    server: Server = None,
    name: Name = None,
    method: Method = None,
    outcome: Outcome = None,
    interceptor: Interceptor = None,
    since: Since = None,
    until: Until = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show every request that fits, or everything about one."""
    from mcpcompose.actions import audit as action

    asked = _filter(id_, client, profile, of_session, server, name, method, outcome, interceptor, since, until)
    found = session(context)
    entries = action.show(found.place(), asked)
    if id_ is None:
        _print(entries, found.output, form)
        return
    shown = list(entries)
    if not shown:
        raise UsageError(f"there is no request `{id_}` in the audit log", hint="`mcp-compose audit tail` lists them")
    for entry in shown:
        found.output.json(entry)


def verify(
    context: typer.Context,
    head: Annotated[str | None, typer.Option("--head", metavar="NUMBER:HASH", help="A record it must have.")] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Check that nothing was changed, removed or cut off."""
    from mcpcompose.actions import audit as action

    found = session(context)
    verdict = action.verify(found.place(), head)
    if form is Format.JSON:
        found.output.json(_as_json(verdict))
    else:
        _tell(verdict, found.output)
    return 1 if verdict.problems else 0


def _filter(
    id_: str | None,
    client: str | None,
    profile: str | None,
    of_session: str | None,
    server: str | None,
    name: str | None,
    method: str | None,
    outcome: str | None,
    interceptor: str | None,
    since: str | None,
    until: str | None,
) -> Filter:
    from mcpcompose.actions.audit import moment
    from mcpcompose.audit.entries import Filter

    return Filter(
        id=id_,
        client=client,
        profile=profile,
        session=of_session,
        server=server,
        name=name,
        method=method,
        outcome=outcome,
        interceptor=interceptor,
        since=moment(since) if since is not None else None,
        until=moment(until) if until is not None else None,
    )


def _print(entries: Iterable[Mapping[str, Any]], output: Output, form: Format) -> None:
    for entry in entries:
        if form is Format.JSON:
            output.json(entry, indent=None)
        else:
            output.line(_line(entry))


def _line(entry: Mapping[str, Any]) -> str:
    """One request for people: when, who, what, how it ended, by whose decision."""
    what = "/".join(str(entry[key]) for key in ("server", "name") if entry.get(key))
    arrow = " asks" if entry.get("direction") == "to_client" else ""
    parts = [
        str(entry.get("time", "?")),
        str(entry.get("client") or "-"),
        str(entry.get("method", "?")) + arrow,
        what or "-",
        str(entry.get("outcome", "?")),
    ]
    if isinstance(entry.get("ms"), (int, float)):
        parts.append(f"{entry['ms']} ms")
    decisions = entry.get("decisions")
    parts += [_decision(one) for one in decisions if isinstance(one, dict)] if isinstance(decisions, list) else []
    if entry.get("error"):
        parts.append(f"error: {entry['error']}")
    return "  ".join([*parts, f"[{entry.get('id', '?')}]"])


def _decision(one: Mapping[str, Any]) -> str:
    rule = f" ({one['rule']})" if one.get("rule") else ""
    return f"{one.get('interceptor', 'gateway')}: {one.get('decision', '?')}{rule}"


def _as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as `--format json` prints it; names here are stable."""
    return {
        "intact": not verdict.problems,
        "files": verdict.files,
        "records": verdict.records,
        "requests": verdict.requests,
        "completed": verdict.completed,
        "interrupted": verdict.interrupted,
        "first": verdict.first,
        "head": str(verdict.last) if verdict.last is not None else None,
        "problems": verdict.problems,
        "notes": verdict.notes,
    }


def _tell(verdict: Verdict, output: Output) -> None:
    for problem in verdict.problems:
        output.error_lines(problem)
    for note in verdict.notes:
        output.note(note)
    if verdict.last is None:
        output.line("nothing has been written yet" if not verdict.problems else "the audit log is gone")
        return
    cut = f", {verdict.interrupted} interrupted" if verdict.interrupted else ""
    counted = f"{verdict.records} records, {verdict.requests} requests{cut}, {verdict.files} files"
    output.line(f"{'the audit log is NOT intact' if verdict.problems else 'the audit log is intact'}: {counted}")
    output.line(f"head {verdict.last}")
