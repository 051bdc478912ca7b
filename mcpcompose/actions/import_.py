"""
Import servers from a client application, an `mcp.json` or Docker's MCP configuration into a compose file.

The order keeps everything whole: read, draft, load the result beside the file, keep the secrets, and only then write.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.import_drafts import Drafts, Left, as_value, drafts
from mcpcompose.actions.import_secrets import Keeper, Placed, existing, forget, keep, placed, replace_file
from mcpcompose.actions.import_text import Block, added, new_file, plain, tree_of
from mcpcompose.actions.locate import FILE_NAMES, absolute
from mcpcompose.actions.options import Options
from mcpcompose.clients.import_paths import Surroundings as Machine
from mcpcompose.errors import FileProblems, McpComposeError, UsageError
from mcpcompose.file_lock import alone_in

if TYPE_CHECKING:
    from mcpcompose.clients.import_draft import Draft
    from mcpcompose.clients.import_sources import Collected
    from mcpcompose.clients.registry import ScopeName


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for. *source*: a client's name, `docker-mcp`, or a path; *only*: these servers of it."""

    source: str
    only: tuple[str, ...] = ()
    output: str | None = None
    keeper: Keeper = Keeper.KEYRING
    scope: ScopeName | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. *text* is the whole file; *unchanged* are servers that were there already."""

    file: Path
    title: str
    text: str = field(repr=False)
    servers: tuple[Draft, ...]
    unchanged: tuple[str, ...]
    secrets: tuple[Placed, ...]
    to_set: tuple[Placed, ...]
    left: tuple[Left, ...]
    remarks: tuple[str, ...]
    is_written: bool
    waits: int = 0
    """How many things in it wait for approval."""


def import_servers(options: Options, wish: Wish) -> Imported:
    """Do it. Raises `UsageError` for a source that cannot be read, and for servers that would have to be replaced."""
    result = asyncio.run(_import(options, wish))
    return replace(result, waits=_waits(options, result.file)) if result.is_written else result


def _waits(options: Options, file: Path) -> int:
    """How much of *file* waits for a person's approval on this machine."""
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.trust import pending

    return len(pending(locate(replace(options, files=(str(file),)))))


async def _import(options: Options, wish: Wish) -> Imported:
    from mcpcompose.actions.import_collect import collect
    from mcpcompose.config.chosen import normalised
    from mcpcompose.secrets.base import StoreUnusable
    from mcpcompose.secrets.providers import Surroundings
    from mcpcompose.secrets.system_keyring import SystemKeyring

    file = _target(options, wish)
    before = _text(file)
    there = plain(tree_of(file, before))
    directory = _real(file.parent)
    source = collect(options, wish.source, wish.only, wish.scope)
    where = Surroundings(options.environ, options.environ, options.home, directory, SystemKeyring(options.environ))
    has_secrets = there.get("secrets") if isinstance(there.get("secrets"), dict) else {}
    engine = options.engine or there.get("engine")
    machine = Machine(options.home, directory, on_host=engine == "process")
    made = drafts(source, wish.only, machine, await existing(has_secrets, where))
    project = options.project_name or there.get("name") or normalised(directory.name)
    joining = _Joining(options, wish, file, before, there, made, source)
    secrets = await placed(made.secrets, wish.keeper, str(project), where)
    result = joining.joined(secrets)
    if wish.dry_run or result.text == before:
        return result
    with alone_in(directory):
        _unchanged(file, before)
        try:
            kept = await keep([one for one in result.secrets if one.value], directory, where)
        except StoreUnusable as error:
            steps = (error.hint, "or keep the tokens elsewhere: `--secrets dotenv` or `--secrets environment`")
            raise StoreUnusable(error.message, hint="\n".join(filter(None, steps))) from error
        try:
            _unchanged(file, before)
            replace_file(file, result.text, 0o644)
        except BaseException:
            await forget(kept, where)
            raise
    return replace(result, remarks=(*kept.remarks, *result.remarks), is_written=True)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _target(options: Options, wish: Wish) -> Path:
    """The file to write: the one named, else the one of this folder, else a new one here."""
    named = wish.output or (options.files[0] if options.files else None)
    if named is not None:
        file = absolute(options.directory, named)
        if not file.parent.is_dir():
            raise UsageError(f"there is no folder `{file.parent}`")
        return file
    there = [found for name in FILE_NAMES if (found := options.directory / name).exists()]
    return there[0] if there else options.directory / FILE_NAMES[0]


def _text(file: Path) -> str:
    if not os.path.lexists(file):
        return ""
    from mcpcompose.config.document import read

    try:
        return read(file).decode("utf-8")
    except FileProblems as error:
        raise UsageError(f"`{file}` cannot be added to: {error.problems[0].message}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`{file}` is not UTF-8") from error


