"""`mcp-compose ps`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import typer

from mcpcompose.cli.output import Output, Style
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.cli.up import NOT_ISOLATED, show_withheld

_END = """\
\b
Also shows what went wrong with the last change of the file, and what waits for your approval.
\b
Examples:
  mcp-compose ps
  mcp-compose ps --format json
"""
_COLOURS: Final[Mapping[str, Style]] = {
    "ready": "green", "failed": "red", "starting": "cyan", "idle": "dim", "stopped": "dim",
}  # fmt: skip
_HEALTH: Final[Mapping[str, str]] = {"starting": "its health check has not passed yet", "healthy": "healthy"}
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_END)(ps)


def ps(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """Show how the servers are doing."""
    from mcpcompose.actions.ps import status

    found = session(context)
    report = status(found.place())
    if form is Format.JSON:
        found.output.json(report)
        return
    _table(report, found.output)
    _remarks(report, found.output)


def _table(report: Mapping[str, Any], output: Output) -> None:
    now = time.time()
    rows = [
        (
            _called(server),
            server["state"],
            age(now - server["since"]) if server.get("since") else "-",
            str(server.get("tools") if server.get("tools") is not None else "-"),
            server.get("era") or "-",
            str(server.get("restarts") or 0),
            server.get("reason") or _HEALTH.get(server.get("health") or "", ""),
        )
        for server in report["servers"]
    ]
    output.table(("SERVER", "STATE", "SINCE", "TOOLS", "ERA", "RESTARTS", "REASON"), rows, _COLOURS)


def _called(server: Mapping[str, Any]) -> str:
    """A server's name, and what people call it."""
    return f"{server['server']} ({server['title']})" if server.get("title") else str(server["server"])


def _remarks(report: Mapping[str, Any], output: Output) -> None:
    if report["gateway"] is None:
        output.note("\nno gateway of this project runs; start it with `mcp-compose up -d`")
    else:
        output.note(f"\nendpoint  {report['endpoint']}")
    if report["engine"] == "process":
        output.warning(NOT_ISOLATED)
    for server in report["servers"]:
        show_withheld(server, output)
    if report["problem"]:
        output.warning("the last change of the file did not take effect; what it said before is served")
        for problem in report["problem"]["problems"]:
            output.error_lines(problem["message"])
            if problem["position"]:
                output.detail(f"  --> {problem['position']}")
            if problem.get("hint"):
                output.hint(problem["hint"])
        if report["problem"].get("hint"):
            output.hint(report["problem"]["hint"])
    _interceptors(report, output)
    for one in report["unapproved"]:
        output.warning(f"waits for approval: {one['kind']} {one['subject']} ({one['hash']}); see `mcp-compose trust`")


def _interceptors(report: Mapping[str, Any], output: Output) -> None:
    for remark in report.get("remarks", ()):
        output.warning(remark)
    for one in report.get("interceptors", ()):
        times = "once" if one["count"] == 1 else f"{one['count']} times"
        ago = f", last {age(time.time() - one['last'])} ago" if one["last"] else ""
        output.warning(f"interceptor `{one['name']}` failed {times}{ago}: {one['problem']}")


def age(seconds: float) -> str:
    """A time that has passed, in its largest unit."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "0s"
