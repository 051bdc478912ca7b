"""
Replace `${VAR}` references, and drop `x-*` keys.

Texts that may carry secrets stay templates (see `DEFERRED`): they are only checked here, and become
values in the one call that needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from mcpcompose.config.interceptor_keys import DEFERRED as OF_INTERCEPTORS
from mcpcompose.config.shape import Shape, compose_file
from mcpcompose.config.tree import Entry, Map, Node, Path, Scalar, Seq
from mcpcompose.errors import Position, Problem
from mcpcompose.spec.template import TemplateError, expand, expand_variables, secret_names, variable_names

DEFERRED: Final = frozenset({"environment", "headers", "args", "command", "entrypoint", "process", "url"})
"""Keys of a server that stay templates."""
WITH_SECRETS: Final = frozenset({"environment", "headers", "url"})
"""Those of them that may hold `${secret:name}`."""


def _allowed(keys: Iterable[str]) -> str:
    return "`${secret:…}` is allowed in " + ", ".join(f"`{one}`" for one in sorted(keys))


class Interpolation:
    """One pass over a tree; *problems* are its findings, *failed* the places of scalars that have no value now."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.failed: set[Position] = set()
        self._values: dict[Position, tuple[str, str]] = {}
        self._variables = variables

    def tree(self, root: Map) -> Map:
        """*root* with values in place of references and without `x-*` keys."""
        return self._map(root, compose_file(), ())

    def as_written(self, problem: Problem) -> Problem:
        """*problem* with the text of the file in place of what a variable holds."""
        value, text = self._values.get(problem.position, ("", "")) if problem.position else ("", "")
        if not value:
            return problem
        hint = problem.hint.replace(value, text) if problem.hint else None
        return replace(problem, message=problem.message.replace(value, text), hint=hint)

    def _node(self, node: Node, shape: Shape, path: Path) -> Node:
        match node:
            case Map():
                return self._map(node, shape, path)
            case Seq(items):
                inner = tuple(self._node(item, shape.child(i), (*path, i)) for i, item in enumerate(items))
                return Seq(inner, node.position)
            case Scalar(value=str() as text) if "$" in text:
                return node if is_deferred(path) else self._scalar(node, text)
            case _:
                return node

    def _map(self, node: Map, shape: Shape, path: Path) -> Map:
        entries = {
            key: Entry(entry.key, self._node(entry.node, shape.child(key), (*path, key)))
            for key, entry in node.entries.items()
            if not (shape.keys is not None and key.startswith("x-") and key not in shape.keys)
        }
        return node.with_entries(entries)

    def _scalar(self, node: Scalar, text: str) -> Scalar:
        try:
            value = expand_variables(text, self._variables)
        except TemplateError as error:
            self.problems.append(template_problem(node, text, error))
            self.failed.add(node.position)
            return Scalar("", text, node.position, is_plain=node.is_plain)
        self._values[node.position] = (value, text)
        return Scalar(value, text, node.position, is_plain=node.is_plain)


def is_deferred(path: Path) -> bool:
    """Texts at *path* stay templates."""
    if len(path) <= 2:  # noqa: PLR2004  servers, name, key; or interceptors, index, key
        return False
    return path[2] in {"servers": DEFERRED, "interceptors": OF_INTERCEPTORS}.get(str(path[0]), ())


def check_template(
    node: Scalar, text: str, key: str, variables: Mapping[str, str], with_secrets: frozenset[str] = WITH_SECRETS
) -> Problem | None:
    """What is wrong with the template *text* of *key*, as far as it can be known without secrets."""
    try:
        names = secret_names(text)  # also looks into defaults that are not used now
        if names and key not in with_secrets:
            return Problem(
                f"the secret `{min(names)}` cannot be used in `{key}`", node.position, _allowed(with_secrets)
            )
        expand(text, variables.get, lambda _name: "")
    except TemplateError as error:
        return template_problem(node, text, error)
    return None


def template_problem(node: Scalar, text: str, error: TemplateError) -> Problem:
    """*error* at its place in the file; the exact column where the scalar stands on one line as it is."""
    position = node.position
    if node.text == text and "\n" not in text and "\\" not in text:
        quote = 0 if node.is_plain else 1
        position = Position(position.file, position.line, position.column + quote + error.offset)
    message, hint = str(error), None
    if message.startswith("a secret ("):
        hint = _allowed(WITH_SECRETS)
    elif "never closed" in message or "reference" in message:
        hint = "`$$` is a plain dollar sign"
    return Problem(message, position, hint)


def unset_variables(text: str, variables: Mapping[str, str]) -> list[str]:
    """The variables of *text* that have no value."""
    try:
        return sorted(name for name in variable_names(text) if not variables.get(name))
    except TemplateError:
        return []
