"""Exposed names: `prefix__tool`, fit for every client, told apart by a digest where they were cut. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

SEPARATOR: Final = "__"
LONGEST: Final = 46
"""So that a client's own `mcp__mcp-compose__` in front stays within 64."""
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")


def exposed_name(prefix: str, name: str) -> str:
    """The name that clients see for *name* of the server with *prefix*; stable, and never split again."""
    full = f"{prefix}{SEPARATOR}{name}" if prefix else name
    plain = _FORBIDDEN.sub("_", full)
    if plain == full and len(full) <= LONGEST and full:
        return full
    return marked(plain, full)


def marked(plain: str, original: str, digits: int = 6) -> str:
    """*plain*, cut where needed, with so many digits of *original*'s digest."""
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{plain[: LONGEST - 1 - digits]}_{digest}"
