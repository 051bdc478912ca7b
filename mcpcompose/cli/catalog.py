"""`mcp-compose catalog`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpcompose.cli import catalog_transport
from mcpcompose.cli.output import Output
from mcpcompose.cli.session import Format, FormatOption, session

if TYPE_CHECKING:
    from mcpcompose.actions.catalog import Opened
    from mcpcompose.catalog.entry import Summary
    from mcpcompose.catalog.view import Change

_LS_END = """\
\b
Examples:
  mcp-compose catalog ls           the catalogs of this project
  mcp-compose catalog ls acme      what one of them offers
"""
_SEARCH_END = """\
\b
Examples:
  mcp-compose catalog search github
  mcp-compose catalog search sql database --limit 50 --format json
"""
_SHOW_END = """\
\b
Examples:
  mcp-compose catalog show acme/notion
  mcp-compose catalog show public/io.github.acme/weather@1.2.3 --format json
"""
_DIFF_END = """\
\b
Examples:
  mcp-compose catalog diff acme                      what changed since it was fetched
  mcp-compose catalog diff acme staging              two catalogs of this project
  mcp-compose catalog diff acme ./next/catalog.yaml  a catalog and a file
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Servers that others offer: look for one, look at it.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("ls", epilog=_LS_END)(ls)
    group.command("search", epilog=_SEARCH_END)(search)
    group.command("show", epilog=_SHOW_END)(show)
    group.command("diff", epilog=_DIFF_END)(diff)
    catalog_transport.register(group)
    app.add_typer(group, name="catalog")


def ls(
    context: typer.Context,
    catalog: Annotated[str | None, typer.Argument(metavar="[CATALOG]", show_default=False)] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List the project's catalogs, or what one of them offers."""
    from mcpcompose.actions.catalog import Catalogs
    from mcpcompose.errors import FetchFailed

    found = session(context)
    catalogs = Catalogs(found.place())
    if catalog is None:
        opened = catalogs.open_all()
        if form is Format.JSON:
            found.output.json([_catalog(one) for one in opened])
        else:
            rows = [(one.name, *_columns(one)) for one in opened]
            found.output.table(("CATALOG", "FORMAT", "ENTRIES", "WHERE", "ABOUT"), rows)
        return 0
    one = catalogs.open(catalog)
    if one.index is None:
        raise FetchFailed(f"catalog `{catalog}`: {one.problem}", hint="fetch it with `mcp-compose catalog pull`")
    _entries([(catalog, summary) for summary in one.index.summaries()], found.output, form)
    return 0


def search(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="WORD...")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to print.")] = 20,
    form: FormatOption = Format.TABLE,
) -> int:
    """Look for servers in all catalogs; an entry has to hold every word."""
    from mcpcompose.actions.catalog import Catalogs

    found = session(context)
    catalogs = Catalogs(found.place())
    matches = catalogs.search(words)
    for note in catalogs.notes:
        found.output.warning(note)
    _entries(matches[:limit], found.output, form)
    if form is Format.TABLE and len(matches) > limit:
        found.output.note(f"{len(matches) - limit} more; `--limit {len(matches)}` prints them")
    return 0


def show(
    context: typer.Context,
    entry: Annotated[str, typer.Argument(metavar="CATALOG/ENTRY")],
    form: FormatOption = Format.TABLE,
) -> int:
    """Print what an entry would run, and what it asks for."""
    from mcpcompose.actions.catalog import Catalogs, shown

    found = session(context)
    said = shown(*Catalogs(found.place()).entry(entry))
    if form is Format.JSON:
        found.output.json(said)
    else:
        _show(said, found.output)
    return 0


