"""
Load a project: documents → merge → interpolate → refuse → bind → complete → check.

Every pass reports all it finds; what cannot be read or bound is left out for the passes after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.config.approved import unapproved_secrets, unapproved_servers, unpinned_images
from mcpcompose.config.bind import bind
from mcpcompose.config.catalog_paths import replaced_paths, uses_catalogs
from mcpcompose.config.check import check
from mcpcompose.config.chosen import engine as chosen_engine
from mcpcompose.config.chosen import known_profile, project_name
from mcpcompose.config.complete import Completion, narrowed, with_default
from mcpcompose.config.dangers import dangerous
from mcpcompose.config.imposed import outermost, refuse_removal
from mcpcompose.config.include import Documents, absolute
from mcpcompose.config.interceptor_texts import check_texts
from mcpcompose.config.interceptors import about_nothing, check_interceptors
from mcpcompose.config.interpolate import Interpolation, is_deferred
from mcpcompose.config.lockfile import lock_of
from mcpcompose.config.machine import Machine
from mcpcompose.config.merge import clean, merge
from mcpcompose.config.origin import History, Origin, origin
from mcpcompose.config.policy import Rules, rules_of
from mcpcompose.config.printed import printable
from mcpcompose.config.programs import program_contents
from mcpcompose.config.refuse import refuse
from mcpcompose.config.tree import Map, Node, Scalar, Seq, pairs, value_position
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.config.variables import Variables, read_dotenv
from mcpcompose.config.wording import in_order
from mcpcompose.errors import FileProblems, Position, Problem, UsageError
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.project import ComposeFile, EngineKind, Project, Provenance
from mcpcompose.spec.server import Server
from mcpcompose.spec.template import references

if TYPE_CHECKING:
    from mcpcompose.catalog.kept import Location
    from mcpcompose.catalog.source import Local

FILE_NAMES: Final = ("mcp-compose.yaml", "mcp-compose.yml")


@dataclass(frozen=True, slots=True)
class Request:
    """What to load. Relative paths are relative to *directory*."""

    files: tuple[Path, ...]
    directory: Path
    environ: Mapping[str, str] = field(repr=False)
    home: Path
    project_name: str | None = None
    env_files: tuple[Path, ...] = ()
    engine: str | None = None
    profile: str | None = None
    lock: str | None = None
    """Takes the place of the lock file's content."""
    locked: bool = False
    """Nothing may differ from the lock."""
    machine: Machine = field(default_factory=Machine)
    """Where the machine's policy is."""
    fetch: bool = False
    """Fetch catalogs that were never fetched; the others are taken as they were when they were fetched last."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A project that loads, and where everything in it came from. *files*: everything read, for watching."""

    project: Project
    variables: Variables
    tree: Node = field(repr=False)
    files: tuple[Path, ...]
    history: History = field(default_factory=History, repr=False)

    def printable(self, *, defaults: bool = False) -> dict[str, Any]:
        """The resolved file for `config`: references as written, with *defaults* everything left unsaid too."""
        return printable(self.project, self.tree, defaults=defaults)

    def origin(self, key: str) -> Origin:
        """Where the value at the dotted *key* came from. Raises `UsageError` for a key that does not exist."""
        return origin(self.project, self.tree, key, self.history)

    def position(self, path: TreePath) -> Position | None:
        """Where the value at *path* stands in the files."""
        return value_position(self.tree, path)


def find_file(directory: Path) -> Path:
    """The compose file of *directory* or the nearest folder above. Raises `UsageError`."""
    for folder in (directory, *directory.parents):
        for name in FILE_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise UsageError(
        f"no `{FILE_NAMES[0]}` in `{directory}` or above it",
        hint="`mcp-compose init` writes one; `--file` names one elsewhere",
    )


