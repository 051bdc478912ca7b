"""
Interceptors that a project's own files cannot take away: those of what it includes, and what the machine's policy says.

They stand before the project's own, outermost first; `session` and `audit` of the machine's policy are as it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mcpcompose.config.merge import clean
from mcpcompose.config.tree import OVERRIDE, RESET, Entry, Map, Node, Scalar, Seq, dotted, scalars
from mcpcompose.errors import Problem

SECTION: Final = "interceptors"
SETTINGS: Final = ("session", "audit")
"""Sections of the machine's policy whose keys a project cannot say otherwise."""


def taken_out(tree: Map, problems: list[Problem]) -> tuple[Map, tuple[Node, ...]]:
    """*tree* of an included file without its interceptors, and these; a tag that would drop some is a problem."""
    entry = tree.entries.get(SECTION)
    if entry is None:
        return tree, ()
    if entry.node.tag in {RESET, OVERRIDE}:
        problems.append(_not_removed(entry))
        return _without(tree), ()
    node = clean(entry.node)
    if not isinstance(node, Seq):
        return tree, ()  # for binding to complain about
    return _without(tree), node.items


def refuse_removal(trees: Iterable[Map], included: bool, problems: list[Problem]) -> None:
    """Where includes bring interceptors, no file of *trees* says that it drops or replaces them."""
    for tree in trees if included else ():
        entry = tree.entries.get(SECTION)
        if entry is not None and entry.node.tag in {RESET, OVERRIDE}:
            problems.append(_not_removed(entry))


def outermost(tree: Map, items: tuple[Node, ...]) -> Map:
    """*tree* with *items* before its own interceptors."""
    if not items:
        return tree
    entry = tree.entries.get(SECTION)
    own = entry.node if entry is not None else None
    if own is not None and not isinstance(own, Seq) and not _is_empty(own):
        return tree  # for binding to complain about
    place = entry.key if entry is not None else items[0].position
    position = own.position if own is not None else items[0].position
    node = Seq((*items, *(own.items if isinstance(own, Seq) else ())), position)
    return tree.with_entries({**tree.entries, SECTION: Entry(place, node)})


@dataclass(frozen=True, slots=True)
class Imposed:
    """What the machine's policy says besides `policy`: interceptors, and keys of `session` and `audit`."""

    interceptors: tuple[Node, ...] = ()
    settings: Mapping[str, Map] = field(default_factory=dict)

    def applied(self, tree: Map, problems: list[Problem]) -> Map:
        """*tree* as the machine has it; what it says otherwise goes to *problems*."""
        for section, wanted in self.settings.items():
            own = tree.entries.get(section)
            node = own.node if own is not None else None
            if isinstance(node, Map):
                problems.extend(_otherwise(section, node, wanted))
            entries = {**(node.entries if isinstance(node, Map) else {}), **wanted.entries}
            key = own.key if own is not None else wanted.position
            tree = tree.with_entries({**tree.entries, section: Entry(key, Map(entries, wanted.position))})
        return outermost(tree, self.interceptors)


def imposed(root: Map, problems: list[Problem]) -> Imposed:
    """What the machine's policy *root* imposes."""
    entry = root.entries.get(SECTION)
    items: tuple[Node, ...] = ()
    if entry is not None and isinstance(entry.node, Seq):
        items = entry.node.items
    elif entry is not None:
        problems.append(Problem("`interceptors` of the machine's policy must be a list", entry.key))
    settings: dict[str, Map] = {}
    for section in SETTINGS:
        said = root.entries.get(section)
        if said is not None and isinstance(said.node, Map):
            settings[section] = said.node
        elif said is not None:
            problems.append(Problem(f"`{section}` of the machine's policy must be a mapping", said.key))
    for node in (*items, *settings.values()):
        problems.extend(_references(node))
        if isinstance(node, Map) and "secrets" in node.entries:
            message = "the machine's policy has no secrets: those of a project are the project's"
            problems.append(Problem(message, node.entries["secrets"].key))
    return Imposed(items, settings)


def _references(node: Node) -> Iterator[Problem]:
    """The project decides what its variables and secrets are, so nothing here is made of them."""
    for _, scalar in scalars(node):
        if "$" in scalar.text.replace("$$", ""):
            message = "the machine's policy is written out: nothing is put in the place of a `$` here"
            yield Problem(message, scalar.position, "`$$` is a plain dollar sign")


def _otherwise(section: str, own: Map, wanted: Map) -> Iterator[Problem]:
    for key, entry in own.entries.items():
        theirs = wanted.get(key)
        if theirs is not None and _texts(entry.node) != _texts(theirs) and not _is_empty(entry.node):
            message = f"`{section}.{key}` is set by the machine's policy (`{theirs.position.file}`)"
            yield Problem(message, entry.key, "remove it here")


def _texts(node: Node) -> list[tuple[str, object]]:
    return [(dotted(path), scalar.value) for path, scalar in scalars(node)]


def _not_removed(entry: Entry) -> Problem:
    message = f"`{entry.node.tag}` cannot take away the interceptors of an include"
    return Problem(
        message, entry.node.position, "they are outermost, whatever this file says; write its own ones plainly"
    )


def _without(tree: Map) -> Map:
    return tree.with_entries({key: entry for key, entry in tree.entries.items() if key != SECTION})


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
