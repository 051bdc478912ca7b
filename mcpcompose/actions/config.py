"""Load, check and show the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.errors import McpComposeError

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded
    from mcpcompose.config.origin import Origin


def load(place: Place) -> Loaded:
    """The project of *place*. Raises `FileProblems` with everything that is wrong."""
    from mcpcompose.config.load import load as load_request

    return load_request(place.request())


def server_names(place: Place) -> tuple[str, ...]:
    """The servers that the file declares; none when it cannot be loaded."""
    try:
        return tuple(load(place).project.servers)
    except McpComposeError:
        return ()


def printable(loaded: Loaded) -> dict[str, Any]:
    """The resolved file, with references instead of values."""
    return loaded.printable()


def as_yaml(loaded: Loaded) -> str:
    """The same as YAML."""
    from mcpcompose.config.emit import emit

    return emit(printable(loaded)).rstrip("\n")


def explain(loaded: Loaded, key: str) -> dict[str, Any]:
    """
    Where the value at the dotted *key* came from, and which hardened default it replaces.

    `keys` has the same for everything that is set directly below it.
    """
    origin = loaded.origin(key)
    below = origin.value if isinstance(origin.value, dict) else {}
    keys = [_origin(loaded.origin(f"{key}.{name}")) for name, value in below.items() if value not in (None, [], {})]
    return {**_origin(origin), "keys": keys}


def _origin(found: Origin) -> dict[str, Any]:
    return {
        "key": found.key,
        "value": found.value,
        "origin": str(found),
        "kind": found.kind,
        "notes": list(found.notes),
        "relaxes": found.relaxed,
    }
