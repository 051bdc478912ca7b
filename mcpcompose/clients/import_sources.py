"""
Where servers can be imported from, and what stands there: the files of client applications, and any `mcp.json`.

Only reads. What is in a file is somebody's text: it is looked at as data, and its size is bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mcpcompose.clients.edit import Unreadable, read
from mcpcompose.clients.edit_types import Format
from mcpcompose.clients.import_entry import Entry, read_entry
from mcpcompose.clients.places import Machine, candidates, old_files
from mcpcompose.clients.registry import Application, Scope, ScopeName
from mcpcompose.errors import UsageError

MAX_BYTES: Final = 16 << 20
_STRONGEST_FIRST: Final[tuple[ScopeName, ...]] = ("local", "project", "user")
_FORMATS: Final[Mapping[str, Format]] = {
    ".json": "jsonc", ".jsonc": "jsonc", ".json5": "jsonc", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip
_CONTAINERS: Final[tuple[tuple[str, ...], ...]] = (
    ("mcpServers",), ("mcp", "servers"), ("servers",), ("context_servers",), ("mcp_servers",), ("amp.mcpServers",),
    ("mcp",), ("extensions",), ("mcp", "mcpServers"), ("mcp.servers",),
)  # fmt: skip
"""Where clients keep their servers, for a file of which nobody said whose it is."""


@dataclass(frozen=True, slots=True)
class Collected:
    """
    The servers of one source, strongest first where a name stands in several files; *title* says where from.

    *left_out* says of a name why it is none to be imported; *passwords* are the inputs that the client asks for
    without an echo; *dollar*: it knows `$NAME`.
    """

    title: str
    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    files: tuple[Path, ...] = ()
    passwords: frozenset[str] = frozenset()
    dollar: bool = False
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def from_client(application: Application, machine: Machine, only: ScopeName | None = None) -> Collected:
    """The servers in the files of *application*. Raises `UsageError` when there are none, or one cannot be read."""
    found: dict[str, Entry] = {}
    left_out: list[tuple[str, str]] = []
    files: list[Path] = []
    passwords: set[str] = set()
    looked = [file for _, file in _files(application, machine, only)]
    for scope, file in _files(application, machine, only):
        if not file.is_file():
            continue
        root = _read(application.format, file)
        files.append(file)
        passwords |= _passwords(root)
        for name, raw in _servers(application, scope, root, machine):
            _add(found, left_out, name, raw)
        off = _switched_off(root, machine)
        found = {name: _disabled(one) if name in off else one for name, one in found.items()}
    if not files:
        if not looked:
            raise UsageError(
                f"{application.name} keeps its servers in no file of this machine",
                hint="save them as a file like `mcp.json`, and import that",
            )
        where = ", ".join(f"`{file}`" for file in dict.fromkeys(looked))
        raise UsageError(f"{application.name} has no configuration here", hint=f"looked at {where}")
    return Collected(
        title=application.name,
        entries=tuple(found.values()),
        left_out=tuple(left_out),
        files=tuple(files),
        passwords=frozenset(passwords),
        dollar="$VAR" in set(application.reference.values()) or application.id in _KNOWS_DOLLAR,
    )


_KNOWS_DOLLAR: Final = frozenset(
    {"gemini-cli", "qwen-code", "github-copilot-cli", "github-copilot-coding-agent", "qoder-cli", "tabnine"}
)


def from_value(root: Mapping[str, Any], file: Path) -> Collected:
    """The servers in *root*, what *file* holds, whoever's it is. Raises `UsageError` when there are none."""
    found: dict[str, Entry] = {}
    left_out: list[tuple[str, str]] = []
    for name, raw in _anybodys(root, file):
        _add(found, left_out, name, raw)
    if not found and not left_out:
        raise UsageError(f"`{file}` holds no MCP servers", hint="they are looked for under `mcpServers` or `servers`")
    return Collected(
        title=f"`{file.name}`",
        entries=tuple(found.values()),
        left_out=tuple(left_out),
        files=(file,),
        passwords=frozenset(_passwords(root)),
    )


def read_file(file: Path) -> Any:
    """The plain value of *file* by its suffix. Raises `UsageError`."""
    fmt = _FORMATS.get(file.suffix.lower())
    return _read(fmt, file) if fmt else _read_any(file)


