"""The little language of Docker's catalogs: `{{server.key|filter|…}}`, with the values of `config.yaml`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_EXPRESSION: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


def evaluated(text: str, config: Mapping[str, Any]) -> Any:
    """The value of *text*: of the one expression that it is, or the text with its expressions replaced."""
    whole = _EXPRESSION.fullmatch(text.strip())
    if whole:
        value = _value(whole[1], config)
        return "" if value is None else _plain(value)
    return _EXPRESSION.sub(lambda match: _text(_value(match[1], config)), text)


def evaluated_list(items: object, config: Mapping[str, Any]) -> list[str]:
    """Every item, lists spread out; empty ones are left away."""
    found: list[str] = []
    for item in items if isinstance(items, list) else []:
        value = evaluated(str(item), config)
        found += [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
    return [one for one in found if one]


def _value(expression: str, config: Mapping[str, Any]) -> Any:
    path, *filters = (part.strip() for part in expression.split("|"))
    value: Any = config
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    for one in filters:
        value = _filtered(value, one)
    return value


def _filtered(value: Any, name: str) -> Any:
    kind, _, argument = name.partition(":")
    match kind:
        case "or":
            return _default(argument) if value in (None, "", []) else value
        case "volume":
            return _each(value, lambda text: f"{text}:{text}")
        case "mount_as":
            return _each(value, lambda text: f"{text}:{argument}")
        case _:  # `into` spreads lists, `volume-target` is the path itself
            return value


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, list):
        return [change(_text(one)) for one in value if _text(one)]
    return change(_text(value)) if _text(value) else ""


def _default(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [part.strip() for part in text[1:-1].split(",") if part.strip()]
    return text


def _plain(value: Any) -> Any:
    return [_text(one) for one in value] if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(_text(one) for one in value)
    return "" if isinstance(value, Mapping) else str(value)
