"""All rules, in the order in which they are named when several find the same text."""

from __future__ import annotations

from typing import Final

from mcpcompose.interceptors.scanning import (
    rules_ai,
    rules_cloud,
    rules_code,
    rules_general,
    rules_more,
    rules_people,
    rules_watching,
)
from mcpcompose.interceptors.scanning.randomness import looks_random
from mcpcompose.interceptors.scanning.rule import Rule

_OF_VENDORS: Final[tuple[Rule, ...]] = (
    *rules_code.RULES,
    *rules_cloud.RULES,
    *rules_ai.RULES,
    *rules_people.RULES,
    *rules_watching.RULES,
    *rules_more.RULES,
)
_PREFIXES: Final = tuple(
    word.lower()
    for rule in _OF_VENDORS
    if rule.strong
    for word in (*rule.prefixes, *rule.keywords)
    if len(word) > len("api_")
)
_SAYS: Final = r"(?:api|key|secret|token|sec|pat|sk|live|prod|production|access)"
_BETWEEN: Final = tuple(f"{mark}{word}{mark}" for mark in "_-" for word in _SAYS[3:-1].split("|"))


def _is_somebody_elses(found: bytes) -> bool:
    """Whether it looks random and begins like no token whose shape is known: those have a rule that knows better."""
    return looks_random(found) and not found.lower().startswith(_PREFIXES)


RULES: Final[tuple[Rule, ...]] = (
    *_OF_VENDORS,
    *rules_general.RULES,
    Rule(
        "vendor-token",
        r"(?:\b|_)([a-zA-Z][a-zA-Z0-9]{1,14}[_\-](?:[a-z]{2,12}[_\-])?"
        rf"{_SAYS}[_\-](?:[a-z0-9]{{1,8}}[_.\-])?[A-Za-z0-9]{{20,}})\b",
        _BETWEEN,
        entropy=3.5,
        before=30,
        strong=False,
        check=_is_somebody_elses,
    ),
)
