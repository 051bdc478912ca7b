"""
A project's `config` against the JSON Schema of a catalog's entry.

The schema is a stranger's: nothing is fetched for it, its size and its references are capped, and a pattern that could
take long to try is refused instead of tried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mcpcompose.config.catalog_tree import data
from mcpcompose.config.document import resolve
from mcpcompose.config.tree import Map, Node, Path, Scalar, Seq, key_position, value_position
from mcpcompose.config.wording import closest
from mcpcompose.errors import Position, Problem

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
MAX_STEPS: Final = 20_000
"""References that one check may follow."""
MAX_PROBLEMS: Final = 20
_MOST_TRIES: Final = 2_000_000
_WORDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "null": "empty",
}
_FOLLOWED: Final = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf")
_TYPED: Final = frozenset({"integer", "number", "boolean"})


class BadSchema(ValueError):  # noqa: N818  the name of the thing, not of the event
    """A schema that cannot be checked with."""


def typed(node: Node, schema: Any) -> Node:
    """*node* with the values of variables as what the schema wants: `${PORT}` is a number where one is asked for."""
    inner = schema if isinstance(schema, Mapping) else {}
    match node:
        case Map(entries):
            properties = inner.get("properties")
            known = properties if isinstance(properties, Mapping) else {}
            kept = {key: type(one)(one.key, typed(one.node, known.get(key))) for key, one in entries.items()}
            return node.with_entries(kept)
        case Seq(items):
            return Seq(tuple(typed(item, inner.get("items")) for item in items), node.position)
        case Scalar(value=str() as value) if "$" in node.text and inner.get("type") in _TYPED:
            return Scalar(resolve(value), node.text, node.position, is_plain=node.is_plain)
        case _:
            return node


def with_defaults(value: Any, schema: Any, depth: int = 0) -> Any:
    """*value* with what *schema* gives for keys that are left out."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return value
    properties = schema.get("properties")
    if value is None and "default" in schema:
        return schema["default"]
    if not isinstance(properties, Mapping) or not (value is None or isinstance(value, dict)):
        return value
    made = dict(value or {})
    for key, inner in properties.items():
        found = with_defaults(made.get(key), inner, depth + 1)
        if found is not None:
            made[key] = found
    return made or value


def check_config(config: Map | None, schema: Any, tree: Node, path: Path) -> Iterator[Problem]:
    """What is wrong with *config*, which stands at *path* of *tree*. Raises `BadSchema`."""
    _check_size(schema)
    validator = _validator(schema)
    try:
        found = list(_first(validator.iter_errors(data(config) if config is not None else {})))
    except RecursionError as error:
        raise BadSchema("it refers to itself without end") from error
    for one in found:
        yield from _problems(one, tree, path)


