"""Read the files of a project: each with what it includes, as one tree. Conflicts are problems, loops are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcpcompose.config.document import parse, read
from mcpcompose.config.extend import Extensions, Opened
from mcpcompose.config.imposed import taken_out
from mcpcompose.config.including import Including, includings
from mcpcompose.config.merge import clean, merge
from mcpcompose.config.policy import Stated
from mcpcompose.config.tree import Entry, Map, Node, Scalar, scalars
from mcpcompose.config.variables import Variables, read_dotenv
from mcpcompose.errors import FileProblems, Position, Problem
from mcpcompose.spec.template import TemplateError, expand_variables, variable_names

_MAX_CHAIN: Final = 32
_NOT_INCLUDED: Final = frozenset({"name", "include"})
_IN_PARTS: Final = frozenset({"audit", "gateway", "runners", "session"})


def absolute(text: str, directory: Path, home: Path) -> Path:
    """The path *text* as written in a file of *directory*; `~` is *home*."""
    if text == "~" or text.startswith("~/"):
        return Path(os.path.normpath(home / text[2:]))
    return Path(os.path.normpath(directory / text))


class Documents:
    """
    The files read so far; *files* also holds those that could not be read, *problems* what is wrong.

    *variables* are those of the project and, below them, of what it includes. *included* says where a file is
    included, *bases* which folder its relative paths are relative to where that is not its own, *brought* which
    environment file of an include gave a variable. *policies* are what the files state: merging does not touch them.
    *interceptors* are those that includes bring, outermost first: they are not part of any tree.
    """

    def __init__(
        self, variables: Mapping[str, str], home: Path, made_of: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        self.files: dict[Path, None] = {}
        self.problems: list[Problem] = []
        self.variables = variables
        self.included: dict[Path, Position] = {}
        self.bases: dict[Path, Path] = {}
        self.env_files: dict[Path, None] = {}
        self.brought: dict[str, Path] = {}
        self.policies: list[Stated] = []
        self.interceptors: tuple[Node, ...] = ()
        self.extensions = Extensions(self._open, self.problems)
        self._home = home
        self._made_of = made_of if made_of is not None else {}
        self._parsed: dict[Path, Map | None] = {}

    def tree(self, file: Path) -> Map | None:
        """The content of *file* with everything it includes; None when there is nothing to go on with."""
        return self._tree(file, (), {})

    def base_of(self, file: Path) -> Path:
        """The folder that relative paths in *file* are relative to."""
        return self.bases.get(file, file.parent)

    def _tree(self, file: Path, chain: tuple[Path, ...], done: dict[Path, None]) -> Map | None:
        done[file] = None
        tree = self._parse(file)
        if tree is None:
            return None
        entries = {key: entry for key, entry in tree.entries.items() if key not in {"include", "policy"}}
        for including in includings(tree, self._expanded, self.problems):
            self._add(entries, self._included(including, file, (*chain, file), done))
        servers = entries.get("servers")
        if servers is not None and isinstance(servers.node, Map):
            followed = self.extensions.follow(servers.node, file, self.variables)
            entries["servers"] = Entry(servers.key, followed)
        if (policy := tree.entries.get("policy")) is not None:
            catalogs = entries.get("catalogs")
            self.policies.append(Stated(file, policy, catalogs.node if catalogs is not None else None))
        return tree.with_entries(entries)

    def _included(
        self, including: Including, file: Path, chain: tuple[Path, ...], done: dict[Path, None]
    ) -> Map | None:
        """What one item of `include` brings: its files, later ones over the first."""
        folder = self.base_of(file)
        found: list[tuple[Path, Node]] = []
        for text, node in including.paths:
            path = absolute(text, folder, self._home)
            if self._is_readable(path, text, node, "included"):
                found.append((path, node))
        if not found:
            return None
        base = found[0][0].parent
        if including.project_directory is not None:
            base = absolute(including.project_directory, folder, self._home)
        taken = self._bring_variables(including, folder, base, file)
        merged: Node | None = None
        for path, node in found:
            part = self._part(path, node, base, chain, done)
            if part is not None:
                self._refuse_other_values(part, taken)
                merged = part if merged is None else merge(merged, part)
        cleaned = clean(merged) if merged is not None and len(found) > 1 else merged
        return cleaned if isinstance(cleaned, Map) else None

    def _part(self, file: Path, node: Node, base: Path, chain: tuple[Path, ...], done: dict[Path, None]) -> Map | None:
        if file in chain:
            names = " → ".join(str(one) for one in (*chain, file))
            self.problems.append(Problem(f"the files include each other: {names}", node.position))
        elif len(chain) > _MAX_CHAIN:
            self.problems.append(Problem(f"includes are nested deeper than {_MAX_CHAIN} files", node.position))
        elif file in done:
            if self.base_of(file) != base:
                first = self.base_of(file)
                message = f"`{file.name}` is included twice, once for the folder `{first}` and once for `{base}`"
                self.problems.append(Problem(message, node.position))
        else:
            self.included.setdefault(file, node.position)
            if base != file.parent:
                self.bases[file] = base
            tree = self._tree(file, chain, done)
            if tree is not None:
                tree, interceptors = taken_out(tree, self.problems)
                self.interceptors += interceptors
            return tree
        return None

    # --- variables ----------------------------------------------------------------------------------------------------

    def _bring_variables(self, including: Including, folder: Path, base: Path, file: Path) -> dict[str, Path]:
        """
        Add what the environment files of an include say, below all that is known; returns what is known otherwise.

        That is: the variables that an earlier include gave another value, by the file that did.
        """
        chosen = [(absolute(text, folder, self._home), node) for text, node in including.env_files]
        if not chosen and base != self.base_of(file) and os.path.isfile(base / ".env"):  # noqa: PTH113  `Path.is_file` raises on a name that is too long
            chosen = [(base / ".env", including.at)]
        values: dict[str, str] = {}
        for path, node in chosen:
            self.files[path] = None
            self.env_files[path] = None
            if self._is_readable(path, str(path), node, "environment"):
                try:
                    values.update(read_dotenv(path, Variables(self.variables, values), self._made_of))
                except FileProblems as error:
                    self.problems.extend(error.problems)
        taken = {
            name: self.brought[name]
            for name, value in values.items()
            if name in self.brought and self.variables[name] != value
        }
        self.brought.update({name: chosen[-1][0] for name in values if name not in self.variables})
        if values:
            self.variables = Variables(self.variables, values)
        return taken

    def _refuse_other_values(self, tree: Map, taken: Mapping[str, Path]) -> None:
        """Of two includes that give one variable two values, the second would silently get the first's."""
        for _, node in scalars(tree) if taken else ():
            try:
                names = variable_names(node.text) if "$" in node.text else ()
            except TemplateError:
                continue
            for name in sorted(set(names) & taken.keys()):
                message = f"`${{{name}}}` has another value here than what `{taken[name]}` gave it for another include"
                hint = "rename one of the two, or set it in this project's own `.env`"
                self.problems.append(Problem(message, node.position, hint))

    def _expanded(self, text: str) -> str:
        return expand_variables(text, self.variables)

    # --- files --------------------------------------------------------------------------------------------------------

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

    def _open(self, text: str, file: Path, node: Node) -> Opened | None:
        """The file that an `extends` of *file* names."""
        path = absolute(text, self.base_of(file), self._home)
        return Opened(path, self._parse(path)) if self._is_readable(path, text, node, "extended") else None

    def _is_readable(self, path: Path, text: str, node: Node, what: str) -> bool:
        """A file that is not there is reported where it is named, not at its own first line."""
        if path in self._parsed:
            return True
        if os.path.isfile(path):  # noqa: PTH113  `Path.is_file` raises on a name that is too long
            return True
        self.files[path] = None
        self.problems.append(Problem(f"the {what} file `{text}` does not exist", node.position))
        return False

    # --- one of many --------------------------------------------------------------------------------------------------

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
                    # Below these single keys may come from several files; a server is one thing.
                    if present and name.partition(".")[0] in _IN_PARTS:
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
