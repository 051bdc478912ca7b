"""`mcp-compose tools`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, did_you_mean, session
from mcpcompose.cli.up import show_withheld
from mcpcompose.errors import UsageError

_LS_END = "\b\nExamples:\n  mcp-compose tools ls\n  mcp-compose --profile marketing tools ls --format json\n"
_INSPECT_END = "\b\nExamples:\n  mcp-compose tools inspect github__create_issue\n"
_CALL_END = """\
\b
Arguments are `name=value`; a value that is JSON (a number, true, a list, an object) is taken as JSON.
\b
Examples:
  mcp-compose tools call time__get_current_time timezone=Europe/Berlin
  mcp-compose tools call files__read --json '{"path": "/data/a.txt"}'
  echo '{"a": 1}' | mcp-compose tools call math__add --json -
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The tools that clients of this project see.", no_args_is_help=True, rich_markup_mode=None)
    group.command("ls", epilog=_LS_END)(ls)
    group.command("inspect", epilog=_INSPECT_END)(inspect)
    group.command("call", epilog=_CALL_END)(call)
    app.add_typer(group, name="tools")


def ls(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List the tools of the profile."""
    found = session(context)
    tools = _tools(context)
    from mcpcompose.actions.tools import withheld

    if form is Format.JSON:
        found.output.json(tools)
        return
    rows = [
        (str(tool["name"]), _first_sentence(str(tool.get("description") or tool.get("title") or ""))) for tool in tools
    ]
    found.output.table(("TOOL", "DESCRIPTION"), rows)
    for server in withheld(found.place()):
        show_withheld(server, found.output)


def inspect(context: typer.Context, tool: Annotated[str, typer.Argument(metavar="TOOL")]) -> None:
    """Print one tool as clients see it, as JSON."""
    tools = {str(one["name"]): one for one in _tools(context)}
    if tool not in tools:
        raise UsageError(
            f"there is no tool `{tool}`{did_you_mean(tool, tools)}", hint="list them with `mcp-compose tools ls`"
        )
    session(context).output.json(tools[tool])


def call(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="TOOL")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", show_default=False)] = None,
    arg: Annotated[
        list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="The same, as an option.")
    ] = None,
    whole: Annotated[
        str | None, typer.Option("--json", metavar="JSON", help="All arguments as one object; `-` reads stdin.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Call a tool through the gateway, as a client would."""
    from mcpcompose.actions.tools import call_tool

    found = session(context)
    given = _arguments([*(arguments or []), *(arg or [])], whole)
    result = call_tool(found.place(), tool, given, found.options.profile)
    if form is Format.JSON:
        found.output.json(result)
    else:
        _show(result, found.output)
    return 1 if result.get("isError") else 0


def _tools(context: typer.Context) -> list[dict[str, Any]]:
    from mcpcompose.actions.tools import tools

    found = session(context)
    return tools(found.place(), found.options.profile)


def _arguments(pairs: list[str], whole: str | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if whole is not None:
        given = _object(sys.stdin.read() if whole == "-" else whole)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"`{pair}` is no argument; write `name=value`")
        given[name] = _value(text)
    return given


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"`--json` is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("`--json` is no object", hint='write it like `{"name": 1}`')
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(result: dict[str, Any], output: Output) -> None:
    """The result's content for people: text as it is, everything else by its kind."""
    for block in result.get("content") or ():
        if block.get("type") == "text":
            output.text(str(block.get("text")))
        else:
            output.line(f"[{block.get('type')} {block.get('mimeType') or block.get('uri') or ''}".rstrip() + "]")
    if not result.get("content"):
        output.json(result.get("structuredContent", result))


def _first_sentence(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= 90 else line[:89] + "…"  # noqa: PLR2004  what fits beside a name
