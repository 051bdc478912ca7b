"""Names of servers, as clients have them and as they have to be here: `[a-z][a-z0-9-]{0,23}`, each once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 24
_NOISE: Final = re.compile(r"^(?:mcp-server-|server-|mcp-)(?=[a-z])|(?<=[a-z0-9])(?:-mcp-server|-mcp|-server)$")


def server_name(text: str, taken: Iterable[str] = ()) -> str:
    """A valid name for what a client calls *text*, and none of *taken*."""
    last = re.split(r"[/\\]", text.strip())[-1] or text
    word = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")
    word = word.lstrip("0123456789-") or (f"server-{word}" if word else "server")
    if len(word) > _LONGEST:
        word = _NOISE.sub("", word)
    word = word[:_LONGEST].strip("-")
    used = set(taken)
    name, number = word, 2
    while name in used:
        suffix = f"-{number}"
        name = word[: _LONGEST - len(suffix)].strip("-") + suffix
        number += 1
    return name