def load(request: Request) -> Loaded:
    """Load a project. Raises `FileProblems` with everything that is wrong, in file order; `UsageError`."""
    files = tuple(absolute_file(request.directory, file) for file in request.files) or (find_file(request.directory),)
    seen: dict[Path, None] = dict.fromkeys(files)
    problems: list[Problem] = []
    made_of: dict[str, tuple[str, ...]] = {}
    variables, brought = _variables(request, files[0].parent, seen, problems, made_of)
    documents = Documents(variables, request.home, made_of)
    tree, replaced = _merged(documents, files)
    seen.update(documents.files)
    problems.extend(documents.problems)
    build = _Build(request, files[0].parent, documents, seen, problems, made_of, replaced)
    loaded = build.loaded(tree, _history(request, documents, files, brought)) if tree else None
    lock = lock_of(files[0].parent, request.lock, seen, problems, strict=request.locked)
    if problems or loaded is None:
        raise FileProblems(in_order(problems, tuple(seen)), files=tuple(seen))
    project = loaded.project.model_copy(update={"lock": lock})
    return replace(loaded, project=project, files=tuple(seen))


def catalogs_of(request: Request) -> Mapping[str, Local | Location]:
    """
    Where the catalogs are that the files declare, and those of the machine's policy, whatever else is wrong.

    Raises `FileProblems` when the files or what they say of catalogs cannot be read; `UsageError`.
    """
    from mcpcompose.config.catalogs import declared  # noqa: PLC0415  only with catalogs

    files = tuple(absolute_file(request.directory, file) for file in request.files) or (find_file(request.directory),)
    seen: dict[Path, None] = dict.fromkeys(files)
    problems: list[Problem] = []
    variables, _ = _variables(request, files[0].parent, seen, problems, {})
    documents = Documents(variables, request.home)
    tree, _ = _merged(documents, files)
    problems.extend(documents.problems)
    found: Mapping[str, Local | Location] = {}
    if tree is not None:
        build = _Build(request, files[0].parent, documents, seen, problems, {})
        found = declared(build.rules().applied(tree, problems), request, documents.base_of, problems)
    if problems:
        raise FileProblems(in_order(problems, tuple(seen)), files=tuple(seen))
    return found


def absolute_file(directory: Path, file: Path) -> Path:
    """*file* without `.` and `..`, symlinks kept."""
    return Path(os.path.normpath(directory / file))


def _variables(
    request: Request,
    project: Path,
    seen: dict[Path, None],
    problems: list[Problem],
    made_of: dict[str, tuple[str, ...]],
) -> tuple[Variables, dict[str, Path]]:
    """All variables, and which file gave those that do not come from the environment."""
    brought: dict[str, Path] = {}
    layers: list[Mapping[str, str]] = []
    chosen = [absolute_file(request.directory, file) for file in request.env_files]
    for file in chosen or [project / ".env"]:
        seen[file] = None
        if not os.path.isfile(file):  # noqa: PTH113  `Path.is_file` raises on a name that is too long
            if chosen:
                raise UsageError(f"the environment file `{file}` does not exist")
            continue
        try:
            layers.insert(0, read_dotenv(file, Variables(request.environ, *layers), made_of))
            brought.update(dict.fromkeys(layers[0], file))
        except FileProblems as error:
            problems.extend(error.problems)
    return Variables(request.environ, *layers), brought


def _history(request: Request, documents: Documents, files: tuple[Path, ...], brought: Mapping[str, Path]) -> History:
    chosen: dict[str, str] = {}
    for key, said, option in (
        ("engine", request.engine or request.environ.get("MCP_COMPOSE_ENGINE"), "MCP_COMPOSE_ENGINE"),
        ("name", request.project_name, "MCP_COMPOSE_PROJECT_NAME"),
    ):
        if said:
            is_variable = request.environ.get(option) == said
            flag = "--engine" if key == "engine" else "--project-name"
            chosen[key] = f"environment variable {option}" if is_variable else f"option {flag}"
    return History(
        files=files,
        included=documents.included,
        grounds=documents.extensions.grounds,
        brought={**documents.brought, **brought},
        environ=request.environ,
        chosen=chosen,
    )


