"""
Which project a command is about: its directory, its name, its owner and its folders.

Works without loading the file, so that `ps`, `logs` and `down` find a running project whose file is broken, and
fast enough for every command: only the `name:` line of the file is looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.actions.options import Options
from mcpcompose.errors import UsageError
from mcpcompose.paths import ProjectPaths, machine_id, project_paths
from mcpcompose.spec.identity import Owner, owner_id

if TYPE_CHECKING:
    from mcpcompose.actions.record import Record
    from mcpcompose.config.load import Request

FILE_NAMES: Final = ("mcp-compose.yaml", "mcp-compose.yml")
_NAME_LINE: Final = re.compile(
    r"""^(?:name|"name"|'name')[ \t]*:[ \t]+"""
    r"""(?:"([^"\\\n]*)"|'([^'\n]*)'|([^"'&*!|>%@`{\[\n#][^\n]*?))[ \t]*(?:\#.*)?$""",
    re.MULTILINE,
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ENGINES: Final = ("docker", "process")


@dataclass(frozen=True, slots=True)
class Place:
    """One project as a command line names it. *owner* and *paths* follow from *directory* and *name*."""

    files: tuple[Path, ...]
    directory: Path
    name: str
    owner: Owner
    paths: ProjectPaths
    options: Options

    def request(self) -> Request:
        """What the loader needs to load it."""
        return load_request(self.wire())

    def wire(self) -> dict[str, Any]:
        """The same as JSON, for the running gateway; it holds the environment and only travels over the 0600 socket."""
        options = self.options
        return {
            "files": [str(file) for file in self.files],
            "project_name": self.name,
            "env_files": [str(absolute(options.directory, file)) for file in options.env_files],
            "engine": options.engine,
            "profile": options.profile,
            "directory": str(self.directory),
            "environ": dict(options.environ),
            "home": str(options.home),
        }


def locate(options: Options) -> Place:
    """
    The project that *options* name. Raises `UsageError` when there is no file, or no such one.

    One whose file was deleted is still found while something of it is left, to be looked at and taken down.
    """
    check_engine(options.engine)
    if options.files:
        files = tuple(absolute(options.directory, file) for file in options.files)
        for file in files:
            if not file.exists() and not file.parent.is_dir():
                raise UsageError(f"there is no file `{file}`")
    else:
        try:
            files = (find_file(options.directory),)
        except UsageError:
            if (found := _without_file(options)) is None:
                raise
            return found
    directory = Path(os.path.realpath(files[0].parent))
    name = options.project_name or declared_name(files, options.environ)
    if name is None:
        name = running_name(files, directory, options.environ) or default_name(directory)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no project name", hint="small letters, digits, `-` and `_`, starting with a letter or digit"
        )
    return place(files, directory, name, options)


def place(files: tuple[Path, ...], directory: Path, name: str, options: Options) -> Place:
    """The place of a project whose directory and name are known."""
    owner = Owner(name, owner_id(machine_id(), os.getuid(), directory))
    return Place(files, directory, name, owner, project_paths(folder_name(owner), options.environ), options)


def _without_file(options: Options) -> Place | None:
    """
    What is left of the project of this name, or else of this folder; None when nothing is.

    Raises `UsageError` when it could be one of several.
    """
    from mcpcompose.actions.lock import holder
    from mcpcompose.actions.record import records

    here = Path(os.path.realpath(options.directory))
    found = [
        made
        for folder, record in records(options.environ)
        if record.name == (options.project_name or record.name)
        and (options.project_name is not None or Path(record.directory) in (here, *here.parents))
        and (record.engines or holder(project_paths(folder, options.environ)) is not None)
        and _NAME.fullmatch(record.name)
        and (made := _of_record(record, options)).paths == project_paths(folder, options.environ)
    ]
    nearest = [one for one in found if one.directory == here] or found
    if len(nearest) > 1:
        several = ", ".join(f"`{one.name}` in `{one.directory}`" for one in nearest)
        raise UsageError(
            f"there is no `{FILE_NAMES[0]}` here, and several projects are left: {several}",
            hint="name one with `--project-name`, in its folder",
        )
    return nearest[0] if nearest else None


