"""
The header rules of 2026-07-28, both ways: routing headers, their value codec, `x-mcp-header` annotations.

Restated from the specification (basic/transports/streamable-http, SEP-2243); a drift test compares them with the SDK.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mcpcompose.upstream.base import Era

PROTOCOL_VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
SESSION: Final = "mcp-session-id"
PARAM_PREFIX: Final = "mcp-param-"
NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Which member of the params `Mcp-Name` repeats, by method."""
ANNOTATION: Final = "x-mcp-header"

_PLAIN_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
}
_SENTINEL: Final = re.compile(r"^=\?base64\?(?P<payload>.*)\?=$")
_PLAIN: Final = re.compile(r"^[\x20-\x7E]*$")
_TOKEN: Final = re.compile(r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
_TYPES: Final = frozenset({"string", "integer", "boolean"})
_ONE: Final = frozenset(
    [
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    ]
)
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})
_DECIMAL: Final = re.compile(r"^-?[0-9]+(\.[0-9]+)?$")

Annotations = tuple[tuple[tuple[str, ...], str, str], ...]
"""Path of the argument, header name, type of the argument."""


def encode_value(value: str) -> str:
    """A text as a header value; what would not survive there is wrapped in base64."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def decode_value(value: str | None) -> str | None:
    """The text of a header value; None for a broken one, so that it equals nothing."""
    match = _SENTINEL.fullmatch(value) if value is not None else None
    if match is None:
        return value
    payload = match["payload"]
    try:
        decoded = base64.b64decode(payload, validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode("ascii") == payload else None
    except (binascii.Error, ValueError):
        return None


def header_arguments(schema: Any) -> Annotations | None:
    """The arguments that go into headers, in the schema's order; None when an annotation breaks the rules."""
    found: list[tuple[tuple[str, ...], str, str]] = []
    seen: set[str] = set()
    for path, node in _positions(schema):
        if ANNOTATION not in node:
            continue
        token, kind = node[ANNOTATION], node.get("type")
        if not path or not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return None
        if not isinstance(kind, str) or kind not in _TYPES or token.lower() in seen:
            return None
        seen.add(token.lower())
        found.append((path, PARAM_PREFIX + token.lower(), kind))
    return tuple(found)


def annotated(tools: Sequence[Mapping[str, Any]]) -> dict[str, Annotations]:
    """The arguments that go into headers, by the name of the tool."""
    return {
        tool["name"]: found
        for tool in tools
        if isinstance(tool.get("name"), str) and (found := header_arguments(tool.get("inputSchema")))
    }


def outgoing(
    era: Era,
    version: str,
    method: str,
    params: Mapping[str, Any],
    *,
    session: str | None,
    tools: Mapping[str, Annotations],
) -> dict[str, str]:
    """What goes with a request of *method* to a server of *era*; without a method, with what is no request."""
    headers = _PLAIN_HEADERS.copy()
    if method != "initialize" and (method or session is not None):
        headers[PROTOCOL_VERSION] = version
    if era is Era.LEGACY:
        if session is not None and method != "initialize":
            headers[SESSION] = session
        return headers
    headers[METHOD] = method
    name = params.get(NAMED[method]) if method in NAMED else None
    if isinstance(name, str):
        headers[NAME] = encode_value(name)
        if method == "tools/call" and (found := tools.get(name)):
            headers |= param_headers(found, params.get("arguments"))
    return headers


def param_headers(annotated: Annotations, arguments: Any) -> dict[str, str]:
    """The `Mcp-Param-*` headers of these arguments; absent, null and unprintable ones have none."""
    headers: dict[str, str] = {}
    for path, header, _ in annotated:
        rendered = _render(_at(arguments, path))
        if rendered is not None:
            headers[header] = encode_value(rendered)
    return headers


def param_mismatch(annotated: Annotations, arguments: Any, headers: Mapping[str, str]) -> str | None:
    """Why `Mcp-Param-*` headers and arguments do not agree, or None when they do."""
    for path, header, kind in annotated:
        raw, value = headers.get(header), _at(arguments, path)
        where = ".".join(path)
        if value is None:
            if raw is not None:
                return f"{header} header is present but the argument `{where}` is not"
            continue
        rendered = _render(value)
        if raw is None:
            if rendered is not None:
                return f"{header} header is missing for the argument `{where}`"
            continue
        decoded = decode_value(raw)
        if decoded is None or rendered is None or not _agree(kind, value, rendered, decoded):
            return f"{header} header does not match the argument `{where}`"
    return None


def _agree(kind: str, value: Any, rendered: str, decoded: str) -> bool:
    integral = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind == "integer" and integral and not isinstance(value, bool) and _DECIMAL.fullmatch(decoded):
        whole, _, fraction = decoded.partition(".")
        try:
            return not fraction.strip("0") and int(whole) == int(value)
        except ValueError:
            return False
    return decoded == rendered


def _render(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        return None
    try:
        return str(value)
    except ValueError:
        return None


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return node


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema position, with its chain of `properties` keys, None off that chain; no `$ref` is followed."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                stack.extend(((*path, name) if path is not None else None, sub) for name, sub in value.items())
            elif key in _ONE:
                stack.append((None, value))
            elif key in _LIST and isinstance(value, list):
                stack.extend((None, sub) for sub in value)
            elif key in _MAP and isinstance(value, dict):
                stack.extend((None, sub) for sub in value.values())