def _merged(documents: Documents, files: Iterable[Path]) -> tuple[Map | None, frozenset[TreePath]]:
    """
    All files in one tree, later ones on top; None when one could not be read at all.

    With it, where servers from a catalog say `!reset` or `!override`.
    """
    trees = [documents.tree(file) for file in files]
    merged: Node | None = None
    for tree in trees:
        if tree is None:
            return None, frozenset()
        merged = tree if merged is None else merge(merged, tree)
    refuse_removal(filter(None, trees), bool(documents.interceptors), documents.problems)
    if not isinstance(merged, Map):
        return None, frozenset()
    cleaned = clean(merged)
    whole = cleaned if isinstance(cleaned, Map) else merged.with_entries({})
    return outermost(whole, documents.interceptors), replaced_paths(merged)


@dataclass(frozen=True, slots=True)
class _Build:
    """The passes after the documents; *seen*, *problems* and *made_of* are added to."""

    request: Request
    directory: Path
    documents: Documents
    seen: dict[Path, None]
    problems: list[Problem]
    made_of: dict[str, tuple[str, ...]]
    replaced: frozenset[TreePath] = frozenset()
    real: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> Mapping[str, str]:
        """Those of the project and of what it includes."""
        return self.documents.variables

    def loaded(self, merged: Map, history: History) -> Loaded | None:
        """The whole of it; None when there are problems."""
        rules = self.rules()
        interpolation = Interpolation(self.variables)
        written = rules.applied(merged, self.problems)
        tree = interpolation.tree(written)
        self.problems.extend(interpolation.problems)
        self.problems.extend(unapproved_servers(rules.policy, tree, self.replaced))
        tree = self._from_catalogs(tree, written, rules)
        kept, refused = refuse(tree)
        self.problems.extend(refused)
        bound = bind(kept, self.variables, quiet=_source_elsewhere(tree))
        self.problems.extend(problem for problem in bound.problems if problem.position not in interpolation.failed)
        file, values = self._completed(bound.file, kept)
        engine = chosen_engine(self.request.engine, self.request.environ, bound.file.engine)
        self.problems.extend(check(file, tree, engine, self.variables))
        self.problems.extend(check_interceptors(tree, self.variables, self._is_own, self.request.machine.file))
        self.problems.extend(check_texts(file.interceptors, tree))
        self.problems.extend(self._dangers(file, tree, engine))
        self.problems.extend(unpinned_images(rules.policy, file, tree, engine))
        self.problems[:] = map(interpolation.as_written, self.problems)
        if self.problems:
            return None
        project = rules.on(self._project(file, engine, tree))
        return Loaded(project, Variables(values, self.variables), tree, tuple(self.seen), history)

    def _from_catalogs(self, tree: Map, written: Map, rules: Rules) -> Map:
        """*tree* with the servers that come from catalogs."""
        if not uses_catalogs(tree):
            return tree
        from mcpcompose.config.catalogs import resolve  # noqa: PLC0415  only with catalogs

        seen, problems, judge = self.seen, self.problems, unapproved_secrets(rules.policy)
        base_of, digests = self.documents.base_of, self.digests
        return resolve(tree, written, self.request, base_of, self.replaced, seen, problems, judge, digests)

    def rules(self) -> Rules:
        """All policies together, those of the files and the machine's."""
        documents, home = self.documents, self.request.home
        rules = rules_of(
            documents.policies,
            self.request.machine,
            lambda text, file: absolute(text, documents.base_of(file), home),
            self.problems,
        )
        self.seen.update(dict.fromkeys(rules.files))
        return rules

    def _completed(self, file: ComposeFile, tree: Map) -> tuple[ComposeFile, dict[str, str]]:
        completion = Completion(tree, self.variables, self.request.home, self.made_of, self.documents.base_of)
        servers = {name: completion.server(name, server) for name, server in file.servers.items()}
        secrets = {name: completion.secret(name, sources) for name, sources in file.secrets.items()}
        interceptors = tuple(completion.interceptor(index, one) for index, one in enumerate(file.interceptors))
        self.seen.update(completion.files)
        self.made_of.update(completion.made_of)
        self.real.update(completion.real)
        self.problems.extend(completion.problems)
        update = {"servers": servers, "secrets": secrets, "interceptors": interceptors}
        return file.model_copy(update=update), completion.values

    def _is_own(self, file: Path) -> bool:
        """It is a file of the project, not one that others wrote for many."""
        return file not in self.documents.included and file != self.request.machine.file

    def _dangers(self, file: ComposeFile, tree: Map, engine: EngineKind) -> Iterator[Problem]:
        """Nothing that `process` refuses anyway."""
        if engine != "process":
            yield from dangerous(file.servers, tree, home=self.request.home, directory=self.directory, real=self.real)

    def _project(self, file: ComposeFile, engine: EngineKind, tree: Map) -> Project:
        servers: Mapping[str, Server] = file.servers
        profiles = with_default(file)
        if self.request.profile is not None:
            known_profile(self.request.profile, profiles)
            servers, profiles = narrowed(servers, profiles, self.request.profile)
        return Project(
            name=project_name(self.request.project_name, file.name, self.directory),
            directory=self.directory,
            engine=engine,
            servers=servers,
            secrets=file.secrets,
            profiles=profiles,
            clients=file.clients,
            gateway=file.gateway,
            interceptors=file.interceptors,
            session=file.session,
            audit=file.audit,
            runners=file.runners,
            provenance=self._provenance(tree, file.interceptors).model_copy(update={"remarks": self._remarks(tree)}),
        )

    def _remarks(self, tree: Map) -> tuple[str, ...]:
        """What a person should know of the file, though it can be used."""
        found = about_nothing(tree, self.documents.included.__contains__)
        return tuple(f"{one.message}, which a rule of an include is about{_at(one, self.directory)}" for one in found)

    def _provenance(self, tree: Map, interceptors: Iterable[Interceptor]) -> Provenance:
        environ = self.request.environ
        dotenv, inside = Path(os.path.realpath(self.directory / ".env")), os.path.realpath(self.directory)
        is_outside = not dotenv.is_relative_to(inside)
        others = (Path(os.path.realpath(file)) for file in self.documents.env_files)
        programs = program_contents(interceptors, self.directory, self.variables)
        self.seen.update(dict.fromkeys(map(Path, programs)))
        return Provenance(
            written=dict(_written(tree, ())),
            real=self.real,
            catalog_digests=self.digests,
            made_of={name: of for name, of in self.made_of.items() if of and name not in environ},
            dotenv=dotenv if is_outside and not self.request.env_files and dotenv.is_file() else None,
            include_env=tuple(sorted({file for file in others if not file.is_relative_to(inside)})),
            programs=programs,
        )


