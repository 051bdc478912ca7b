"""
What the loader refuses beyond types, as far as a JSON Schema can say it: the same tables as the loader's.

`errorMessage` and `patternErrorMessage` are for editors; other validators pass over them. An empty key counts as
absent: it is what is left of one that `!reset` drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mcpcompose.config.fit import INSTEAD, NPM, PYPI, UNFIT
from mcpcompose.config.interceptor_keys import FITS, HINTS, KNOWN, NEEDS
from mcpcompose.config.refuse import COMPOSE, NOT_YET
from mcpcompose.spec.interceptor import ACTIONS, KINDS
from mcpcompose.spec.server import SOURCES

_PATTERNS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("Server", "image"): (r"^[A-Za-z0-9]\S*$", "an image reference, such as `ghcr.io/acme/server:1`"),
    ("Server", "url"): (r"^[Hh][Tt][Tt][Pp][Ss]?://[^/\s]+\S*$", "it begins with `https://` or `http://`"),
    ("Server", "package"): (rf"^(pypi:({PYPI})|npm:({NPM}))$", "`pypi:name==1.2.3` or `npm:name@1.2.3`"),
    ("Volume", "target"): (r"^/", "an absolute path inside the container"),
    ("SecretUse", "env"): (r"^[A-Za-z_][A-Za-z0-9_]*$", "a variable's name"),
}
"""What texts look like, and how to say that."""
_ITEMS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("Server", "volumes"): (r"^[^:]+:/[^:]*(:(ro|rw)(,(ro|rw))*)?$", "`source:/target` or `source:/target:ro`"),
    ("Server", "unsafe"): (
        r"^(privileged|cap_add:[A-Z_]+|device:/\S*|security_opt:\S+|(pid|ipc|userns_mode|network):host|mount:/.*)$",
        "such as `cap_add:NET_ADMIN`, `device:/dev/x` or `mount:/path`",
    ),
}
_KEYS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("Server", "environment"): (r"^[^=\s$]+$", "a variable's name"),
    ("Server", "headers"): (r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "a header's name"),
    ("Server", "labels"): (r"^(?!io\.mcpcompose\.)", "labels that begin with `io.mcpcompose.` are our own"),
}
_NOTED: Final = {("Match", "annotations"): HINTS, ("Interceptor", "annotations"): HINTS}
"""Keys whose own keys are among known words."""
_VALUES: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("Tools", "rename"): (r"^[A-Za-z0-9_.-]{1,128}$", "letters, digits, `_`, `-` and `.`, at most 128"),
}
_TOGETHER: Final = {"SecretUse": ("env", "target"), "Extends": ("server", "service")}
"""Keys of which only one is given."""
_REMOTE: Final = {
    "type": ["string", "null"],
    "pattern": r"^(http|sse)$|\$",
    "patternErrorMessage": "a `url` speaks `http` or `sse`",
    "errorMessage": "the port and path of a `url` are part of it",
    "doNotSuggest": True,
}
_LAUNCHED: Final = {
    "type": ["string", "object", "null"],
    "pattern": r"^stdio$|\$",
    "patternErrorMessage": "what is started here speaks `stdio`, or `{http: {port: 8000}}`",
    "doNotSuggest": True,
}
_WHOLE: Final[dict[str, dict[str, Any]]] = {
    "Extends": {"anyOf": [{"required": ["server"]}, {"required": ["service"]}]},
    "ToolOverride": {"anyOf": [{"required": ["description"]}, {"required": ["title"]}]},
    "HealthCheck": {"anyOf": [{"required": ["test"]}, {"required": ["disable"]}]},
}
"""What is never spread over several files, so that it can be asked to be complete."""


def add_rules(file: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
    """Add them to pydantic's schema of the *file* and its definitions, by model."""
    _refuse(file, definitions)
    for table, find in ((_PATTERNS, _texts), (_ITEMS, _items), (_VALUES, _values), (_KEYS, _names)):
        for (model, key), (pattern, words) in table.items():
            for schema in find(definitions[model]["properties"][key]):
                schema.update(pattern=pattern, patternErrorMessage=words)
    for (model, key), words_of in _NOTED.items():
        for schema in _names(definitions[model]["properties"][key]):
            schema.update(_word(words_of))
    definitions["Server"]["allOf"] = [_of_kind(kind) for kind in SOURCES]
    definitions["Interceptor"]["allOf"] = [_one_of(KINDS), *map(_of_interceptor, sorted(KNOWN))]
    definitions["Rule"]["allOf"] = [_one_of(("deny", "allow", "ask", "warn"))]
    definitions["Server"]["properties"]["cpus"].update(minimum=0.01)
    definitions["Server"]["properties"]["cpus"].pop("exclusiveMinimum", None)
    for model, (one, other) in _TOGETHER.items():
        definitions[model].setdefault("allOf", []).append(
            {"if": _given(one), "then": {"properties": {other: _absent(f"`{one}` is given already")}}}
        )
    for model, rule in _WHOLE.items():
        definitions[model].setdefault("allOf", []).append(rule)


