"""
The pass that makes servers of `from: catalog/entry`: what the catalog says, and the project's own keys on top of it.

Runs after interpolation: a catalog's texts never see the project's variables. What the catalog says has its place in
the catalog, what the project says its place in the project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.catalog.entry import Entry as CatalogEntry
from mcpcompose.catalog.entry import Secret
from mcpcompose.catalog.fetching import fetcher
from mcpcompose.catalog.kept import copies_of
from mcpcompose.catalog.marked import walk
from mcpcompose.catalog.template import config_names
from mcpcompose.config.catalog_fill import Filling
from mcpcompose.config.catalog_schema import BadSchema, check_config, typed, unused_keys, with_defaults
from mcpcompose.config.catalog_shelf import Shelf
from mcpcompose.config.catalog_tree import Places, data, parse_yaml
from mcpcompose.config.merge import clean, merge
from mcpcompose.config.tree import Entry, Map, Node, Scalar, Seq
from mcpcompose.config.tree import Path as TreePath
from mcpcompose.errors import Problem
from mcpcompose.spec.server import SOURCES

if TYPE_CHECKING:
    from mcpcompose.catalog.kept import Location
    from mcpcompose.catalog.source import Local
    from mcpcompose.config.load import Request

Judge = Callable[[str, Map, tuple[Secret, ...]], Iterator[Problem]]
"""Of a server's name, what the project says of it, and the secrets of its entry."""
_NOT_MERGED: Final = frozenset({"from", "config"})


def resolve(  # noqa: PLR0917  what a pass of the loader works with
    tree: Map,
    written: Map,
    request: Request,
    base_of: Callable[[Path], Path],
    replaced: frozenset[TreePath],
    seen: dict[Path, None],
    problems: list[Problem],
    judge: Judge,
    digests: dict[str, str],
) -> Map:
    """
    *tree* with its catalogs' servers in it; *written* is the same before references were replaced.

    *judge* says what the policy refuses of what a project says of a server that is from an entry. *digests* is filled
    with what the catalogs were read from.
    """
    copies = copies_of(request.environ)
    fetch = fetcher(request.environ, request.home, copies, parse_yaml) if request.fetch else None
    shelf = Shelf(written.get("catalogs"), copies, base_of, request.home, problems, fetch)
    shelf.check()
    made = Resolution(shelf, replaced, _is_process(tree, request), problems, judge).tree(tree)
    seen.update(shelf.files)
    digests.update(shelf.digests)
    return made


def declared(
    tree: Map, request: Request, base_of: Callable[[Path], Path], problems: list[Problem]
) -> Mapping[str, Local | Location]:
    """Where the catalogs of *tree* are; nothing is read."""
    node = tree.get("catalogs")
    shelf = Shelf(node, copies_of(request.environ), base_of, request.home, problems)
    shelf.check()
    names = node.entries if isinstance(node, Map) else ()
    return {name: found for name in names if (found := shelf.location(name)) is not None}


def _is_process(tree: Map, request: Request) -> bool:
    said = tree.get("engine")
    in_file = said.value if isinstance(said, Scalar) else None
    return (request.engine or request.environ.get("MCP_COMPOSE_ENGINE") or in_file) == "process"


@dataclass(frozen=True, slots=True)
class Resolution:
    """
    One pass. *replaced*: paths that the project resets or overrides. *problems* is added to.

    *is_process*: servers run as processes of the host, which have its network.
    """

    shelf: Shelf
    replaced: frozenset[TreePath]
    is_process: bool
    problems: list[Problem]
    judge: Judge
    _secrets: set[str] = field(default_factory=set)

    def tree(self, tree: Map) -> Map:
        """*tree* with its catalogs' servers in it."""
        servers = tree.get("servers")
        if not isinstance(servers, Map):
            return tree
        declared = tree.get("secrets")
        self._secrets.update(declared.entries if isinstance(declared, Map) else ())
        entries = {name: Entry(entry.key, self._server(name, entry.node)) for name, entry in servers.entries.items()}
        changed = servers.with_entries(entries)
        return tree.with_entries({**tree.entries, "servers": Entry(tree.entries["servers"].key, changed)})

    def _server(self, name: str, node: Node) -> Node:
        said = node.get("from") if isinstance(node, Map) else None
        if not isinstance(node, Map) or said is None:
            if isinstance(node, Map) and (config := node.entries.get("config")) is not None:
                message = f"server `{name}` has a `config`, and is not from a catalog"
                self.problems.append(Problem(message, config.key, "write `from: catalog/entry`"))
            return node
        if not isinstance(said, Scalar) or not isinstance(said.value, str):
            return node
        found = self.shelf.entry(said.value, said)
        if found is None:
            return node
        entry, places = found
        return _Server(self, name, node, said, entry, places).resolved()


