"""`mcp-compose audit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mcpcompose.audit.entries import Filter
    from mcpcompose.audit.verify import Verdict

_HELP = """\
Who called what, what was decided by which rule, and how it ended.

Read from the project's files: it works with and without a gateway, and none is asked. Names and sizes are written,
values only with `audit: {values: redacted}` in the file. Filters go together, and take globs: --server 'git*'.
"""
_END = """\
\b
Examples:
  mcp-compose audit tail                            the last 20 requests
  mcp-compose audit tail -f --outcome refused       what is refused from now on, too
  mcp-compose audit show --client cursor --since 2h everything that client did in two hours
  mcp-compose audit show 3f9a12c4-17                one request, by the id at the end of its line
  mcp-compose audit verify                          was it changed, removed or cut off?
  mcp-compose audit verify --head 4711:5f3c…        is it the log that was there then?
\b
What is written, and what verify cannot find: docs/audit.md.
"""
_OUTCOMES = ("ok", "error", "refused", "answered", "cancelled", "failed", "interrupted", "under way")
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
Exit code 1 when something was changed, removed, put in another order or cut off. Whoever can write the log can
write all of it anew, which nothing in it shows. So keep the `head` that is printed, NUMBER:HASH, where they cannot
write, and ask for it next time: exit code 1 when that record is not in the log any more.
\b
Examples:
  mcp-compose audit verify
  mcp-compose audit verify --head 4711:5f3c…
  mcp-compose audit verify --format json | jq -r .head
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
    group = typer.Typer(help=_HELP, epilog=_END, no_args_is_help=True, rich_markup_mode=None)
    group.command("tail", epilog=_TAIL_END)(tail)
    group.command("show", epilog=_SHOW_END)(show)
    group.command("verify", epilog=_VERIFY_END)(verify)
    app.add_typer(group, name="audit", short_help="Who called what, and what was decided.")


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
    shown = 0
    for shown, entry in enumerate(entries, 1):  # noqa: B007  none, or how many
        found.output.json(entry)
    if not shown:
        raise UsageError(f"there is no request `{id_}` in the audit log", hint="`mcp-compose audit tail` lists them")


def verify(
    context: typer.Context,
    head: Annotated[str | None, typer.Option("--head", metavar="NUMBER:HASH", help="A record it must have.")] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Check that nothing was changed, removed or cut off."""
    from mcpcompose.actions import audit as action

    found = session(context)
    place = found.place()
    verdict, folder = action.verify(place, head), action.folder_of(place)
    if form is Format.JSON:
        found.output.json(_as_json(verdict, folder))
    else:
        _tell(verdict, folder, found.output)
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

    _check_outcome(outcome)
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


def _check_outcome(outcome: str | None) -> None:
    """A slip would show nothing, which looks like nothing happened."""
    if outcome is None or any(fnmatchcase(one, outcome) for one in _OUTCOMES):
        return
    close = get_close_matches(outcome, _OUTCOMES, n=1)
    known = ", ".join(f"`{one}`" for one in _OUTCOMES)
    meant = f", did you mean `{close[0]}`?" if close else ""
    raise UsageError(f"no request ends with `{outcome}`{meant}", hint=f"it is one of {known}, or a glob")


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


def _as_json(verdict: Verdict, folder: Path) -> dict[str, Any]:
    """The verdict as `--format json` prints it; names here are stable."""
    return {
        "intact": not verdict.problems,
        "folder": str(folder),
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


def _tell(verdict: Verdict, folder: Path, output: Output) -> None:
    for problem in verdict.problems:
        output.error_lines(problem)
    for note in verdict.notes:
        output.note(note)
    if verdict.last is None:
        output.line("nothing has been written yet" if not verdict.problems else "the audit log is gone")
        return
    cut = f", {verdict.interrupted} interrupted" if verdict.interrupted else ""
    counted = f"{verdict.records} records, {verdict.requests} requests{cut}, {verdict.files} files in {folder}"
    output.line(f"{'the audit log is NOT intact' if verdict.problems else 'the audit log is intact'}: {counted}")
    output.line(f"head {verdict.last}")
