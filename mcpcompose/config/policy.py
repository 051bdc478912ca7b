"""
Policies: taken out of every file before files are merged, so that nothing that merges can loosen one.

All of them hold together, with the machine's. The catalogs that a policy names are those of its own file: no other file
may say what such a name stands for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mcpcompose.config.bind import bind
from mcpcompose.config.document import parse, read
from mcpcompose.config.imposed import SECTION, SETTINGS, Imposed, imposed
from mcpcompose.config.machine import Machine, read_machine, read_trusted
from mcpcompose.config.tree import Entry, Map, Node, Scalar, Seq, dotted, scalars, value_position
from mcpcompose.config.wording import closest
from mcpcompose.errors import FileProblems, Position, Problem
from mcpcompose.spec.policy import ImagePolicy, Policy, Signer, tightened
from mcpcompose.spec.project import Project

_KEYS: Final = ("catalogs", "policy", SECTION, *SETTINGS)
"""What the machine's policy may hold."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A policy as one file states it, with the *catalogs* that this file knows (its includes' among them)."""

    file: Path
    entry: Entry
    catalogs: Node | None
    is_machine: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """
    All policies of a project together: *policy* is what holds, *own* what its own files ask for.

    *nodes* are the places of `policy`'s keys, *bound* the catalogs whose meaning a policy fixes, *given* those that the
    machine brings, *imposed* what else its policy says.
    """

    policy: Policy = field(default_factory=Policy)
    own: Policy = field(default_factory=Policy)
    signers: tuple[Signer, ...] = ()
    shown: Entry | None = None
    bound: Mapping[str, tuple[Entry, Stated]] = field(default_factory=dict)
    given: Mapping[str, Entry] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    imposed: Imposed = field(default_factory=Imposed)

    def applied(self, tree: Map, problems: list[Problem]) -> Map:
        """*tree* with what the rules bring; what it may not say of catalogs goes to *problems*."""
        node = tree.get("catalogs")
        catalogs: dict[str, Entry] = dict(node.entries) if isinstance(node, Map) else {}
        problems.extend(self._other_catalogs(catalogs))
        tree = self.imposed.applied(tree, problems)
        if not self.given and self.shown is None:
            return tree
        entries = dict(tree.entries)
        if self.given:
            place = node.position if node is not None else next(iter(self.given.values())).key
            entries["catalogs"] = Entry(place, Map({**catalogs, **self.given}, place))
        if self.shown is not None:
            entries["policy"] = self.shown
        return tree.with_entries(entries)

    def on(self, project: Project) -> Project:
        """*project* with these rules."""
        if count := len(self.imposed.interceptors):
            provenance = project.provenance.model_copy(update={"imposed": count})
            project = project.model_copy(update={"provenance": provenance})
        if self.policy.is_empty and self.own.is_empty:
            return project
        named = {name: entry for name, (entry, stated) in self.bound.items() if not stated.is_machine}
        texts = {name: json.dumps(_texts(entry.node)) for name, entry in named.items()}
        provenance = project.provenance.model_copy(update={"policy": self.own, "catalogs": texts})
        return project.model_copy(update={"policy": self.policy, "signers": self.signers, "provenance": provenance})

    def _other_catalogs(self, catalogs: Mapping[str, Entry]) -> Iterator[Problem]:
        for name, (entry, stated) in self.bound.items():
            now = catalogs.get(name)
            if stated.is_machine:
                if now is not None and _texts(now.node) != _texts(entry.node):
                    message = f"the catalog `{name}` is set by the machine's policy (`{stated.file}`)"
                    yield Problem(message, now.key, "give this one another name")
            elif now is None:
                message = f"the policy names the catalog `{name}`, which another file takes away"
                yield Problem(message, entry.key, "a policy only tightens; its catalogs stay what they are")
            elif list(scalars(now.node)) != list(scalars(entry.node)):
                at = next((s.position for _, s in scalars(now.node) if s.position.file != entry.key.file), now.key)
                message = f"the catalog `{name}` is named by the policy in `{stated.file.name}`, which says what it is"
                yield Problem(message, at, "a policy only tightens; give another catalog another name")


def _texts(node: Node) -> list[tuple[str, object]]:
    return [(dotted(path), scalar.value) for path, scalar in scalars(node)]


def rules_of(
    stated: Iterable[Stated],
    machine: Machine,
    absolute: Callable[[str, Path], Path],
    problems: list[Problem],
) -> Rules:
    """
    The rules that *stated* and the machine's policy make together; what is wrong goes to *problems*.

    *absolute* says where a path written in a file leads.
    """
    return _Reading(machine, absolute, problems).rules(stated)


@dataclass(slots=True)
class _Reading:
    machine: Machine
    absolute: Callable[[str, Path], Path]
    problems: list[Problem]
    signers: dict[str, Signer] = field(default_factory=dict)
    files: dict[Path, None] = field(default_factory=dict)
    bound: dict[str, tuple[Entry, Stated]] = field(default_factory=dict)
    given: dict[str, tuple[Entry, Stated]] = field(default_factory=dict)
    imposed: Imposed = field(default_factory=Imposed)

    def rules(self, stated: Iterable[Stated]) -> Rules:
        machine = self._machine()
        own = [(one, policy) for one in stated if (policy := self._bound(one)) is not None]
        self.bound.update(self.given)
        every = [*own, *((one, policy) for one in machine if (policy := self._bound(one)) is not None)]
        given = {name: entry for name, (entry, one) in self.bound.items() if one.is_machine}
        whole = tightened(policy for _, policy in every)
        return Rules(
            policy=whole,
            own=tightened(policy for _, policy in own),
            signers=tuple(self.signers[file] for file in whole.images.signed_by if file in self.signers),
            shown=_shown([one for one, _ in every]),
            bound=self.bound,
            given=given,
            files=tuple(self.files),
            imposed=self.imposed,
        )

    # --- the machine's ------------------------------------------------------------------------------------------------

    def _machine(self) -> list[Stated]:
        file = self.machine.file
        try:
            content = read_machine(self.machine)
        except FileProblems as error:
            self.files[file] = None
            self.problems.extend(error.problems)
            return []
        if content is None:
            return []
        self.files[file] = None
        node, problems = parse(file, content)
        self.problems.extend(problems)
        if not isinstance(node, Map):
            if not problems:
                self.problems.append(Problem("the machine's policy is a mapping with `policy`", Position(file, 1, 1)))
            return []
        self.imposed = imposed(node, self.problems)
        for key, entry in node.entries.items():
            if key not in _KEYS:
                close = closest(key, _KEYS)
                hint = f"did you mean `{close}`?" if close else f"it holds {', '.join(f'`{one}`' for one in _KEYS)}"
                self.problems.append(Problem(f"unknown key `{key}` in the machine's policy", entry.key, hint))
        if "policy" not in node.entries and self._says_more(node):
            return []
        if "policy" not in node.entries:
            self.problems.append(Problem("the machine's policy says no `policy`", Position(file, 1, 1)))
            return []
        catalogs = node.get("catalogs")
        one = Stated(file, node.entries["policy"], catalogs, is_machine=True)
        for name, entry in (catalogs.entries if isinstance(catalogs, Map) else {}).items():
            self.given[name] = (entry, one)
            self._judge_catalog(entry.node, file)
        return [one]

    @staticmethod
    def _says_more(node: Map) -> bool:
        return any(key in node.entries for key in (SECTION, *SETTINGS))

    def _judge_catalog(self, node: Node, file: Path) -> None:
        """A catalog in a file, which the machine's policy names, is as trusted as the policy."""
        said = node.get("file") if isinstance(node, Map) else node
        if not isinstance(said, Scalar) or not isinstance(said.value, str):
            return
        try:
            if read_trusted(self.absolute(said.value, file), self.machine) is None:
                self.problems.append(Problem(f"the catalog `{said.value}` does not exist", said.position))
        except FileProblems as error:
            self.problems.extend(replace(problem, position=said.position) for problem in error.problems)

    # --- one policy ---------------------------------------------------------------------------------------------------

    def _bound(self, stated: Stated) -> Policy | None:
        node = stated.entry.node
        if self._is_refused(node, stated):
            return None
        tree = Map({"policy": stated.entry}, stated.entry.key)
        found = bind(tree, {})
        self.problems.extend(found.problems)
        policy = found.file.policy
        if policy is None or found.problems:
            return None
        servers = self._bind_catalogs(policy, stated)
        files = tuple(self._signer(text, index, stated) for index, text in enumerate(policy.images.signed_by))
        signed_by = tuple(file for file in files if file is not None)
        images = ImagePolicy(require=policy.images.require, signed_by=signed_by)
        return policy.model_copy(update={"servers": servers, "images": images})

    def _is_refused(self, node: Node, stated: Stated) -> bool:
        """Whether it is something that a policy cannot be; said at its place."""
        before = len(self.problems)
        if tag := next(_tags(node), None):
            message = f"`{tag[0]}` is not for a policy: policies only tighten"
            self.problems.append(Problem(message, tag[1], "all policies of a project's files hold together"))
        for _, scalar in scalars(node):
            if "$" in scalar.text:
                message = "a policy is written out: nothing is put in the place of a `$` here"
                self.problems.append(Problem(message, scalar.position))
        if isinstance(node, Scalar) and node.value is None and not tag:
            self.problems.append(
                Problem("`policy` is empty", stated.entry.key, "remove it, or say `servers` or `images`")
            )
        return len(self.problems) > before

    def _bind_catalogs(self, policy: Policy, stated: Stated) -> tuple[str, ...] | None:
        """
        What a policy names has to be known in its own file, and stays what it is there.

        Returns its patterns with the names of catalogs written out: a `*` there stands for those of its own file (and
        the machine's), so that nobody adds one by declaring another catalog. Only where a project's file declares none
        of such a name it stands for any.
        """
        if policy.servers is None:
            return None
        entries = stated.catalogs.entries if isinstance(stated.catalogs, Map) else {}
        found: list[str] = []
        for index, pattern in enumerate(policy.servers):
            name, _, rest = pattern.partition("/")
            names = [one for one in entries if one.startswith(name[:-1])] if name.endswith("*") else [name]
            for one in names:
                if one in entries:
                    self._bind(one, entries[one], stated)
            if names and name.endswith("*"):
                names += [one for one in self.given if one.startswith(name[:-1]) and one not in entries]
            found += [f"{one}/{rest}" for one in names] or [pattern]
            if (names[:1] == [name] and name not in entries) or (not names and stated.is_machine):
                at = value_position(Map({"policy": stated.entry}, stated.entry.key), ("policy", "servers", index))
                self.problems.append(_not_declared(name, stated, at))
        return tuple(found)

    def _bind(self, name: str, entry: Entry, stated: Stated) -> None:
        known = self.bound.get(name)
        if known is None or stated.is_machine:
            self.bound[name] = (entry, stated)
            self._refuse_variables(entry, name)
        elif list(scalars(known[0].node)) != list(scalars(entry.node)):
            message = f"the catalog `{name}` is named by the policy in `{known[1].file.name}`, which says what it is"
            self.problems.append(
                Problem(message, entry.key, "a policy only tightens; give another catalog another name")
            )

    def _refuse_variables(self, entry: Entry, name: str) -> None:
        for _, scalar in scalars(entry.node):
            if "$" in scalar.text:
                message = f"the catalog `{name}` is named by a policy and has to be written out, without a `$`"
                self.problems.append(Problem(message, scalar.position))

    def _signer(self, text: str, index: int, stated: Stated) -> str | None:
        """The absolute path of a file with keys, once the keys in it are known."""
        from mcpcompose.catalog.signature import NotAKeyError, public_keys  # noqa: PLC0415  only with signatures

        file = self.absolute(text, stated.file)
        self.files[file] = None
        tree = Map({"policy": stated.entry}, stated.entry.key)
        position = value_position(tree, ("policy", "images", "signed_by", index))
        try:
            content = read_trusted(file, self.machine) if stated.is_machine else read(file)
            keys = public_keys((content or b"").decode("utf-8", "replace"))
        except FileProblems as error:
            self.problems.append(Problem(f"`{text}`: {error.problems[0].message}", position))
            return None
        except NotAKeyError as error:
            hint = "it wants a public key of cosign's, such as `cosign.pub`"
            self.problems.append(Problem(f"`{text}` {error}", position, hint))
            return None
        self.signers[str(file)] = Signer(file=str(file), keys=keys)
        return str(file)


