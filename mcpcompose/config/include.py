"""Read the files of a project: each with what it includes, as one tree. Conflicts are problems, loops are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from mcpcompose.config.document import parse, read
from mcpcompose.config.tree import Entry, Map, Node, Scalar, Seq
from mcpcompose.errors import FileProblems, Position, Problem
from mcpcompose.spec.template import TemplateError, expand_variables

_MAX_CHAIN: Final = 32
_NOT_INCLUDED: Final = frozenset({"name", "include"})


def absolute(text: str, directory: Path, home: Path) -> Path:
    """The path *text* as written in a file of *directory*; `~` is *home*."""
    if text == "~" or text.startswith("~/"):
        return Path(os.path.normpath(home / text[2:]))
    return Path(os.path.normpath(directory / text))


class Documents:
    """The files read so far; *files* also holds those that could not be read, *problems* what is wrong."""

    def __init__(self, variables: Mapping[str, str], home: Path) -> None:
        self.files: dict[Path, None] = {}
        self.problems: list[Problem] = []
        self._variables = variables
        self._home = home
        self._parsed: dict[Path, Map | None] = {}

    def tree(self, file: Path) -> Map | None:
        """The content of *file* with everything it includes; None when there is nothing to go on with."""
        return self._tree(file, (), {})

    def _tree(self, file: Path, chain: tuple[Path, ...], done: dict[Path, None]) -> Map | None:
        done[file] = None
        tree = self._parse(file)
        if tree is None:
            return None
        entries = {key: entry for key, entry in tree.entries.items() if key != "include"}
        for included, position in self._included(tree, file):
            if included in (*chain, file):
                names = " → ".join(str(one) for one in (*chain, file, included))
                self.problems.append(Problem(f"the files include each other: {names}", position))
            elif len(chain) > _MAX_CHAIN:
                self.problems.append(Problem(f"includes are nested deeper than {_MAX_CHAIN} files", position))
            elif included not in done:
                part = self._tree(included, (*chain, file), done)
                self._add(entries, part)
        return tree.with_entries(entries)

    def _parse(self, file: Path) -> Map | None:
        if file not in self._parsed:
            self.files[file] = None
            self._parsed[file] = self._read(file)
        return self._parsed[file]

    def _read(self, file: Path) -> Map | None:
        start = Position(file, 1, 1)
        try:
            node, problems = parse(file, read(file))
        except FileProblems as error:
            self.problems.extend(error.problems)
            return None
        self.problems.extend(problems)
        if isinstance(node, Map):
            return node
        if node is None or (isinstance(node, Scalar) and node.value is None):
            if not problems:
                self.problems.append(Problem("the file is empty", start, "`mcp-compose init` writes one to start from"))
        else:
            self.problems.append(Problem("a compose file is a mapping with keys such as `servers`", node.position))
        return None

    def _included(self, tree: Map, file: Path) -> Iterator[tuple[Path, Position]]:
        node = tree.get("include")
        items: tuple[Node, ...] = node.items if isinstance(node, Seq) else ()
        if node is not None and not isinstance(node, Seq) and not (isinstance(node, Scalar) and node.value is None):
            self.problems.append(Problem("`include` must be a list of files", node.position))
        for item in items:
            if not isinstance(item, Scalar) or not isinstance(item.value, str) or not item.value:
                self.problems.append(Problem("an item of `include` must be the path of a file", item.position))
                continue
            try:
                text = expand_variables(item.value, self._variables)
            except TemplateError as error:
                self.problems.append(Problem(str(error), item.position))
                continue
            if "\0" in text or not text:
                self.problems.append(Problem("an item of `include` must be the path of a file", item.position))
                continue
            path = absolute(text, file.parent, self._home)
            if self._is_readable(path, item):
                yield path, item.position

    def _is_readable(self, path: Path, item: Scalar) -> bool:
        """A file that is not there is reported where it is included, not at its own first line."""
        if path in self._parsed:
            return True
        if os.path.isfile(path):  # noqa: PTH113  `Path.is_file` raises on a name that is too long
            return True
        self.files[path] = None
        self.problems.append(Problem(f"the included file `{item.text}` does not exist", item.position))
        return False

    def _add(self, entries: dict[str, Entry], part: Map | None) -> None:
        """Add what an included file declares; what is declared twice is a conflict."""
        for key, entry in (part.entries if part else {}).items():
            if key in _NOT_INCLUDED or key.startswith("x-"):
                continue
            present = entries.get(key)
            entries[key] = self._joined(key, present, entry) if present else entry

    def _joined(self, name: str, ours: Entry, theirs: Entry) -> Entry:
        match ours.node, theirs.node:
            case Map() as mine, Map() as other:
                joined = dict(mine.entries)
                for key, entry in other.entries.items():
                    present = joined.get(key)
                    # Below `gateway` and `runners` single keys may come from several files; a server is one thing.
                    if present and name.partition(".")[0] in ("gateway", "runners"):
                        joined[key] = self._joined(f"{name}.{key}", present, entry)
                    elif present:
                        self._conflict(f"{name}.{key}", present, entry)
                    else:
                        joined[key] = entry
                return Entry(ours.key, mine.with_entries(joined))
            case Scalar(text=mine), Scalar(text=other) if mine == other:
                return ours
            case _:
                self._conflict(name, ours, theirs)
                return ours

    def _conflict(self, name: str, ours: Entry, theirs: Entry) -> None:
        message = f"`{name}` is declared here and in an including file (`{ours.key.file.name}`, line {ours.key.line})"
        hint = "remove one of the two, or merge the files with `-f`"
        self.problems.append(Problem(message, theirs.key, hint))
