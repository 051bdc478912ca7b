"""`mcp-compose secret`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mcpcompose.cli.printable import printable
from mcpcompose.cli.session import Format, FormatOption, session
from mcpcompose.errors import UsageError

_LS_END = """\
\b
Values are never shown, and commands are not run: of those it says "not asked".
\b
Examples:
  mcp-compose secret ls
  mcp-compose secret ls --format json
"""
_SET_END = """\
\b
The value is asked for without an echo, or read from standard input; one newline at its end is dropped (--exact: not).
It goes to the first source of the secret that can be written: `keyring` or `podman`.
\b
Examples:
  mcp-compose secret set github_pat
  op read op://team/github | mcp-compose secret set github_pat
  mcp-compose secret set signing_key --exact < key.der
"""
_RM_END = "\b\nExamples:\n  mcp-compose secret rm github_pat\n"
Name = Annotated[str, typer.Argument(metavar="NAME", help="A secret of the file.")]
NoMore = Annotated[list[str] | None, typer.Argument(hidden=True)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The values of the file's secrets.", no_args_is_help=True, rich_markup_mode=None)
    group.command("ls", epilog=_LS_END)(ls)
    group.command("set", epilog=_SET_END)(set_)
    group.command("rm", epilog=_RM_END)(rm)
    app.add_typer(group, name="secret")


def ls(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """List the secrets, where they may come from, which of that has a value, and who gets it."""
    from mcpcompose.actions import secret as action

    found = session(context)
    secrets = action.listed(found.place())
    if form is Format.JSON:
        found.output.json({"secrets": [action.as_json(one) for one in secrets]})
        return
    rows = [
        (
            one.name,
            one.value,
            one.found.where if one.found else "-",
            ", ".join(description for _, description, _, _ in one.sources),
            ", ".join(one.used_by) or "-",
        )
        for one in secrets
    ]
    colours = {"present": "green", "missing": "red"}
    found.output.table(("NAME", "VALUE", "FROM", "SOURCES", "USED BY"), rows, colours)  # type: ignore[arg-type]


def set_(
    context: typer.Context,
    name: Name,
    more: NoMore = None,
    exact: Annotated[bool, typer.Option("--exact", help="Keep standard input byte for byte.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Set a value, from a prompt or standard input."""
    from mcpcompose.actions import secret as action

    name = _only_a_name(name, more)
    found = session(context)
    place, output = found.place(), found.output
    action.writable(place, name)
    done = action.set_value(place, name, _value(name, exact=exact))
    if form is Format.JSON:
        shown = {
            "name": name,
            "where": done.kept.where,
            "used_by": list(done.used_by),
            "hidden_by": list(done.hidden_by),
        }
        output.json(shown)
        return
    output.line(f"{name} is kept in {done.kept.where}")
    if done.kept.remark:
        output.note(done.kept.remark)
    for place_before in done.hidden_by:
        output.warning(f"{place_before} comes before it and has a value too: that one counts")
    if done.used_by and done.is_running:
        output.note(f"those that get it start again with the new value: {', '.join(done.used_by)}")


def rm(context: typer.Context, name: Name, more: NoMore = None, form: FormatOption = Format.TABLE) -> None:
    """Remove a value."""
    from mcpcompose.actions import secret as action

    name = _only_a_name(name, more)
    found = session(context)
    removed = action.remove(found.place(), name)
    if form is Format.JSON:
        found.output.json({"name": name, "removed": removed})
        return
    for where in removed:
        found.output.line(f"{name} is no longer in {where}")
    if not removed:
        found.output.line(f"{name} had no value that could be removed")


def _only_a_name(name: str, more: list[str] | None) -> str:
    """*name*. What looks like a value on the command line is refused without saying it again."""
    head, equals, _ = name.partition("=")
    if more or equals:
        raise UsageError(
            "a value is never an argument: other programs and your shell's history can read those",
            hint=f"`mcp-compose secret set {head}` asks for it; if what you wrote was a real one, replace it",
        )
    return name


def _value(name: str, *, exact: bool) -> bytes:
    """What a person types, or standard input."""
    from mcpcompose.secrets.base import MAX_BYTES
    from mcpcompose.secrets.file import without_newline

    if sys.stdin is not None and sys.stdin.isatty():
        return _typed(f"value of {name}: ").encode("utf-8", "surrogateescape")
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 3)
    return content if exact else without_newline(content)


def _typed(question: str) -> str:
    import getpass
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(printable(question))
        except getpass.GetPassWarning:
            raise UsageError(
                "this terminal would show what is typed", hint="give the value on standard input"
            ) from None
        except EOFError:
            return ""
