"""`mcp-compose policy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpcompose.cli.problems import relative
from mcpcompose.cli.session import Format, FormatOption, session

if TYPE_CHECKING:
    from mcpcompose.actions.policy import Result

_HELP = """\
Try the rules of the project.

A file says which requests a client would make, what a server would answer, and what must be decided; the project's
own interceptors decide, without any server. `policy` in the file, which says what may run at all, is not tried here.
"""
_END = """\
\b
Example, policy-tests.yaml:
  tests:
    - name: a second repository is closed
      steps:
        - {call: github/get_issue, arguments: {owner: acme, repo: site}, returns: text, expect: allow}
        - {call: github/get_issue, arguments: {owner: acme, repo: payroll}, expect: deny, by: session-pin}
\b
Examples:
  mcp-compose policy test policy-tests.yaml
  mcp-compose policy test policy-tests.yaml --format json
\b
Tests to begin with: docs/recipes.md. Every key: docs/policy-tests.md.
"""
_TEST_END = """\
\b
No server is started and none is asked: the file says what it would answer. What the format is: docs/policy-tests.md.
Exit codes: 0 all as expected, 1 a decision is not, 2 a wrong file, 6 a program of an interceptor needs approval.
\b
Examples:
  mcp-compose policy test policy-tests.yaml
  mcp-compose policy test policy-tests.yaml --format json
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help=_HELP, epilog=_END, rich_markup_mode=None)
    group.command("test", epilog=_TEST_END, short_help="Run a file of requests and expected decisions.")(run_file)
    app.add_typer(group, name="policy")


def run_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    form: FormatOption = Format.TABLE,
) -> int:
    """Run requests and expected decisions against the project's interceptors."""
    from mcpcompose.actions.policy import run_tests

    found = session(context)
    place, output = found.place(), found.output
    results = run_tests(place, found.options.directory / file)
    failed = [one for one in results if one.failure is not None]
    if form is Format.JSON:
        output.json({"tests": [_as_json(one) for one in results], "failed": len(failed)})
    else:
        for one in results:
            output.line(f"{'ok    ' if one.failure is None else 'FAILED'}  {one.name}")
            if one.failure is not None:
                output.line(f"        {one.failure}")
                if one.position is not None:
                    output.line(f"        --> {relative(one.position, Path.cwd())}")
        output.note(f"\n{len(results) - len(failed)} of {len(results)} as expected")
    return 1 if failed else 0


def _as_json(result: Result) -> dict[str, object]:
    position = result.position
    where = {"file": str(position.file), "line": position.line} if position is not None else None
    return {"name": result.name, "passed": result.failure is None, "failure": result.failure, "at": where}
