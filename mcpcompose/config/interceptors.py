"""
What does not go together in `interceptors`: keys of one kind on another, names that nobody has, references.

Judged by the tree, so that everything is said at once, with its place, also of entries that cannot be bound.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path as FilePath
from typing import Final

from mcpcompose.config.interceptor_keys import (
    BY_HINTS,
    DEFERRED,
    FITS,
    HINTS,
    KNOWN,
    METHODS,
    NEEDS,
    WITH_SECRETS,
)
from mcpcompose.config.interpolate import check_template
from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq, key_position, scalars, value_position
from mcpcompose.config.wording import closest
from mcpcompose.errors import Position, Problem
from mcpcompose.spec.interceptor import ACTIONS, KINDS, RELAXING
from mcpcompose.spec.template import secret_names

SECTION: Final = "interceptors"
_GLOB: Final = re.compile(r"[*?\[]")
_URL: Final = re.compile(r"https?://[^/\s]+\S*", re.IGNORECASE)
_IMAGE: Final = re.compile(r"[A-Za-z0-9]\S*")
_PLACE: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.-]*\}")


def check_interceptors(
    tree: Map, variables: Mapping[str, str], own: Callable[[FilePath], bool], machine: FilePath
) -> Iterator[Problem]:
    """
    The problems of `interceptors` in *tree*. *own* says which files are the project's: those of includes, and the
    policy of the *machine*, may be about servers, profiles and clients that this project does not have.
    """
    section = tree.get(SECTION)
    items = section.items if isinstance(section, Seq) else ()
    yield from _made_harmless([item for item in items if isinstance(item, Map)], machine)
    names: Counter[str] = Counter()
    for index, item in enumerate(items):
        if isinstance(item, Map):
            yield from _Entry(tree, item, index, variables).problems(is_own=own(item.position.file))
            name = item.get("name")
            if isinstance(name, Scalar) and name.value is not None:
                names[name.text] += 1
                if names[name.text] == 2:  # noqa: PLR2004  said once
                    yield Problem(f"two interceptors are called `{name.text}`", name.position)


def about_nothing(tree: Map, brought: Callable[[FilePath], bool]) -> Iterator[Problem]:
    """
    Names that nobody here has in interceptors of includes (*brought* says which files these are): written for many
    projects they may be right, written wrongly they protect from nothing. Globs are not looked at.
    """
    section = tree.get(SECTION)
    for index, item in enumerate(section.items if isinstance(section, Seq) else ()):
        if isinstance(item, Map) and brought(item.position.file):
            for one in _Entry(tree, item, index, {}).unknown():
                yield one if one.hint and one.hint.startswith("did") else replace(one, hint=None)


def _made_harmless(items: Iterable[Map], machine: FilePath) -> Iterator[Problem]:
    """No project says of tools what the machine's interceptors would let them pass for."""
    imposed = [item for item in items if item.position.file == machine]
    if not any(map(_goes_by_hints, imposed)):
        return
    for item in items:
        hints = item.get("annotations")
        for hint, entry in hints.entries.items() if isinstance(hints, Map) and item.position.file != machine else ():
            said = entry.node.text.strip().lower() if isinstance(entry.node, Scalar) else ""
            if said == str(RELAXING.get(hint)).lower():
                message = f"`{hint}: {said}` is for the machine's policy to say, whose interceptors go by hints"
                yield Problem(message, entry.key, f"`annotate` in `{machine}` may say it")


def _goes_by_hints(item: Map) -> bool:
    match, use = item.get("match"), item.get("use")
    kinds = {use.text} if isinstance(use, Scalar) else item.entries.keys()
    return not BY_HINTS.isdisjoint(kinds) or (isinstance(match, Map) and match.get("annotations") is not None)


