"""Update an entry where it stands: set what is ours, take away what was ours, keep what is the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mcpcompose.clients.edit_spot import same
from mcpcompose.clients.edit_types import Engine, Way

Leaf = tuple[str, ...]


def leaves(value: Mapping[str, Any]) -> Iterator[Leaf]:
    """The ways to all that *value* sets."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from ((key, *leaf) for leaf in leaves(item))
        else:
            yield (key,)


def updated(
    engine: Engine, text: str, current: Any, way: Way, new: Mapping[str, Any], *, owned: tuple[Leaf, ...]
) -> tuple[str, Any]:
    """The text with *new* merged into the value *current* at *way*, and what is then there."""
    if not isinstance(current, dict):
        return engine.replace(text, way, new), dict(new)
    meant = dict(current)
    for key, value in new.items():
        if key not in current:
            text = engine.insert(text, way, key, value)
        elif isinstance(value, Mapping) and isinstance(current[key], dict):
            below = tuple(leaf[1:] for leaf in owned if leaf[0] == key and len(leaf) > 1)
            text, meant[key] = updated(engine, text, current[key], (*way, key), value, owned=below)
            continue
        elif not same(current[key], value):
            text = engine.replace(text, (*way, key), value)
        meant[key] = value
    for key in dict.fromkeys(leaf[0] for leaf in owned if leaf[0] in current and leaf[0] not in new):
        text = _dropped(engine, text, meant, (*way, key), tuple(leaf[1:] for leaf in owned if leaf[0] == key))
    return text, meant


def _dropped(engine: Engine, text: str, holder: dict[str, Any], way: Way, leaves: tuple[Leaf, ...]) -> str:
    """
    The text without what *leaves* name below *way*, and without *way* when nothing of the user is left there.

    *holder*, the value around it, loses the same.
    """
    key = str(way[-1])
    here = holder[key]
    heads = {leaf[0] for leaf in leaves if leaf}
    if not isinstance(here, dict) or not here.keys() - heads:
        del holder[key]
        return engine.delete(text, way)
    holder[key] = rest = dict(here)
    for head in sorted(heads & here.keys()):
        text = _dropped(engine, text, rest, (*way, head), tuple(leaf[1:] for leaf in leaves if leaf[:1] == (head,)))
    return text