@dataclass(frozen=True, slots=True)
class _Joining:
    """Puts drafts into the file's text; what does not load is left out, with the reason."""

    options: Options
    wish: Wish
    file: Path
    before: str
    there: Mapping[str, Any]
    made: Drafts
    source: Collected

    def joined(self, secrets: Sequence[Placed]) -> Imported:
        """The result; `UsageError` when a server of the file would have to be replaced."""
        fresh, unchanged = self._fresh()
        left = list(self.made.left)
        kept = self._loading(fresh, secrets, left)
        used = _used(kept, secrets)
        text = self._composed(kept, used, left)
        if not kept and not unchanged:
            raise UsageError(
                f"nothing to import from {self.source.title}",
                hint="\n".join(f"`{o.name}`: {o.why}" for o in left) or None,
            )
        return Imported(
            file=self.file,
            title=self.source.title,
            text=text if kept else self.before,
            servers=tuple(kept),
            unchanged=tuple(unchanged),
            secrets=tuple(used),
            to_set=tuple(one for one in used if _is_open(one, self.options.environ)),
            left=tuple(left),
            remarks=(),
            is_written=False,
        )

    def _loading(self, fresh: Sequence[Draft], secrets: Sequence[Placed], left: list[Left]) -> list[Draft]:
        """Those of *fresh* that load, together; *left* is told of the others."""
        if self._problem(fresh, secrets, left) is None:
            return list(fresh)
        alone = [(one, self._problem([one], secrets, left)) for one in fresh]
        left += [Left(one.was, why) for one, why in alone if why is not None]
        fine = [one for one, why in alone if why is None]
        if self._problem(fine, secrets, left) is None:
            return fine
        kept: list[Draft] = []
        for one in fine:
            if (why := self._problem([*kept, one], secrets, left)) is None:
                kept.append(one)
            else:
                left.append(Left(one.was, why))
        return kept

    def _fresh(self) -> tuple[list[Draft], list[str]]:
        """The drafts that are new, and the names of those that the file has already, just so."""
        servers = self.there.get("servers") or {}
        fresh: list[Draft] = []
        unchanged: list[str] = []
        clashes: list[str] = []
        for one in self.made.servers:
            if one.name not in servers:
                fresh.append(one)
            elif servers[one.name] == as_value(one):
                unchanged.append(one.name)
            else:
                clashes.append(one.name)
        if clashes:
            names = ", ".join(f"`{name}`" for name in clashes)
            raise UsageError(
                f"`{self.file.name}` has other servers of the same name: {names}",
                hint="rename them there, name the servers to import, or write another file with `--output`",
            )
        return fresh, unchanged

    def _composed(self, kept: Sequence[Draft], secrets: Sequence[Placed], left: Sequence[Left]) -> str:
        sections = {
            "servers": [_block(one) for one in kept],
            "secrets": [Block(one.name, one.source) for one in secrets],
            "profiles": self._profiles(kept),
        }
        tail = [f"not imported: `{one.name}`: {one.why}" for one in left]
        if self.before.strip():
            return added(self.file, self.before, sections, tail)
        head = [
            f"Imported from {self.source.title} by `mcp-compose import`; nothing in it is a secret.",
            "Start it with `mcp-compose up`.",
        ]
        return new_file(head, sections, tail)

    def _profiles(self, kept: Sequence[Draft]) -> list[Block]:
        """The profiles of the source, when it has several and the file has none."""
        names = {one.was: one.name for one in kept}
        if len(self.source.profiles) < 2 or self.there.get("profiles"):  # noqa: PLR2004  one is everything
            return []
        found = {name: [names[s] for s in servers if s in names] for name, servers in self.source.profiles.items()}
        if "default" not in found:
            found = {"default": list(names.values()), **found}
        return [Block(name, {"servers": servers}) for name, servers in found.items()]

    def _problem(self, kept: Sequence[Draft], secrets: Sequence[Placed], left: Sequence[Left]) -> str | None:
        """Why the file with *kept* does not load; None when it does."""
        text = self._composed(kept, _used(kept, secrets), left)
        return self._refused(text)

    def _refused(self, text: str) -> str | None:
        from mcpcompose.config.load import Request, load

        options = self.options
        with _beside(self.file, text) as draft:
            request = Request(
                files=(draft,),
                directory=options.directory,
                environ=options.environ,
                home=options.home,
                project_name=options.project_name,
                engine=options.engine,
            )
            try:
                load(request)
            except FileProblems as error:
                return _reason(error)
            except McpComposeError as error:
                return error.message
        return None


def _reason(error: FileProblems) -> str:
    return "; ".join(dict.fromkeys(problem.message for problem in error.problems[:3]))


def _block(one: Draft) -> Block:
    beside = f"was `{one.was}`" if one.was != one.name else ""
    return Block(one.name, as_value(one), one.remarks, one.notes, beside, is_tall=True)


def _used(kept: Sequence[Draft], secrets: Sequence[Placed]) -> list[Placed]:
    text = repr([one.keys for one in kept]) + repr([one.remarks for one in kept])
    return [
        one
        for one in secrets
        if f"'source': '{one.name}'" in text or f"${{secret:{one.name}}}" in text or f"`{one.name}`" in text
    ]


def _is_open(one: Placed, environ: Mapping[str, str]) -> bool:
    """Nobody has said its value yet."""
    match one.source:
        case {"environment": str(name)}:
            return not environ.get(name)
        case {"file": _}:
            return False
        case _:
            return one.value is None


@contextmanager
def _beside(file: Path, text: str) -> Iterator[Path]:
    """*text* as a file in the folder of *file*, so that relative paths mean the same; gone afterwards."""
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}.", suffix=".import.yaml")
    except OSError as error:
        raise UsageError(f"cannot write to `{file.parent}`: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _unchanged(file: Path, before: str) -> None:
    """Raise `UsageError` when somebody changed *file* meanwhile."""
    if _text(file) != before:
        raise UsageError(f"`{file.name}` was changed by somebody else just now", hint="import again")