@dataclass(frozen=True, slots=True)
class _Server:
    """One server, and the entry that it is from."""

    whole: Resolution
    name: str
    node: Map
    said: Scalar
    entry: CatalogEntry
    places: Places

    def resolved(self) -> Node:
        path: TreePath = ("servers", self.name)
        own = self.node.with_entries({k: e for k, e in self.node.entries.items() if k not in _NOT_MERGED})
        self.whole.problems.extend(self.whole.judge(self.name, own, self.entry.secrets))
        if self._is_refused(own):
            return self.node
        config, defaults = self._config()
        sources = dict(self._sources(own))
        filling = Filling(self.places, config, defaults, sources, self.whole.problems)
        server = self._without(filling.server(self.entry.server, path), own, path)
        server = self._with_secrets(server, own, sources)
        merged = merge(server, own, path)
        cleaned = clean(merged)
        kept = cleaned.entries if isinstance(cleaned, Map) else own.entries
        return self.node.with_entries({**self.node.entries, **kept})

    def _is_refused(self, own: Map) -> bool:
        """Say what of the entry cannot be honoured, unless the project has a word of its own for it."""
        found = [one for one in self.entry.refusals if not any(key in own.entries for key in one.unless)]
        for one in found:
            at = self.places.at(one.line, one.column)
            message = f"server `{self.name}` from `{self.said.value}`: {one.message}"
            self.whole.problems.append(Problem(message, at, one.hint))
        return bool(found)

    # --- configuration ------------------------------------------------------------------------------------------------

    def _config(self) -> tuple[Map | None, Any]:
        """The project's configuration, and the same with the schema's defaults; what is wrong with it is said."""
        said = self.node.get("config")
        is_empty = said is None or (isinstance(said, Scalar) and said.value is None)
        if not is_empty and not isinstance(said, Map):
            return None, None  # binding says that it must be a mapping
        given = said if isinstance(said, Map) else None
        schema, problems = self.entry.config, self.whole.problems
        if schema is None:
            schema = {}
        else:
            given = _as_map(typed(given, schema)) if given is not None else None
            problems += self._checked(given, schema)
        used = frozenset(ref.path[0] for _, one in walk(self.entry.server) for ref in config_names(one.text or ""))
        for key, at in unused_keys(given, schema, used):
            hint = f"`mcp-compose catalog show {self.said.value}` prints what it takes"
            problems.append(Problem(f"`{self.said.value}` takes no `{key}`", at, hint))
        return given, with_defaults(data(given), schema)

    def _checked(self, given: Map | None, schema: Any) -> list[Problem]:
        key = self.node.entries.get("config") or self.node.entries["from"]
        node = given if given is not None else Map({}, self.said.position)
        tree = Map({"config": Entry(key.key, node)}, self.node.position)
        try:
            return list(check_config(given, schema, tree, ("config",)))
        except BadSchema as error:
            at = self.places.at(self.entry.config_line, self.entry.config_column)
            return [Problem(f"the schema of `{self.said.value}` cannot be used: {error}", at)]

    # --- secrets ------------------------------------------------------------------------------------------------------

    def _sources(self, own: Map) -> Iterator[tuple[str, str]]:
        """The project's names of the entry's secrets; a needed one without any is a problem that says what to write."""
        if self._is_replaced("secrets"):
            return
        lacking: dict[str, Secret] = {}
        for one in self.entry.secrets:
            named = _used(own.get("secrets"), one)
            if named is not None:
                yield one.name, named
            elif one.name in self.whole._secrets:  # noqa: SLF001  the same pass
                yield one.name, one.name
            elif not _is_given(own, one):
                lacking[one.name] = one
        needs_one = bool(self.entry.needs_one_of) and all(name in lacking for name in self.entry.needs_one_of)
        for name, one in lacking.items():
            if one.is_required or (needs_one and name == self.entry.needs_one_of[0]):
                self.whole.problems.append(self._missing(one))

    def _missing(self, one: Secret) -> Problem:
        about = f" ({' '.join(one.description.split())[:160]})" if one.description else ""
        message = f"server `{self.name}` needs the secret `{one.name}`{about}, which is not declared"
        if others := [f"`{name}`" for name in self.entry.needs_one_of if name != one.name and not one.is_required]:
            message = f"server `{self.name}` needs one of the secrets `{one.name}`, {', '.join(others)}"
        hint = (
            f"declare it: `secrets: {{{one.name}: {{keyring: {one.name}}}}}`, then `mcp-compose secret set {one.name}`"
        )
        if one.is_delivered and "url" not in self.entry.server.fields:
            place = f"env: {one.env}" if one.env else f"target: {one.target or one.name}"
            hint += f"; or name another for it: `secrets: [{{source: NAME, {place}}}]`"
        return Problem(message, self.said.position, hint)

    def _with_secrets(self, server: Map, own: Map, sources: Mapping[str, str]) -> Map:
        """*server* with the secrets that it is given, besides those that the project lists itself."""
        if "url" in server.entries or "url" in own.entries:
            return server
        uses = [
            self._use(one, sources[one.name])
            for one in self.entry.secrets
            if one.is_delivered
            and one.name in sources
            and _used(own.get("secrets"), one) is None
            and not _is_given(own, one)
        ]
        if not uses:
            return server
        at = self.said.position
        return server.with_entries({**server.entries, "secrets": Entry(at, Seq(tuple(uses), at))})

    def _use(self, one: Secret, source: str) -> Map:
        at = self.places.at(one.line, one.column)
        place = {"env": one.env} if one.env else {"target": one.target or one.name}
        texts = {"source": source, **place}
        return Map({key: Entry(at, Scalar(text, text, at, is_plain=True)) for key, text in texts.items()}, at)

    # --- what the project replaces ------------------------------------------------------------------------------------

    def _without(self, server: Map, own: Map, path: TreePath) -> Map:
        """*server* without what the project resets, replaces whole, or has a source of its own for."""
        left_out = {key for key in server.entries if self._is_replaced(key)}
        if any(key in own.entries for key in SOURCES):
            left_out |= set(SOURCES) - own.entries.keys()
        network = server.get("network")
        if self.whole.is_process and isinstance(network, Scalar) and network.value == "open":
            left_out.add("network")
        kept = server.with_entries({key: one for key, one in server.entries.items() if key not in left_out})
        deeper = {one[2:] for one in self.whole.replaced if one[:2] == path and len(one) > 3}  # noqa: PLR2004  below a key
        return _pruned(kept, deeper)

    def _is_replaced(self, key: str) -> bool:
        return ("servers", self.name, key) in self.whole.replaced


