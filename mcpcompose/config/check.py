"""Cross-checks of a bound file: names, references between its parts, and what must not collide."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from mcpcompose.config.fit import check_fit
from mcpcompose.config.interpolate import DEFERRED, check_template
from mcpcompose.config.tree import Map, Node, Path, Scalar, find, key_position, real_path, value_position
from mcpcompose.config.wording import closest
from mcpcompose.errors import Problem
from mcpcompose.spec.project import ComposeFile, EngineKind
from mcpcompose.spec.server import Server
from mcpcompose.spec.template import secret_names

_SERVER_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,23}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VARIABLE: Final = re.compile(r"[^=\0\s$]+")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][^\s]*")
_URL: Final = re.compile(r"https?://[^/\s]+\S*", re.IGNORECASE)
_UNSAFE: Final = re.compile(
    r"privileged|cap_add:[A-Z_]+|device:/\S*|security_opt:\S+|(?:pid|ipc|userns_mode|network):host|mount:/.*"
)
_LEAST_MEMORY: Final = 6 << 20
_LEAST_CPUS: Final = 0.01
"""Less than these is no limit at all to an engine."""
_OUR_LABELS: Final = "io.mcpcompose."
_NAMES: Final = {
    "servers": (_SERVER_NAME, "lower-case letters, digits and `-`, beginning with a letter, at most 24"),
    "secrets": (_PLAIN_NAME, "letters, digits, `_`, `.` and `-`, at most 64"),
    "profiles": (_PLAIN_NAME, "letters, digits, `_`, `.` and `-`, at most 64"),
    "clients": (_PLAIN_NAME, "letters, digits, `_`, `.` and `-`, at most 64"),
}


def check(file: ComposeFile, tree: Map, engine: EngineKind, variables: Mapping[str, str]) -> list[Problem]:
    """Everything that does not go together in *file*; *tree* also knows the parts that could not be bound."""
    return list(_Check(file, tree, engine, variables).problems())


def _declared(tree: Map, section: str) -> dict[str, Path]:
    node = tree.get(section)
    return {name: (section, name) for name in node.entries} if isinstance(node, Map) else {}


class _Check:
    def __init__(self, file: ComposeFile, tree: Map, engine: EngineKind, variables: Mapping[str, str]) -> None:
        self._file = file
        self._tree = tree
        self._engine: EngineKind = engine
        self._variables = variables
        self._names = {section: _declared(tree, section) for section in _NAMES}

    def problems(self) -> Iterator[Problem]:
        yield from self._all_names()
        for name, server in self._file.servers.items():
            yield from check_fit(name, server, self._tree, self._engine)
            yield from self._server(name, server)
        yield from self._prefixes()
        yield from self._cycles()
        yield from self._profiles()

    def _at(self, message: str, path: Path, hint: str | None = None) -> Problem:
        return Problem(message, value_position(self._tree, path), hint)

    def _all_names(self) -> Iterator[Problem]:
        for section, (pattern, rule) in _NAMES.items():
            for name, path in self._names[section].items():
                if not pattern.fullmatch(name):
                    message = f"`{name}` is not a name for one of the `{section}`: {rule}"
                    yield Problem(message, key_position(self._tree, path))

    # --- one server ---------------------------------------------------------------------------------------------------

    def _server(self, name: str, server: Server) -> Iterator[Problem]:
        path: Path = ("servers", name)
        yield from self._templates(server, path)
        yield from self._secrets(name, server, path)
        yield from self._volumes(server, path)
        yield from self._tools(server, path)
        yield from self._texts(server, path)
        for index, other in enumerate(server.depends_on):
            if other not in self._names["servers"]:
                yield self._unknown("server", other, (*path, "depends_on", index), self._names["servers"])

    def _templates(self, server: Server, path: Path) -> Iterator[Problem]:
        for key, inner, text in templates(server):
            if "$" not in text:
                continue
            where = (*path, key, *inner)
            node = self._scalar(where)
            if node is None:
                continue
            problem = check_template(node, text, key, self._variables)
            if problem:
                yield problem
                continue
            for secret in sorted(secret_names(text)):
                if secret not in self._names["secrets"]:
                    yield self._undeclared(str(path[1]), secret, where)

    def _scalar(self, path: Path) -> Scalar | None:
        node: Node | None = find(self._tree, real_path(self._tree, path))
        if isinstance(node, Scalar):
            return node
        return Scalar("", "", node.position) if node else None

    def _secrets(self, name: str, server: Server, path: Path) -> Iterator[Problem]:
        places: Counter[tuple[str, str]] = Counter()
        for index, use in enumerate(server.secrets):
            where = (*path, "secrets", index)
            if use.source not in self._names["secrets"]:
                inner = (*where, "source")
                yield self._undeclared(name, use.source, inner)
            if use.env is not None and use.target is not None:
                yield self._at("a secret is delivered as `env` or as the file `target`, not both", where)
            place = ("variable", use.env) if use.env is not None else ("file", use.target or use.source)
            places[place] += 1
            if places[place] > 1:
                yield self._at(f"two secrets are delivered as the {place[0]} `{place[1]}`", where)
            if use.env is not None and use.env in server.environment:
                message = f"the variable `{use.env}` is also in `environment`"
                yield self._at(message, (*where, "env"), "remove one of the two")

    def _undeclared(self, server: str, secret: str, path: Path) -> Problem:
        message = f"server `{server}` uses secret `{secret}`, which is not declared"
        close = closest(secret, self._names["secrets"])
        hint = f"did you mean `{close}`?" if close else f"declare `{secret}` under `secrets`"
        return self._at(message, path, hint)

    def _volumes(self, server: Server, path: Path) -> Iterator[Problem]:
        targets: Counter[str] = Counter()
        for index, volume in enumerate(server.volumes):
            where = (*path, "volumes", index)
            targets[volume.target] += 1
            if targets[volume.target] > 1:
                yield self._at(f"two volumes are mounted at `{volume.target}`", where)
            if volume.type == "volume" and not _VOLUME.fullmatch(volume.source):
                message = f"`{volume.source}` is not a name for a volume: letters, digits, `_`, `.` and `-`"
                yield self._at(message, where, "a host path begins with `/`, `./` or `~/`")
            if "\0" in volume.source or "\0" in volume.target:
                yield self._at("a path cannot hold a NUL character", where)

    def _tools(self, server: Server, path: Path) -> Iterator[Problem]:
        new_names: Counter[str] = Counter()
        for old, new in server.tools.rename.items():
            where = (*path, "tools", "rename", old)
            new_names[new] += 1
            if not _TOOL.fullmatch(new):
                message = f"`{new}` is not a tool's name: letters, digits, `_`, `-` and `.`, at most 128"
                yield self._at(message, where)
            if new_names[new] > 1:
                yield self._at(f"two tools are renamed to `{new}`", where)

    def _texts(self, server: Server, path: Path) -> Iterator[Problem]:
        """Written forms that patterns in the models would complain about less clearly."""
        if server.image is not None and not _IMAGE.fullmatch(server.image):
            yield self._at("`image` is not an image reference", (*path, "image"))
        if server.url is not None and not server.url.startswith("$") and not _URL.fullmatch(server.url):
            yield self._at("`url` must begin with `https://` or `http://`", (*path, "url"))
        yield from self._limits(server, path)
        yield from self._keys(server.environment, (*path, "environment"), _VARIABLE, "a variable's name")
        yield from self._keys(server.headers, (*path, "headers"), _HEADER, "a header's name")
        for label in server.labels:
            if label.startswith(_OUR_LABELS):
                message = f"labels that begin with `{_OUR_LABELS}` are our own"
                yield Problem(message, key_position(self._tree, (*path, "labels", label)))
        for key, text in server.headers.items():
            if text is None:
                yield self._at(f"the header `{key}` has no value", (*path, "headers", key))
        for index, danger in enumerate(server.unsafe):
            if not _UNSAFE.fullmatch(danger):
                known = "`privileged`, `cap_add:NAME`, `device:/dev/x`, `security_opt:x`, `pid:host`, `ipc:host`, "
                message = f"`{danger}` is not a danger that can be named"
                hint = f"it is one of {known}`userns_mode:host`, `network:host`, `mount:/path`"
                yield self._at(message, (*path, "unsafe", index), hint)

    def _limits(self, server: Server, path: Path) -> Iterator[Problem]:
        if "mem_limit" in server.model_fields_set and server.mem_limit < _LEAST_MEMORY:
            yield self._at("`mem_limit` must be at least `6m`", (*path, "mem_limit"))
        if server.cpus < _LEAST_CPUS:
            yield self._at(f"`cpus` must be at least {_LEAST_CPUS}", (*path, "cpus"))

    def _keys(self, names: Iterable[str], path: Path, pattern: re.Pattern[str], what: str) -> Iterator[Problem]:
        for name in names:
            if not pattern.fullmatch(name):
                yield Problem(f"`{name}` is not {what}", key_position(self._tree, (*path, name)))

    # --- between servers ----------------------------------------------------------------------------------------------

    def _prefixes(self) -> Iterator[Problem]:
        taken: dict[str, str] = {}
        for name, server in self._file.servers.items():
            prefix = name if server.prefix is None else server.prefix
            if (other := taken.setdefault(prefix, name)) == name:
                continue
            message = (
                f"servers `{other}` and `{name}` have the same prefix `{prefix}`"
                if prefix
                else f"servers `{other}` and `{name}` both have no prefix"
            )
            chosen = (*("servers", name), "prefix") if server.prefix is not None else ("servers", other, "prefix")
            yield self._at(message, chosen, "give one of them another `prefix`")

    def _cycles(self) -> Iterator[Problem]:
        graph = {name: [d for d in s.depends_on if d in self._file.servers] for name, s in self._file.servers.items()}
        for cycle in cycles(graph):
            message = "servers depend on each other: " + " → ".join(f"`{name}`" for name in (*cycle, cycle[0]))
            yield self._at(message, ("servers", cycle[0], "depends_on"))

    def _profiles(self) -> Iterator[Problem]:
        servers, profiles = self._names["servers"], self._names["profiles"]
        for name, profile in self._file.profiles.items():
            path: Path = ("profiles", name)
            for index, server in enumerate(profile.servers):
                where = (*path, "servers", index)
                if server not in servers:
                    yield self._unknown("server", server, where, servers)
                elif server in profile.servers[:index]:
                    yield self._at(f"server `{server}` is in the profile twice", where)
            for server in profile.tools:
                if server not in profile.servers:
                    message = f"`tools` names the server `{server}`, which is not in the profile's `servers`"
                    yield Problem(message, key_position(self._tree, (*path, "tools", server)))
        for name, client in self._file.clients.items():
            if client.profile not in profiles and (profiles or client.profile != "default"):
                path = ("clients", name, "profile")
                yield self._unknown("profile", client.profile, path, profiles)

    def _unknown(self, kind: str, name: str, path: Path, known: Iterable[str]) -> Problem:
        close = closest(name, known)
        hint = f"did you mean `{close}`?" if close else f"declare `{name}` under `{kind}s`"
        return self._at(f"there is no {kind} `{name}`", path, hint)


def templates(server: Server) -> Iterator[tuple[str, Path, str]]:
    """Every text of *server* that stays a template: its key, the path below the key, the text."""
    for key in sorted(DEFERRED):
        value = getattr(server, key)
        if isinstance(value, str):
            yield key, (), value
        elif isinstance(value, Mapping):
            yield from ((key, (name,), text) for name, text in value.items() if text is not None)
        elif value is not None:
            yield from ((key, (index,), text) for index, text in enumerate(value))


def cycles(graph: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Cycles of *graph*, each once, beginning with its first name; no recursion."""
    done: set[str] = set()
    for start in graph:
        trail: dict[str, Iterator[str]] = {}
        _enter(start, trail, graph, done)
        while trail:
            name, following = next(reversed(trail.items()))
            other = next(following, None)
            if other is None:
                del trail[name]
                done.add(name)
            elif other in trail:
                names = list(trail)
                yield tuple(names[names.index(other) :])
            else:
                _enter(other, trail, graph, done)


def _enter(name: str, trail: dict[str, Iterator[str]], graph: Mapping[str, Iterable[str]], done: set[str]) -> None:
    if name not in done:
        trail[name] = iter(graph[name])
