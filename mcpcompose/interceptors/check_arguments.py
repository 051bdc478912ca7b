"""
`use: check-arguments`: a call's arguments must be those that the tool's `inputSchema` declares.

Schemas come from servers, so they are hostile: nothing is fetched, patterns are matched in linear time, and a schema
that is too large, too deep or multiplies through `$ref` is not used at all: it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs

from mcpcompose.interceptors.base import Answer, Around, Decision, Exchange, Quiet, Refuse, Warn
from mcpcompose.spec.interceptor import Interceptor as Spec

DEEPEST: Final = 32
"""Levels of a schema (SEP-1613's caps of the specification's security notes)."""
MOST: Final = 2_000
"""Subschemas of a schema, each counted as often as `$ref` brings it in."""
_OPEN: Final = ("allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef", "patternProperties", "unevaluatedProperties")
"""Beside these, `properties` are not all that a schema declares."""
_KEPT: Final = 4_096


class _UnusableError(ValueError):
    """A schema that is not used, and why."""


class CheckArguments(Quiet):
    """Refuses arguments that do not fit, and names that the tool does not declare."""

    def __init__(self, spec: Spec, _around: Around) -> None:
        self._warns = spec.acts == "warn"
        self._message = spec.message
        self._known: dict[tuple[str, str], tuple[Any, _Checked | str]] = {}

    def before(self, exchange: Exchange) -> Answer:
        """Check the arguments of a tool call; other methods pass."""
        if exchange.method != "tools/call" or exchange.tool is None:
            return None
        checked = self._of(exchange)
        problem = checked if isinstance(checked, str) else checked.problem(exchange.params.get("arguments", {}))
        if problem is None:
            return None
        return self._decide(problem, exchange.name or "")

    def _decide(self, problem: tuple[str, str] | str, name: str) -> Decision:
        rule, text = problem if isinstance(problem, tuple) else ("schema", problem)
        said = f"{text} of the tool `{name}`"
        if self._warns:
            return Warn(said, rule)
        return Refuse(self._message or f"{said}: call it again with arguments that fit its `inputSchema`", rule)

    def _of(self, exchange: Exchange) -> _Checked | str:
        tool, key = exchange.tool or {}, (exchange.server, exchange.name or "")
        known = self._known.get(key)
        if known is None or known[0] is not tool:
            if len(self._known) >= _KEPT:
                self._known.clear()
            try:
                made: _Checked | str = _Checked(tool.get("inputSchema"))
            except _UnusableError as error:
                made = str(error)
            known = self._known[key] = (tool, made)
        return known[1]


class _Checked:
    """One tool's schema."""

    def __init__(self, schema: Any) -> None:
        if schema is None:
            schema = {}
        if not isinstance(schema, (dict, bool)):
            raise _UnusableError("the `inputSchema` is no JSON Schema")
        declared = schema.get("properties") if isinstance(schema, dict) else None
        is_closed = (
            isinstance(schema, dict)
            and isinstance(declared, dict)
            and "additionalProperties" not in schema
            and not any(key in schema for key in _OPEN)
        )
        self._declared = frozenset(declared) if is_closed and isinstance(declared, dict) else None
        _Budget(schema).check()
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_never, pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20)
            )
        except (jsonschema_rs.ValidationError, ValueError, TypeError, RecursionError) as error:
            raise _UnusableError("the `inputSchema` cannot be used") from error

    def problem(self, arguments: Any) -> tuple[str, str] | None:
        """A rule and a text for the model; no values in it. None when the arguments fit."""
        if self._declared is not None and isinstance(arguments, Mapping):
            undeclared = [name for name in arguments if name not in self._declared]
            if undeclared:
                return "undeclared", f"`{str(undeclared[0])[:100]}` is no argument"
        try:
            error = next(self._validator.iter_errors(arguments), None)
        except (ValueError, TypeError, OverflowError):
            return "schema", "the arguments cannot be checked; they are none"
        if error is None:
            return None
        where = "/".join(str(part) for part in error.instance_path)[:200]
        keyword = next((str(part) for part in reversed(error.schema_path) if isinstance(part, str)), "schema")
        if keyword == "required":
            return keyword, f"a required argument is missing{f' in `{where}`' if where else ''}"
        return keyword, f"`{where or 'arguments'}` breaks `{keyword}` in the schema"


def _never(uri: str) -> Any:
    raise ValueError(f"nothing is fetched for a schema: {uri[:100]}")


class _Budget:
    """Counts what a *schema* costs, however its parts are brought in."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._weights: dict[int, int] = {}
        self._under_way: set[int] = set()

    def check(self) -> None:
        """Raises `_UnusableError` for a schema that costs too much."""
        try:
            self._weight(self._schema, 0)
        except RecursionError as error:
            raise _UnusableError("the `inputSchema` is too deep") from error

    def _weight(self, node: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise _UnusableError(f"the `inputSchema` has more than {DEEPEST} levels")
        if not isinstance(node, (dict, list)):
            return 0
        if id(node) in self._weights or id(node) in self._under_way:
            return self._weights.get(id(node), 1)  # recursion is as deep as the arguments, which are bounded
        self._under_way.add(id(node))
        total = 1
        for child in (*_children(node), *self._referred(node)):
            total += self._weight(child, depth + 1)
            if total > MOST:
                raise _UnusableError(f"the `inputSchema` has more than {MOST} parts")
        self._under_way.discard(id(node))
        self._weights[id(node)] = total
        return total

    def _referred(self, node: Any) -> Iterator[Any]:
        ref = node.get("$ref") if isinstance(node, dict) else None
        if isinstance(ref, str):
            if not ref.startswith("#"):
                raise _UnusableError("the `inputSchema` refers to another document")
            yield _pointed(self._schema, ref)


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, list):
        yield from node
        return
    for key, child in node.items():
        if key not in {"$defs", "definitions", "enum", "const", "default", "examples"}:
            yield child


def _pointed(schema: Any, ref: str) -> Any:
    """What a `$ref` within the schema names; None for what is not there, and for anchors."""
    found = schema
    for part in ref.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