def _of_record(record: Record, options: Options) -> Place:
    directory = Path(record.directory)
    files = tuple(map(Path, record.files)) or (directory / FILE_NAMES[0],)
    return place(files, directory, record.name, options)


def folder_name(owner: Owner) -> str:
    """The name of the project's own folders; short, for unix sockets."""
    return hashlib.sha256(f"{owner.id}\0{owner.project}".encode()).hexdigest()[:16]


def find_file(directory: Path) -> Path:
    """The compose file here or in the nearest folder above. Raises `UsageError`."""
    for folder in (directory, *directory.parents):
        for name in FILE_NAMES:
            if (file := folder / name).is_file():
                return file
    raise UsageError(
        "there is no `mcp-compose.yaml` here or in a folder above",
        hint="make one with `mcp-compose init`, or name one with `mcp-compose -f FILE …`",
    )


def declared_name(files: tuple[Path, ...], environ: Mapping[str, str]) -> str | None:
    """The `name:` of the last file that has one; None where it is missing, malformed or not on one line."""
    for file in reversed(files):
        try:
            text = file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            continue
        match = _NAME_LINE.search(text)
        written = next(group for group in match.groups() if group is not None) if match else _composed_name(file, text)
        if written is not None:
            name = _expanded(written, environ)
            return name if name and _NAME.fullmatch(name) else None
    return None


def _composed_name(file: Path, text: str) -> str | None:
    """The name in a file that is written as JSON is."""
    if not text.lstrip().startswith("{"):
        return None
    from mcpcompose.config.document import parse
    from mcpcompose.config.tree import Map, Scalar

    tree, _ = parse(file, text.encode("utf-8", "replace"))
    name = tree.get("name") if isinstance(tree, Map) else None
    return name.text if isinstance(name, Scalar) else None


def running_name(files: tuple[Path, ...], directory: Path, environ: Mapping[str, str]) -> str | None:
    """
    The name under which these files run, if one gateway serves them.

    So that a running project is found again when its file lost its name, by an accident or half a save.
    """
    from mcpcompose.actions.lock import holder
    from mcpcompose.actions.record import records

    found = [
        record.name
        for folder, record in records(environ)
        if record.directory == str(directory)
        and str(files[0]) in record.files
        and holder(project_paths(folder, environ)) is not None
    ]
    return found[0] if len(found) == 1 else None


def default_name(directory: Path) -> str:
    """The directory's name as a project name."""
    text = re.sub(r"[^a-z0-9_-]", "", directory.name.lower()).lstrip("-_")[:63]
    return text or "default"


def absolute(directory: Path, file: str) -> Path:
    """*file* as seen from *directory*."""
    return Path(os.path.abspath(directory / Path(file).expanduser()))  # noqa: PTH100  symlinks stay what they are


def check_engine(engine: str | None) -> None:
    """Raise `UsageError` for an engine that is not known."""
    if engine is not None and engine not in _ENGINES:
        raise UsageError(f"there is no engine `{engine}`", hint="`docker` and `process` are known")


def load_request(wire: Mapping[str, Any]) -> Request:
    """The loader's request from the JSON that `Place.wire` made."""
    from mcpcompose.config.load import Request

    return Request(
        files=tuple(Path(file) for file in wire["files"]),
        project_name=wire["project_name"],
        env_files=tuple(Path(file) for file in wire["env_files"]),
        engine=wire["engine"],
        profile=wire["profile"],
        directory=Path(wire["directory"]),
        environ=dict(wire["environ"]),
        home=Path(wire["home"]),
        lock=wire.get("lock"),
        locked=bool(wire.get("locked")),
        fetch=True,
    )


def _expanded(text: str, environ: Mapping[str, str]) -> str | None:
    if "$" not in text:
        return text
    from mcpcompose.spec.template import TemplateError, expand_variables

    try:
        return expand_variables(text, environ)
    except TemplateError:
        return None