def diff(
    context: typer.Context,
    catalog: Annotated[str, typer.Argument(metavar="CATALOG")],
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", show_default=False)] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say how two catalogs differ, or how one differs from what it is now."""
    from mcpcompose.actions.catalog import Catalogs

    found = session(context)
    changes = Catalogs(found.place()).compare(catalog, other)
    if form is Format.JSON:
        found.output.json([{"entry": c.entry, "key": c.key, "before": c.before, "after": c.after} for c in changes])
        return 0
    for change in changes:
        _show_change(change, found.output)
    if not changes:
        found.output.note("no difference")
    return 0


def _catalog(one: Opened) -> dict[str, Any]:
    said = {"name": one.name, "where": str(one.location), "problem": one.problem}
    index = one.index
    if index is None:
        return said
    more = {"format": index.format, "entries": len(index.names()), "title": index.title, "digest": index.digest}
    return {**said, **more}


def _columns(one: Opened) -> tuple[str, str, str, str]:
    if one.index is None:
        return "-", "-", str(one.location), one.problem or ""
    return one.index.format, str(len(one.index.names())), str(one.location), one.index.title


def _entries(found: list[tuple[str, Summary]], output: Output, form: Format) -> None:
    if form is Format.JSON:
        output.json([_summary(catalog, one) for catalog, one in found])
        return
    rows = [(f"{catalog}/{one.name}", one.kind or "-", _about(one)) for catalog, one in found]
    output.table(("ENTRY", "RUNS", "ABOUT"), rows)


def _summary(catalog: str, one: Summary) -> dict[str, Any]:
    return {
        "from": f"{catalog}/{one.name}",
        "title": one.title,
        "description": one.description,
        "version": one.version,
        "publisher": one.publisher,
        "kind": one.kind,
        "tags": list(one.tags),
        "tools": list(one.tools),
        "usable": one.is_usable,
    }


def _about(one: Summary) -> str:
    text = " ".join((one.description or one.title).split())
    short = text if len(text) <= 100 else text[:99] + "…"  # noqa: PLR2004  what fits beside the name
    return short if one.is_usable else f"(cannot be used here) {short}"


def _show(said: dict[str, Any], output: Output) -> None:
    output.line(" - ".join(filter(None, (said["from"] + _at(said.get("version")), said.get("title")))))
    for key in ("description", "note"):
        if said.get(key):
            output.line(f"  {said[key]}")
    for key in ("publisher", "license", "homepage", "place"):
        if said.get(key):
            output.line(f"  {key}: {said[key]}")
    if said.get("tags"):
        output.line(f"  tags: {', '.join(said['tags'])}")
    _show_parts(said, output)
    for one in said.get("refused", ()):
        output.line()
        output.line(f"cannot be used: {one['message']} (line {one['line']})")
        if one.get("hint"):
            output.line(f"  {one['hint']}")


def _at(version: str | None) -> str:
    return f"@{version}" if version else ""


def _show_parts(said: dict[str, Any], output: Output) -> None:
    from mcpcompose.config.emit import emit

    for heading, key in (("runs", "server"), ("secrets", "secrets"), ("config", "config")):
        if said.get(key):
            output.line()
            output.line(f"{heading}:")
            output.text("\n".join(f"  {line}" for line in emit(said[key]).rstrip("\n").splitlines()))
    if said.get("tools"):
        output.line()
        output.line("tools:")
        for tool in said["tools"]:
            about = " ".join(tool.get("description", "").split())
            output.line(f"  {tool['name']}" + (f"  {about[:100]}" if about else ""))


def _show_change(change: Change, output: Output) -> None:
    if not change.key:
        sign, said = ("+", change.after) if change.before is None else ("-", change.before)
        runs = (said or {}).get("server", {})
        source = next((f"{key} {runs[key]}" for key in ("image", "package", "url", "process") if key in runs), "")
        output.line(f"{sign} {change.entry}" + (f"  {source}" if source else ""))
        return
    output.line(f"~ {change.entry}  {change.key}")
    for sign, value in (("-", change.before), ("+", change.after)):
        if value is not None:
            output.line(f"    {sign} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