def _refuse(file: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
    """Keys that are refused: with the reason, and never offered."""
    for table, said in ((NOT_YET, "`{}` is not supported yet ({})"), (COMPOSE, "`{}` is not a key here: {}")):
        for (*where, key), why in table.items():
            place = {(): file, ("servers", "*"): definitions["Server"]}.get(tuple(where))
            if place is None:
                continue
            refused = _absent(said.format(key, why))
            if key in place["properties"]:
                place["properties"][key] = {"description": place["properties"][key].get("description"), **refused}
            else:
                place.setdefault("patternProperties", {})[f"^{key}$"] = refused


def _of_kind(kind: str) -> dict[str, Any]:
    """What does not fit a server that is an image, a package and so on."""
    article = "an" if kind == "image" else "a"
    others = {key: f"a server is only one of these; this one is {article} `{kind}`" for key in SOURCES if key != kind}
    unfit = {key: f"`{key}` does not fit {article} `{kind}`" for key in sorted(UNFIT[kind])}
    hints = {key: f"{said}; {INSTEAD[kind, key]}" if (kind, key) in INSTEAD else said for key, said in unfit.items()}
    return {
        "if": _given(kind),
        "then": {
            "properties": {
                **{key: _absent(said) for key, said in {**others, **hints}.items()},
                "transport": _REMOTE if kind == "url" else _LAUNCHED,
            }
        },
    }


def _of_interceptor(what: str) -> dict[str, Any]:
    """What does not fit an interceptor that is *what*: a kind such as `run`, or a built-in."""
    is_kind = what in KINDS
    asked = {"required": [what], "properties": {what: {"not": {"type": "null"}}}}
    if not is_kind:
        asked = {"required": ["use"], "properties": {"use": {"const": what}}}
    unfit = sorted(key for key, owners in FITS.items() if what not in owners)
    called = f"`{what}`" if is_kind else f"`use: {what}`"
    then: dict[str, Any] = {"properties": {key: _absent(f"`{key}` does not fit {called}") for key in unfit}}
    if what in ACTIONS:
        then["properties"]["action"] = {"type": ["string", "null"], **_word(ACTIONS[what])}
    if what in NEEDS:
        then["anyOf"] = [_given(key) for key in NEEDS[what]]
    return {"if": asked, "then": then}


def _word(words: Iterable[str]) -> dict[str, Any]:
    """A text that is one of *words*, or a reference; explained where its key is declared."""
    return {
        "pattern": rf"^({'|'.join(words)})$|\$",
        "patternErrorMessage": f"one of {', '.join(f'`{word}`' for word in words)}",
    }


def _one_of(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"oneOf": [_given(key) for key in keys]}


def _given(key: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def _absent(message: str) -> dict[str, Any]:
    return {"type": "null", "errorMessage": message, "doNotSuggest": True}


def _alternatives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for one in schema.get("anyOf", ()):
        yield from _alternatives(one)


def _texts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (one for one in _alternatives(schema) if one.get("type") == "string" and "enum" not in one)


def _items(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in _alternatives(schema):
        yield from _texts(one.get("items", {}))


def _values(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in _alternatives(schema):
        yield from _texts(one.get("additionalProperties", {}))


def _names(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (one.setdefault("propertyNames", {}) for one in _alternatives(schema) if one.get("type") == "object")