def _first(found: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for index, one in enumerate(found):
        if index >= MAX_PROBLEMS:
            return
        yield one


def _check_size(schema: Any) -> None:
    left = MAX_VALUES
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    while waiting:
        one, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise BadSchema("it is too large")
        if isinstance(one, Mapping):
            for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                target = one.get(key)
                if isinstance(target, str) and not target.startswith("#"):
                    raise BadSchema(f"it refers to another document (`{key}`), which is never fetched")
            waiting += [(inner, depth + 1) for inner in one.values()]
        elif isinstance(one, list):
            waiting += [(inner, depth + 1) for inner in one]


def _validator(schema: Any) -> Any:
    import jsonschema  # noqa: PLC0415  only where a catalog asks for configuration
    from jsonschema import validators  # noqa: PLC0415  the same
    from referencing import Registry  # noqa: PLC0415  the same

    kind: Any = jsonschema.Draft202012Validator
    if isinstance(schema, Mapping) and (named := schema.get("$schema")):
        kind = validators.validator_for({"$schema": named}, default=kind)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = ".".join(map(str, error.absolute_path)) or "the schema"
        raise BadSchema(f"`{where[:80]}` is not JSON Schema") from error
    steps = iter(range(MAX_STEPS))
    replaced: dict[str, Callable[..., Any]] = {"pattern": _pattern, "patternProperties": _pattern_properties}
    replaced |= {key: _counted(kind.VALIDATORS[key], steps) for key in _FOLLOWED if key in kind.VALIDATORS}
    return validators.extend(kind, replaced)(schema, registry=Registry())


def _counted(inner: Callable[..., Any], steps: Iterator[int]) -> Callable[..., Any]:
    def follow(validator: Any, reference: Any, instance: Any, whole: Any) -> Iterator[Any]:
        if next(steps, None) is None:
            raise BadSchema("its references are followed too often")
        yield from inner(validator, reference, instance, whole) or ()

    return follow


def _pattern(validator: Any, written: Any, instance: Any, _whole: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not _search(written, instance):
        from jsonschema import ValidationError  # noqa: PLC0415  it is there: it called this

        yield ValidationError("does not match")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _whole: Any) -> Iterator[Any]:
    for written, inner in patterns.items() if validator.is_type(instance, "object") else ():
        for key, value in instance.items():
            if _search(written, key):
                yield from validator.descend(value, inner, path=key, schema_path=written)


def _search(written: Any, text: str) -> bool:
    """Whether the pattern *written* is found in *text*. Raises `BadSchema` where trying it could take long."""
    try:
        parsed = re._parser.parse(written)  # type: ignore[attr-defined]  # noqa: SLF001  nothing public says what is in a pattern
        if _tries(parsed, max(len(text), 1)) > _MOST_TRIES:
            raise BadSchema("one of its patterns could take too long to try")
        return re.search(written, text) is not None
    except (re.error, OverflowError, RecursionError, TypeError) as error:
        raise BadSchema("one of its patterns is no regular expression") from error


def _tries(parsed: Any, length: int) -> int:
    """How many ways there are, at worst, to match a text of *length* characters."""
    tries = length
    for kind, argument in parsed:
        name = str(kind)
        if "REPEAT" in name:
            _, most, inner = argument
            count = min(int(most), length)
            if count > 1:
                tries *= count if _is_simple(inner) else 2 ** min(count, 64)
        for inner in _inside(argument):
            tries = max(tries, tries // length * _tries(inner, length)) if "REPEAT" not in name else tries
        if tries > _MOST_TRIES:
            break
    return tries


def _is_simple(parsed: Any) -> bool:
    """It always matches the same number of characters, in one way."""
    low, high = parsed.getwidth()
    return bool(low == high and not any("BRANCH" in str(kind) or "REPEAT" in str(kind) for kind, _ in parsed))


def _inside(argument: Any) -> Iterator[Any]:
    if type(argument).__name__ == "SubPattern":
        yield argument
    elif isinstance(argument, (tuple, list)):
        for one in argument:
            yield from _inside(one)


def _problems(error: ValidationError, tree: Node, path: Path) -> Iterator[Problem]:
    """*error* in our words, at the value that it is about; never with a value in it."""
    inner: Path = tuple(error.absolute_path)
    where = (*path, *inner)
    at = value_position(tree, where)
    name = f"`{'.'.join(map(str, inner))}` of `config`" if inner else "`config`"
    match error.validator:
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            said = next((key for key in missing if f"'{key}'" in error.message), missing[0] if missing else "")
            yield Problem(f"{name} needs `{said}`{_described(error.schema, said)}", at, _write(inner, said))
        case "additionalProperties" | "unevaluatedProperties":
            known = list(error.schema.get("properties", {})) if isinstance(error.schema, Mapping) else []
            for key in error.instance:
                if key not in known:
                    close = closest(key, known)
                    hint = f"did you mean `{close}`?" if close else _listed(known)
                    yield Problem(f"unknown key `{key}` of {name}", key_position(tree, (*where, key)), hint)
        case "type":
            wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
            yield Problem(f"{name} must be {' or '.join(_WORDS.get(str(one), str(one)) for one in wanted)}", at)
        case "enum" | "const":
            words = error.validator_value if error.validator == "enum" else [error.validator_value]
            yield Problem(f"{name} must be {_one_of(words)}", at)
        case "anyOf" | "oneOf" if (several := _alternatives(error)) is not None:
            yield Problem(f"{name} needs {several}", at)
        case _:
            yield Problem(f"{name} {_said(error)}", at)


def _said(error: ValidationError) -> str:
    value = error.validator_value
    match error.validator:
        case "minimum" | "exclusiveMinimum":
            return f"must be {'at least' if error.validator == 'minimum' else 'more than'} {value}"
        case "maximum" | "exclusiveMaximum":
            return f"must be {'at most' if error.validator == 'maximum' else 'less than'} {value}"
        case "minLength" | "minItems" | "minProperties":
            return "must not be empty" if value == 1 else f"is too short; at least {value}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"is too long; at most {value}"
        case "pattern":
            return f"must match `{str(value)[:80]}`"
        case _:
            return f"does not fit the catalog's schema (`{error.validator}`)"


def _alternatives(error: ValidationError) -> str | None:
    """`anyOf: [{required: [a]}, {required: [b]}]` in words."""
    groups = []
    for one in error.validator_value:
        if not isinstance(one, Mapping) or set(one) != {"required"}:
            return None
        groups.append(" and ".join(f"`{key}`" for key in one["required"]))
    return " or ".join(groups)


def _described(schema: Any, key: str) -> str:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    inner = properties.get(key) if isinstance(properties, Mapping) else None
    text = inner.get("description") if isinstance(inner, Mapping) else None
    return f" ({' '.join(text.split())[:120]})" if isinstance(text, str) and text else ""


def _write(path: Path, key: str) -> str:
    return "write it: `config: {" + "".join(f"{one}: {{" for one in path) + f"{key}: …" + "}" * (len(path) + 1) + "`"


def _listed(known: list[str]) -> str | None:
    return "the keys are " + ", ".join(f"`{one}`" for one in known[:20]) if known else None


def _one_of(words: list[Any]) -> str:
    shown = ", ".join(f"`{str(one)[:40]}`" for one in words[:20])
    return f"one of {shown}" if len(words) > 1 else shown


def unused_keys(config: Map | None, schema: Any, used: frozenset[str]) -> Iterator[tuple[str, Position]]:
    """Keys of *config* that nothing asks for: neither the schema nor a text."""
    inner = schema if isinstance(schema, Mapping) else {}
    known = inner.get("properties")
    properties = known if isinstance(known, Mapping) else {}
    if inner.get("patternProperties") or (
        any(key in inner for key in ("$ref", "allOf", "anyOf", "oneOf", "if")) and not properties
    ):
        return
    if inner.get("additionalProperties") is False:
        return
    for key, entry in config.entries.items() if config is not None else ():
        if key not in properties and key not in used:
            yield key, entry.key
