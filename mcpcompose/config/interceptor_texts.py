"""
Texts of interceptors that are a language of their own: expressions of `rules`, and patterns of `secret-scan`.

What reads them is loaded only where there are some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mcpcompose.config.tree import Map, Path, value_position
from mcpcompose.errors import Problem

if TYPE_CHECKING:
    from mcpcompose.spec.interceptor import Interceptor

_DECISIONS = ("deny", "allow", "ask", "warn")


def check_texts(interceptors: Sequence[Interceptor], tree: Map) -> Iterator[Problem]:
    """The problems of these texts, each where it stands."""
    for index, one in enumerate(interceptors):
        path: Path = ("interceptors", index)
        if one.rules:
            yield from _rules(one, (*path, "rules"), tree)
        for place, excepted in enumerate(one.allow):
            if excepted.matching is not None:
                yield from _pattern(excepted.matching, (*path, "allow", place, "matching"), tree)


def _rules(one: Interceptor, path: Path, tree: Map) -> Iterator[Problem]:
    from mcpcompose.interceptors.expression import Expression, ExpressionError  # noqa: PLC0415  only with rules
    from mcpcompose.interceptors.rules import NAMES  # noqa: PLC0415  the same

    for index, rule in enumerate(one.rules):
        for word in _DECISIONS:
            text = getattr(rule, word)
            if text is None:
                continue
            try:
                Expression(text, NAMES)
            except ExpressionError as error:
                yield Problem(error.message, value_position(tree, (*path, index, word)), error.hint)


def _pattern(text: str, path: Path, tree: Map) -> Iterator[Problem]:
    import re2  # noqa: PLC0415  only with patterns

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error:
        message = "`matching` is no regular expression"
        yield Problem(message, value_position(tree, path), "it is one of RE2: no look-around, no back-references")
