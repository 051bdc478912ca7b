"""
`extends`: a server made from another one, of the same file or of another, as in Compose.

Each file is followed by itself, before files are merged. What cannot be followed keeps its `extends`, so that nothing
else complains about what is missing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcpcompose.config.merge import clean, merge
from mcpcompose.config.tree import RESET, Entry, Map, Node, Scalar, Seq
from mcpcompose.config.wording import closest
from mcpcompose.errors import Position, Problem
from mcpcompose.spec.server import SOURCES
from mcpcompose.spec.template import TemplateError, expand_variables

NOT_INHERITED: Final = frozenset({"extends", "depends_on", "prefix", "title"})
"""What is about the other server itself: what it waits for, and what it is called."""
_MAX_CHAIN: Final = 32
_MAX_NODES: Final = 100_000
"""Values that all servers of a project may inherit together."""
_SOURCES: Final = (*SOURCES, "from")

Open = Callable[[str, Path, Node], "Opened | None"]
"""Find the file that is written like this in that file; None after a problem at the node."""
_Step = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """Another file: its path and what is in it; no *tree* when it cannot be read, which was said already."""

    file: Path
    tree: Map | None


@dataclass(frozen=True, slots=True)
class Ground:
    """One server that another was made from, as it is written."""

    server: str
    file: Path
    node: Map


@dataclass(frozen=True, slots=True)
class _Followed:
    node: Node
    grounds: tuple[Ground, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Reference:
    server: str
    file: str | None
    at: Node


class Extensions:
    """Follows `extends`; *grounds* says what each server was made from, *problems* is added to."""

    def __init__(self, open_file: Open, problems: list[Problem]) -> None:
        self.grounds: dict[str, tuple[Ground, ...]] = {}
        self._open = open_file
        self._problems = problems
        self._followed: dict[_Step, _Followed] = {}
        self._budget = _MAX_NODES

    def follow(self, servers: Map, file: Path, variables: Mapping[str, str]) -> Map:
        """*servers* of *file* with everything that they inherit."""
        entries: dict[str, Entry] = {}
        for name, entry in servers.entries.items():
            if isinstance(entry.node, Map) and "extends" in entry.node.entries:
                followed = self._server(name, servers, file, variables, ())
                if followed.grounds:
                    self.grounds[name] = followed.grounds
                entries[name] = Entry(entry.key, followed.node)
            else:
                entries[name] = entry
        return servers.with_entries(entries)

    def _server(
        self, name: str, servers: Map, file: Path, variables: Mapping[str, str], chain: tuple[_Step, ...]
    ) -> _Followed:
        step = (file, name)
        if step not in self._followed:
            self._followed[step] = self._follow(name, servers, file, variables, (*chain, step))
        return self._followed[step]

    def _follow(
        self, name: str, servers: Map, file: Path, variables: Mapping[str, str], chain: tuple[_Step, ...]
    ) -> _Followed:
        node = servers.entries[name].node
        said = node.get("extends") if isinstance(node, Map) else None
        if not isinstance(node, Map) or said is None or said.tag == RESET:
            return _Followed(node)
        reference = _reference(said, variables)
        base = self._base(reference, servers, file, variables, chain) if reference is not None else None
        if base is None or reference is None:
            return _Followed(node, is_whole=False)
        ground, followed = base
        if not isinstance(followed.node, Map) or not followed.is_whole:
            return _Followed(node, is_whole=False)
        self._budget -= _size(followed.node)
        if self._budget < 0:
            message = f"servers inherit more than {_MAX_NODES} values together"
            self._problems.append(Problem(message, reference.at.position))
            return _Followed(node, is_whole=False)
        return _Followed(_extended(followed.node, node, name), (ground, *followed.grounds))

    def _base(
        self,
        reference: _Reference,
        servers: Map,
        file: Path,
        variables: Mapping[str, str],
        chain: tuple[_Step, ...],
    ) -> tuple[Ground, _Followed] | None:
        """The server that *reference* names, with everything that it inherits itself."""
        opened = Opened(file, Map({"servers": Entry(servers.position, servers)}, servers.position))
        if reference.file is not None:
            other = self._open(reference.file, file, reference.at)
            if other is None or other.tree is None:
                return None
            opened = opened if other.file == file else other
        declared = opened.tree.get("servers") if opened.tree is not None else None
        declared = declared if isinstance(declared, Map) else Map({}, servers.position)
        found = declared.get(reference.server)
        step = (opened.file, reference.server)
        if found is None:
            self._problems.append(_missing(reference, opened, declared))
        elif step in chain:
            names = " → ".join(f"`{one}`" for _, one in (*chain[chain.index(step) :], step))
            self._problems.append(Problem(f"servers extend each other: {names}", reference.at.position))
        elif len(chain) > _MAX_CHAIN:
            message = f"servers extend each other over more than {_MAX_CHAIN} steps"
            self._problems.append(Problem(message, reference.at.position))
        elif not isinstance(found, Map):
            message = f"server `{reference.server}` has nothing to extend: it is not a mapping"
            self._problems.append(Problem(message, reference.at.position))
        else:
            followed = self._server(reference.server, declared, opened.file, variables, chain)
            return Ground(reference.server, opened.file, found), followed
        return None


def _reference(said: Node, variables: Mapping[str, str]) -> _Reference | None:
    """What `extends` names; None where the models or the interpolation complain."""
    words: dict[str, str] = {}
    match said:
        case Scalar(value=str() as text):
            written = {"server": text}
        case Map(entries):
            texts = {key: one.node for key, one in entries.items() if not key.startswith("x-")}
            written = {key: one.value for key, one in texts.items() if isinstance(one, Scalar) and one.value}  # type: ignore[misc]
        case _:
            return None
    for key, text in written.items():
        if key not in {"server", "service", "file"} or not isinstance(text, str):
            return None
        try:
            words[key] = expand_variables(text, variables) if "$" in text else text
        except TemplateError:
            return None
    name = words.get("server") or words.get("service")
    if not name or ("server" in words and "service" in words) or "\0" in words.get("file", ""):
        return None
    return _Reference(name, words.get("file"), said)


def _missing(reference: _Reference, opened: Opened, declared: Map) -> Problem:
    where = f" in `{reference.file}`" if reference.file is not None else ""
    close = closest(reference.server, declared.entries)
    hint = f"did you mean `{close}`?" if close else None
    if hint is None and where == "":
        hint = "a server of another file is named with `extends: {server: NAME, file: PATH}`"
    elif hint is None and opened.tree is not None and opened.tree.get("include") is not None:
        hint = "name the file that declares it; what that file includes is not looked at"
    return Problem(f"there is no server `{reference.server}`{where} to extend", reference.at.position, hint)


def _extended(base: Map, own: Map, name: str) -> Map:
    """*own* on top of *base*; a source of its own takes the place of the other's."""
    has_source = any(_is_said(own.get(key)) for key in _SOURCES)
    left_out = NOT_INHERITED | (frozenset({*_SOURCES, "config"}) - own.entries.keys() if has_source else frozenset())
    ground = clean(base.with_entries({key: one for key, one in base.entries.items() if key not in left_out}))
    over = own.with_entries({key: one for key, one in own.entries.items() if key != "extends"})
    merged = merge(ground, over, ("servers", name)) if ground is not None else over
    return Map(merged.entries, own.position, own.tag) if isinstance(merged, Map) else over


def _is_said(node: Node | None) -> bool:
    return node is not None and node.tag != RESET and not (isinstance(node, Scalar) and node.value is None)


def _size(node: Node) -> int:
    match node:
        case Map(entries):
            return 1 + sum(1 + _size(entry.node) for entry in entries.values())
        case Seq(items):
            return 1 + sum(map(_size, items))
        case _:
            return 1


def positions(node: Node) -> Iterator[Position]:
    """Where everything of *node* stands."""
    yield node.position
    match node:
        case Map(entries):
            for entry in entries.values():
                yield entry.key
                yield from positions(entry.node)
        case Seq(items):
            for item in items:
                yield from positions(item)
        case _:
            pass