def _pruned(node: Map, paths: set[TreePath]) -> Map:
    entries = dict(node.entries)
    for path in paths:
        key = str(path[0])
        if (entry := entries.get(key)) is None:
            continue
        if len(path) == 1:
            del entries[key]
        elif isinstance(entry.node, Map):
            entries[key] = Entry(entry.key, _pruned(entry.node, {path[1:]}))
    return node.with_entries(entries)


def _as_map(node: Node) -> Map | None:
    return node if isinstance(node, Map) else None


def _used(node: Node | None, secret: Secret) -> str | None:
    """The project's own name for *secret*: of the item that is delivered in its place."""
    for item in node.items if isinstance(node, Seq) else ():
        if isinstance(item, Scalar):
            if secret.env is None and item.text == (secret.target or secret.name):
                return item.text
            continue
        fields = (
            {key: one.node.text for key, one in item.entries.items() if isinstance(one.node, Scalar)}
            if isinstance(item, Map)
            else {}
        )
        place = (
            fields.get("env") == secret.env
            if secret.env
            else (fields.get("target") or fields.get("source")) == (secret.target or secret.name)
        )
        if place and (secret.env or "env" not in fields):
            return fields.get("source")
    return None


def _is_given(own: Map, secret: Secret) -> bool:
    """The project gives the variable in another way."""
    environment = own.get("environment")
    match environment:
        case Map(entries):
            return secret.env in entries
        case Seq(items):
            return any(isinstance(item, Scalar) and item.text.partition("=")[0] == secret.env for item in items)
        case _:
            return False