def _at(problem: Problem, directory: Path) -> str:
    place, hint = problem.position, f"; {problem.hint}" if problem.hint else ""
    if place is None:
        return hint
    file = place.file.relative_to(directory) if place.file.is_relative_to(directory) else place.file
    return f" (`{file}:{place.line}:{place.column}`){hint}"


def _written(node: Node, path: TreePath) -> Iterator[tuple[str, str]]:
    """The texts below `servers` and `runners` whose references are values by now, by dotted place."""
    match node:
        case Map(entries):
            for key, entry in entries.items():
                if path or key in {"servers", "runners"}:
                    yield from _written(entry.node, (*path, key))
        case Seq() if path[-1] in {"labels", "extra_hosts"} or path[-2:] == ("build", "args"):
            yield from _written(pairs(node), path)
        case Seq(items):
            for index, item in enumerate(items):
                yield from _written(item, (*path, index))
        case Scalar(text=text) if "$" in text and not is_deferred(path) and any(references(text)):
            yield ".".join(map(str, path)), text
        case _:
            pass


def _source_elsewhere(tree: Map) -> list[TreePath]:
    """Servers whose source is a key that is refused anyway."""
    servers = tree.get("servers")
    entries = servers.entries.items() if isinstance(servers, Map) else ()
    elsewhere = ("from", "extends", "provider")
    return [
        ("servers", name)
        for name, entry in entries
        if isinstance(entry.node, Map) and any(key in entry.node.entries for key in elsewhere)
    ]
