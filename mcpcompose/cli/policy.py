"""`mcp-compose policy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpcompose.cli.session import Format, FormatOption, session

if TYPE_CHECKING:
    from mcpcompose.actions.policy import Result

_TEST_END = """\
\b
No server is started and none is asked: the file says what it would answer. What the format is: docs/policy-tests.md.
Exit code 1 when a decision is not as expected.
\b
Examples:
  mcp-compose policy test policy-tests.yaml
  mcp-compose policy test policy-tests.yaml --format json
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Try the rules of the project.", rich_markup_mode=None)
    group.command("test", epilog=_TEST_END)(run_file)
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
                output.line(f"        --> {one.position}")
        output.note(f"\n{len(results) - len(failed)} of {len(results)} as expected")
    return 1 if failed else 0


def _as_json(result: Result) -> dict[str, object]:
    position = result.position
    where = {"file": str(position.file), "line": position.line} if position is not None else None
    return {"name": result.name, "passed": result.failure is None, "failure": result.failure, "at": where}