def _not_declared(name: str, stated: Stated, at: Position | None) -> Problem:
    if name.endswith("*"):
        message = f"`{name}` stands for catalogs of this file, which declares none of such a name"
        return Problem(message, at, f"declare them under `catalogs` in `{stated.file.name}`")
    message = f"the policy names the catalog `{name}`, which this file does not declare"
    hint = f"declare `{name}` under `catalogs` in `{stated.file.name}`: no other file can then say what it is"
    return Problem(message, at, hint)


def _tags(node: Node) -> Iterator[tuple[str, Position]]:
    if node.tag is not None:
        yield node.tag, node.position
    match node:
        case Map(entries):
            for entry in entries.values():
                yield from _tags(entry.node)
        case Seq(items):
            for item in items:
                yield from _tags(item)
        case _:
            pass


def _shown(stated: list[Stated]) -> Entry | None:
    """One `policy` whose keys stand where they were stated last."""
    entries: dict[str, Entry] = {}
    images: dict[str, Entry] = {}
    for one in stated:
        if not isinstance(one.entry.node, Map):
            continue
        entries.update(one.entry.node.entries)
        if isinstance(inner := one.entry.node.get("images"), Map):
            images.update(inner.entries)
    if not stated:
        return None
    last = stated[-1].entry
    if "images" in entries:
        place = entries["images"]
        entries["images"] = Entry(place.key, Map(images, place.node.position))
    return Entry(last.key, Map(entries, last.node.position))
