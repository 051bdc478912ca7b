"""
What a rule of the secret scanner is, and the three shapes that almost all of them have.

A rule is asked only where one of its keywords stands (lower case, found by one automaton for all rules), and only in
the bytes around it, by RE2: the time is linear in the text whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import re2

from mcpcompose.interceptors.scanning.randomness import bits, is_placeholder

_REACH: Final = 160
"""Bytes around a keyword in which a rule is asked, unless it says otherwise."""
_NAME: Final = 40
"""Bytes of a name that may stand before the keyword in it."""
_ASSIGNED: Final = (
    r"""[\w .\-\[\]/]{0,32}?"""  # the rest of the name
    r"""['"`)\]\\]{0,5}\s{0,3}"""
    r"""(?:(?:=>|[:?|]{0,2}=|:{1,2}|,|>|\bis\b|\bset to\b|,\s{0,3}[\\'"]{0,4}value[\\'"]{0,4}\s{0,3}:)\s{0,4})"""
    r"""(?:(?:bearer|token|basic) )?(?:[rbu]?[\\'"`(]{1,5})?"""
)
"""What may stand between a name and its value: in code, JSON, YAML, INI, shells, headers and sentences."""
_PATTERN: Final = re.compile(r".\?|[\[(\\]")
_END: Final = r"""(?:[^\w\-+/=.~]|[.]?(?:\s|\z))"""
"""What ends a value that has no shape of its own."""


class Rule:
    """
    One kind of secret. *pattern* (RE2, on bytes) has the secret in its first group.

    *entropy* is what the secret has at least, in bits a character; *strong* says that its shape alone is proof, so
    that it is also looked for where text was cut into lines. *before* and *reach* are how many bytes before and after
    a keyword are looked at.
    """

    def __init__(
        self,
        name: str,
        pattern: str,
        keywords: tuple[str, ...] = (),
        *,
        prefixes: tuple[str, ...] = (),
        entropy: float = 0.0,
        strong: bool = True,
        before: int = _REACH,
        reach: int = _REACH,
        check: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.keywords = tuple(word.lower().encode() for word in keywords)
        """Found in any case."""
        self.prefixes = tuple(word.encode() for word in prefixes)
        """Found as they are."""
        self.entropy = entropy
        self.strong = strong
        self.before = before
        self.reach = reach
        self._check = check

    def __repr__(self) -> str:
        return f"Rule({self.name})"

    @cached_property
    def regex(self) -> Any:
        """Compiled when it is first asked: most rules of most runs never are."""
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # type: ignore[attr-defined]
        options.log_errors = False
        return re2.compile(self.pattern.encode(), options)

    def accepts(self, secret: bytes) -> bool:
        """Whether text of the right shape is a secret, not an example or a filler."""
        if self.entropy and bits(secret) < self.entropy:
            return False
        if is_placeholder(secret):
            return False
        return self._check is None or self._check(secret)


def token(name: str, body: str, *keywords: str, entropy: float = 2.5, reach: int = _REACH, end: str = r"\b") -> Rule:
    """A token that says itself whose it is: *body* with a fixed part, its keyword (found in the case it has there)."""
    plain = body.replace("\\", "")
    places = {word: plain.lower().find(word.lower()) for word in keywords}
    exact = tuple(plain[at : at + len(word)] for word, at in places.items() if at >= 0)
    others = tuple(word for word, at in places.items() if at < 0)
    leads = not others and all(at == 0 or plain[at - 1] in "(|:" for at in places.values())
    before = 2 if leads else _REACH
    pattern = rf"(?:\b|_)({body}){end}"
    return Rule(name, pattern, others, prefixes=exact, entropy=entropy, before=before, reach=reach)


def beside(name: str, words: str, body: str, *keywords: str, entropy: float = 3.0, end: str = _END,
    check: Callable[[bytes], bool] | None = None,
) -> Rule:  # fmt: skip
    """A value without a shape of its own, beside a name that has one of *words* in it."""
    pattern = rf"(?i:{words})(?i:{_ASSIGNED})({body}){end}"
    return Rule(name, pattern, _keywords(words, keywords), entropy=entropy, before=_NAME, strong=False, check=check)


def uuid_beside(name: str, words: str, *keywords: str) -> Rule:
    """The same for a value that is a UUID; the name has to say that it is a secret."""
    says_so = r"[\w .\-]{0,24}(?:key|token|secret|auth|pass)"
    body = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    return beside(name, rf"(?:{words}){says_so}", body, *_keywords(words, keywords))


def _keywords(words: str, said: tuple[str, ...]) -> tuple[str, ...]:
    """*said*, or what each of *words* begins with, up to where it is a pattern."""
    return said or tuple(_PATTERN.split(word, maxsplit=1)[0] for word in words.split("|"))