class _Entry:
    """One interceptor as it is written."""

    def __init__(self, tree: Map, item: Map, index: int, variables: Mapping[str, str]) -> None:
        self._tree = tree
        self._item = item
        self._path: Path = (SECTION, index)
        self._variables = variables
        self._given = [key for key, entry in item.entries.items() if not _is_empty(entry.node)]

    def problems(self, *, is_own: bool) -> Iterator[Problem]:
        kinds = [kind for kind in KINDS if kind in self._given]
        if len(kinds) == 1:
            yield from self._fit(self._text(kinds[0]) if kinds[0] == "use" else kinds[0])
        yield from self._match(is_own=is_own)
        yield from self._references()
        yield from self._delivery()
        yield from self._forms()

    # --- keys of its kind ---------------------------------------------------------------------------------------------

    def _fit(self, what: str) -> Iterator[Problem]:
        if what not in KNOWN:
            return  # binding says so
        called = f"`{what}`" if what in KINDS else f"`use: {what}`"
        for key in self._given:
            owners = FITS.get(key)
            if owners is not None and what not in owners:
                yield Problem(f"`{key}` belongs to {_owners(owners)}; this one is {called}", self._key(key))
        action = self._item.get("action")
        words = ACTIONS.get(what, ())
        if "action" in self._given and isinstance(action, Scalar) and words and action.text not in words:
            message = f"`action` of {called} cannot be `{action.text}`"
            yield Problem(message, action.position, f"it is {_or(words)}")
        needed = NEEDS.get(what, ())
        if needed and not any(key in self._given for key in needed):
            yield Problem(f"{called} needs {_or(needed)}", self._item.position)
        if self._text("format") == "docker" and self._text("keep") == "true":
            message = "`format: docker` is one process for each request, `keep` does not fit"
            yield Problem(message, self._key("keep"))

    # --- what it is about ---------------------------------------------------------------------------------------------

    def _match(self, *, is_own: bool) -> Iterator[Problem]:
        for path, text in self._texts(("match", "methods")):
            if not any(fnmatchcase(method, text) for method in METHODS):
                close = closest(text, METHODS)
                said = f"did you mean `{close}`?" if close else "such as `tools/call`, `resources/*`, `*/list`"
                yield Problem(f"`{text}` is no method of the protocol", self._at(path), said)
        hints = self._item.get("match")
        notes = hints.get("annotations") if isinstance(hints, Map) else None
        yield from self._hints(notes, ("match", "annotations"))
        yield from self._hints(self._item.get("annotations"), ("annotations",))
        if is_own:
            yield from self.unknown()

    def unknown(self) -> Iterator[Problem]:
        """Names of servers, profiles and clients that nobody has."""
        for key, section in (("server", "servers"), ("profile", "profiles"), ("client", "clients")):
            yield from self._names(("match", key), section)
        for labelled in ("sources", "sinks"):
            for index in range(self._length(labelled)):
                yield from self._names((labelled, index, "server"), "servers")

    def _hints(self, notes: Node | None, path: Path) -> Iterator[Problem]:
        for hint in notes.entries if isinstance(notes, Map) else ():
            if hint not in HINTS:
                close = closest(hint, HINTS)
                said = f", did you mean `{close}`?" if close else f"; it is {_or(HINTS)}"
                yield Problem(
                    f"`{hint}` is no hint of a tool{said}", key_position(self._tree, (*self._path, *path, hint))
                )

    def _names(self, path: Path, section: str) -> Iterator[Problem]:
        """Names that nobody has: a rule about a server that is written wrongly would be about nothing."""
        declared = self._tree.get(section)
        known = list(declared.entries) if isinstance(declared, Map) else []
        if section == "profiles" and "default" not in known:
            known.append("default")
        for place, text in self._texts(path):
            if not any(fnmatchcase(one, text) for one in known) and not _GLOB.search(text):
                close = closest(text, known)
                hint = f"did you mean `{close}`?" if close else f"declare `{text}` under `{section}`"
                yield Problem(f"there is no {section[:-1]} `{text}`", self._at(place), hint)

    # --- references and secrets ---------------------------------------------------------------------------------------

    def _references(self) -> Iterator[Problem]:
        declared = self._tree.get("secrets")
        known = declared.entries if isinstance(declared, Map) else {}
        for key in sorted(DEFERRED & set(self._given)):
            for _, scalar in scalars(self._item.entries[key].node):
                if "$" not in scalar.text or not isinstance(scalar.value, str):
                    continue
                problem = check_template(scalar, scalar.text, key, self._variables, WITH_SECRETS)
                if problem is not None:
                    yield problem
                    continue
                for secret in sorted(secret_names(scalar.text)):
                    if secret not in known:
                        yield self._undeclared(secret, scalar, known)

    def _delivery(self) -> Iterator[Problem]:
        """Secrets of an interceptor are variables: nothing is mounted for it."""
        declared = self._tree.get("secrets")
        known = declared.entries if isinstance(declared, Map) else {}
        node = self._item.get("secrets")
        for item in node.items if isinstance(node, Seq) else ():
            target = item.get("target") if isinstance(item, Map) else None
            source = item.get("source") if isinstance(item, Map) else item
            if target is not None or not isinstance(item, Map) or item.get("env") is None:
                name = source.text if isinstance(source, Scalar) else "name"
                message = "an interceptor gets secrets as environment variables"
                yield Problem(message, item.position, f"write `{{source: {name}, env: {_variable(name)}}}`")
            if isinstance(source, Scalar) and isinstance(source.value, str) and source.text not in known:
                yield self._undeclared(source.text, source, known)

    def _undeclared(self, secret: str, at: Scalar, known: Iterable[str]) -> Problem:
        close = closest(secret, known)
        hint = f"did you mean `{close}`?" if close else f"declare `{secret}` under `secrets`"
        return Problem(f"an interceptor uses secret `{secret}`, which is not declared", at.position, hint)

    # --- written forms ------------------------------------------------------------------------------------------------

    def _forms(self) -> Iterator[Problem]:
        url, image = self._text("url"), self._text("image")
        if url and not url.startswith("$") and not _URL.fullmatch(url):
            yield Problem("`url` must begin with `https://` or `http://`", self._at(("url",)))
        if image and not _IMAGE.fullmatch(image):
            yield Problem("`image` is not an image reference", self._at(("image",)))
        key = self._text("key")
        if key and (not _PLACE.search(key) or re.search(r"[{}]", _PLACE.sub("", key))):
            hint = "such as `{owner}/{repo}`, with the names of arguments in braces"
            yield Problem("`key` is made of a tool's arguments", self._at(("key",)), hint)

    # --- the tree -----------------------------------------------------------------------------------------------------

    def _text(self, key: str) -> str:
        node = self._item.get(key)
        return node.text if isinstance(node, Scalar) and node.value is not None else ""

    def _texts(self, path: Path) -> Iterator[tuple[Path, str]]:
        """The texts at *path*, which may be one without a list."""
        node: Node | None = self._item
        for key in path:
            if isinstance(node, Seq) and isinstance(key, int) and key < len(node.items):
                node = node.items[key]
            else:
                node = node.get(str(key)) if isinstance(node, Map) else None
        for inner, scalar in scalars(node) if isinstance(node, (Scalar, Seq)) else ():
            if isinstance(scalar.value, str):
                yield (*path, *inner), scalar.value

    def _length(self, key: str) -> int:
        node = self._item.get(key)
        return len(node.items) if isinstance(node, Seq) else 0

    def _at(self, path: Path) -> Position | None:
        return value_position(self._tree, (*self._path, *path))

    def _key(self, key: str) -> Position | None:
        return key_position(self._tree, (*self._path, key))


def _owners(kinds: Iterable[str]) -> str:
    return _or(kind if kind in KINDS else f"use: {kind}" for kind in kinds)


def _or(words: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join((", ".join(quoted[:-1]), quoted[-1])) if len(quoted) > 1 else quoted[0]


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name).upper()


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