def read_bytes(file: Path) -> bytes:
    """The bytes of a regular file, bounded. Raises `UsageError`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"`{file}` is not a regular file")
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"`{file}` cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"`{file}` is larger than {MAX_BYTES >> 20} MiB")
    return content


def _read(fmt: Format, file: Path) -> dict[str, Any]:
    text = _text(file)
    try:
        return read(fmt, text)
    except Unreadable as error:
        raise UsageError(f"`{file}` cannot be read: {error}") from error
    except RecursionError as error:
        raise UsageError(f"`{file}` cannot be read: it is nested too deeply") from error


def _read_any(file: Path) -> dict[str, Any]:
    text = _text(file)
    formats: tuple[Format, ...] = ("jsonc", "toml", "yaml")
    for fmt in formats:
        try:
            return read(fmt, text)
        except (Unreadable, RecursionError):
            continue
    raise UsageError(f"`{file}` is neither JSON nor TOML nor YAML with a mapping in it")


def _text(file: Path) -> str:
    try:
        return read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"`{file}` is not UTF-8") from error


def _files(application: Application, machine: Machine, only: ScopeName | None) -> Iterator[tuple[Scope, Path]]:
    for name in _STRONGEST_FIRST:
        scope = application.scopes.get(name)
        if scope is None or only not in {None, name}:
            continue
        current = candidates(scope, machine)
        yield from ((scope, file) for file in current)
        if not any(file.is_file() for file in current):
            yield from ((scope, file) for file in old_files(scope, machine))


def _servers(
    application: Application, scope: Scope, root: Mapping[str, Any], machine: Machine
) -> Iterator[tuple[str, object]]:
    ways = [scope.key]
    if (variant := application.variant) is not None and isinstance(_at(root, variant.when), Mapping):
        ways = [variant.key, *ways]
    for way in ways:
        for holder in _holders(root, way, machine):
            if isinstance(holder, Mapping):
                yield from ((str(name), raw) for name, raw in holder.items())
            elif isinstance(holder, list):
                yield from _listed(holder, application.list_of or "name")


def _listed(items: Iterable[Any], field_name: str) -> Iterator[tuple[str, object]]:
    for number, raw in enumerate(items, start=1):
        if isinstance(raw, Mapping):
            yield str(raw.get(field_name) or raw.get("name") or raw.get("id") or f"server-{number}"), raw


def _holders(root: Any, way: tuple[str, ...], machine: Machine) -> Iterator[Any]:
    """What is at *way*, where `{project}` is this folder and `{agent}` any name."""
    if not way:
        yield root
        return
    step, rest = way[0], way[1:]
    if not isinstance(root, Mapping):
        return
    if step == "{agent}":
        for one in root.values():
            yield from _holders(one, rest, machine)
        return
    if step.startswith("{") and step.endswith("}"):
        step = str(machine.path(step) or "")
    yield from _holders(root.get(step), rest, machine)


def _at(root: Any, way: tuple[str, ...]) -> Any:
    for step in way:
        root = root.get(step) if isinstance(root, Mapping) else None
    return root


def _anybodys(root: Mapping[str, Any], file: Path) -> Iterator[tuple[str, object]]:
    for way in _CONTAINERS:
        holder = _at(root, way)
        if isinstance(holder, Mapping) and any(isinstance(raw, Mapping) for raw in holder.values()):
            found = [(str(name), raw) for name, raw in holder.items() if isinstance(raw, Mapping)]
            if any(not isinstance(read_entry(name, raw), str) for name, raw in found):
                yield from found
                return
        elif isinstance(holder, list):
            yield from _listed(holder, "name")
            return
    if not isinstance(read_entry(file.stem, root), str):
        yield str(root.get("name") or file.stem), root
        return
    for name, raw in root.items():
        if isinstance(raw, Mapping) and not isinstance(read_entry(str(name), raw), str):
            yield str(name), raw


def _add(found: dict[str, Entry], left_out: list[tuple[str, str]], name: str, raw: object) -> None:
    entry = read_entry(name, raw)
    if isinstance(entry, str):
        left_out.append((name, entry))
    elif name not in found:
        found[name] = entry
    elif entry != found[name]:
        left_out.append((name, "another file of the client, which counts more, has a server of this name"))


def _passwords(root: Mapping[str, Any]) -> set[str]:
    """The inputs that VS Code asks for as passwords."""
    inputs = root.get("inputs")
    nested = root.get("mcp")
    if inputs is None and isinstance(nested, Mapping):
        inputs = nested.get("inputs")
    items = inputs if isinstance(inputs, list) else []
    return {str(one.get("id")) for one in items if isinstance(one, Mapping) and one.get("password") is True}


def _switched_off(root: Mapping[str, Any], machine: Machine) -> set[str]:
    """What Claude Code keeps beside its servers, for this folder."""
    here = _at(root, ("projects", str(machine.project or "")))
    lists = [_at(here, (key,)) for key in ("disabledMcpServers", "disabledMcpjsonServers")]
    return {str(name) for one in lists if isinstance(one, list) for name in one}


def _disabled(entry: Entry) -> Entry:
    return replace(entry, is_disabled=True)
